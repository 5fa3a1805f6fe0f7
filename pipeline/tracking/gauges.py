"""A run's metrics for Prometheus, through Ray's own metrics endpoint (port 8080 of every Ray pod).

Ray puts `ray_` before each name. The figures are the tracker's own, so that a dashboard and MLflow never disagree.
"""

import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

FIGURES = {
    "train/images_per_second": ("lhrnet_images_per_second", "Images trained on a second, all workers together."),
    "train/loss": ("lhrnet_loss", "Loss of the last steps."),
    "time/data_wait": ("lhrnet_data_wait_seconds", "Seconds a step waits for data."),
    "time/step": ("lhrnet_step_seconds", "Seconds a step takes, data wait included."),
    "val/ap": ("lhrnet_ap", "AP of the last validation."),
}
STEP = ("lhrnet_step", "Steps done.")
PROGRESS = ("lhrnet_progress_seconds", "When the last step or validation ended, in seconds since 1970.")
STARTED = ("lhrnet_started_seconds", "When this attempt began, in seconds since 1970; each attempt has its own series.")


class Gauges:
    """The figures of one run, shown again every few seconds until it is closed. Does nothing outside a Ray worker.

    Ray's agent drops a gauge that was not set for two export intervals (20 s). Without the repetition a run that hangs
    would have no series, and an alert nothing to look at.

    Args:
        run: the run's name, a label of every figure.
        every: seconds between two repetitions.
    """

    def __init__(self, run: str, *, every: float = 5.0) -> None:
        self._tags = {"run": run}
        self._every = every
        self._gauges: dict[str, Any] = {}
        now = time.time()
        self._values = {STARTED: now, PROGRESS: now}
        self._closed = threading.Event()
        ray = sys.modules.get("ray")
        self._thread: threading.Thread | None = None
        if ray is not None and ray.is_initialized():
            self._thread = threading.Thread(target=self._repeat, name="gauges", daemon=True)
            self._thread.start()

    def stepped(self) -> None:
        """A step was done."""
        self._values[PROGRESS] = time.time()

    def show(self, values: Mapping[str, float], step: int) -> None:
        """Show the figures that have a gauge, and the step they belong to."""
        known = {FIGURES[name]: value for name, value in values.items() if name in FIGURES}
        self._values |= {**known, STEP: float(step), PROGRESS: time.time()}

    def close(self) -> None:
        """Show nothing more; the agent drops the series within half a minute."""
        self._closed.set()
        if self._thread:
            self._thread.join()

    def _repeat(self) -> None:
        from ray.util.metrics import Gauge

        while True:
            for (name, description), value in self._values.copy().items():
                if name not in self._gauges:
                    self._gauges[name] = Gauge(name, description=description, tag_keys=("run",))
                self._gauges[name].set(value, tags=self._tags)
            if self._closed.wait(self._every):
                return
