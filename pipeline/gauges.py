"""A run's figures for Prometheus, through Ray's own metrics endpoint (port 8080 of every Ray pod).

Ray puts `ray_` before each name. The figures are the tracker's own, so that a dashboard and MLflow never disagree.
"""

import sys
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
STEP = ("lhrnet_step", "Steps done; it stands still where there is no progress.")
STARTED = ("lhrnet_started_seconds", "When this attempt began; it changes with every restart.")


class Gauges:
    """The figures of one run. Does nothing outside a Ray worker.

    Args:
        run: the run's name, a label of every figure.
    """

    def __init__(self, run: str) -> None:
        self._tags = {"run": run}
        self._gauges: dict[str, Any] = {}
        self._set(STARTED, time.time())

    def show(self, values: Mapping[str, float], step: int) -> None:
        """Show the figures that have a gauge, and the step they belong to."""
        self._set(STEP, float(step))
        for name, value in values.items():
            if name in FIGURES:
                self._set(FIGURES[name], value)

    def _set(self, gauge: tuple[str, str], value: float) -> None:
        ray = sys.modules.get("ray")
        if ray is None or not ray.is_initialized():
            return
        name, description = gauge
        if name not in self._gauges:
            from ray.util.metrics import Gauge

            self._gauges[name] = Gauge(name, description=description, tag_keys=("run",))
        self._gauges[name].set(value, tags=self._tags)
