"""What the first worker reports while a run goes on: rows for the tracker and a progress line."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import psutil
import torch

from pipeline.tracking.gauges import Gauges
from pipeline.tracking.progress import Progress
from pipeline.tracking.tracker import NullTracker


class Monitor:
    """Reports of one worker; silent on all but the first.

    Args:
        tracker: where rows go.
        progress: the line; None on workers that are not the first.
        global_batch: images a step.
        device: whose memory use is logged.
        gauges: metrics for Prometheus; None on workers that are not the first.
        ap: of the last validation of the attempt before; NaN where there was none.
    """

    def __init__(
        self,
        tracker: NullTracker,
        progress: Progress | None,
        *,
        global_batch: int,
        device: torch.device,
        gauges: Gauges | None = None,
        ap: float = float("nan"),
    ) -> None:
        self.gauges = gauges
        self.tracker, self.progress, self.global_batch, self.device = tracker, progress, global_batch, device
        self.training_seconds = 0.0
        self.waited = 0.0
        """Seconds of training spent waiting for data."""
        self.steps = 0
        self._last = (0, 0.0)
        self._loss, self._ap = float("nan"), ap

    def __enter__(self) -> Self:
        if self.progress:
            self.progress.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.progress:
            self.progress.__exit__(kind, error, trace)
        if self.gauges:
            self.gauges.close()

    def stepped(self, seconds: float) -> None:
        """A step was done, data wait included."""
        self.training_seconds += seconds
        self.steps += 1
        if self.gauges:
            self.gauges.stepped()
        if self.progress:
            self.progress.advance(self.global_batch, note=self._note())

    def row(self, values: Mapping[str, float], *, step: int, lr: float) -> None:
        """Figures of the steps since the last row."""
        steps, seconds = self.steps - self._last[0], self.training_seconds - self._last[1]
        self._last = (self.steps, self.training_seconds)
        self.waited += steps * values.get("time/data_wait", 0.0)
        self._loss = values.get("loss", float("nan"))
        named = {key if "/" in key else f"train/{key}": value for key, value in values.items()}
        named |= {"train/lr": lr, "train/images_per_second": steps * self.global_batch / max(1e-9, seconds)}
        self.tracker.metrics({**named, **self._system()}, step)
        if self.gauges:
            self.gauges.show({**named, "time/step": seconds / max(1, steps)}, step)

    def validated(self, metrics: Mapping[str, float], *, step: int) -> None:
        """Figures of a validation."""
        self._ap = metrics["val/ap"]
        self.tracker.metrics(metrics, step)
        if self.gauges:
            self.gauges.show(metrics, step)

    def _note(self) -> str:
        loss = f"loss {self._loss:.4f}" if self._loss == self._loss else ""
        ap = f"AP {self._ap:.3f}" if self._ap == self._ap else ""
        return ", ".join(filter(None, (loss, ap)))

    def _system(self) -> dict[str, float]:
        process = psutil.Process()
        figures = {
            "system/process_gb": process.memory_info().rss / 1e9,
            "system/machine_memory_share": psutil.virtual_memory().percent / 100,
            "system/cpu_share": psutil.cpu_percent() / 100,
        }
        if self.device.type == "cuda":
            figures["system/gpu_peak_gb"] = torch.cuda.max_memory_allocated(self.device) / 1e9
        return figures


class Clock:
    """Seconds since it was last asked."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        now = time.perf_counter()
        seconds, self._last = now - self._last, now
        return seconds
