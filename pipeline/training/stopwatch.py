"""Where a step's time goes: waiting for data, forward and backward, gradients on the wire, the update.

On a GPU the clock is the device's: events that are read when rows are written, so that no step waits for them.
"""

import time
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel


class Stopwatch:
    """Adds up the parts of steps until they are taken."""

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self._wait = 0.0
        self._steps: list[tuple[Any, Any, Any, Any]] = []
        self._marks: list[Any] = []
        self._sent: Any = None

    def watch(self, parallel: DistributedDataParallel) -> None:
        """Note when the last gradients of each backward pass are handed to the network."""

        def hook(
            group: dist.ProcessGroup | None,
            bucket: dist.GradBucket,  # type: ignore[name-defined]
        ) -> torch.futures.Future[torch.Tensor]:
            self._sent = self._now()
            return default_hooks.allreduce_hook(group or dist.group.WORLD, bucket)  # type: ignore[arg-type]

        parallel.register_comm_hook(parallel.process_group, hook)

    def _now(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        return event

    def waited(self, seconds: float) -> None:
        """Data was waited for."""
        self._wait += seconds

    def start(self) -> None:
        """A step begins."""
        self._sent = None
        self._marks = [self._now()]

    def backward_done(self) -> None:
        """The gradients are there, averaged over all workers."""
        now = self._now()
        self._marks += [self._sent or now, now]

    def stop(self) -> None:
        """The step is done."""
        self._steps.append((*self._marks, self._now()))

    def take(self) -> dict[str, float]:
        """Mean seconds a step since the last call, by part. On a GPU this waits for the last step."""
        steps, self._steps = self._steps, []
        wait, self._wait = self._wait, 0.0
        if not steps:
            return {}
        if self.cuda:
            steps[-1][-1].synchronize()
        parts = [0.0, 0.0, 0.0]
        for step in steps:
            for i in range(3):
                parts[i] += step[i].elapsed_time(step[i + 1]) / 1000 if self.cuda else step[i + 1] - step[i]
        names = ("time/forward_backward", "time/communication", "time/update")
        means = {name: part / len(steps) for name, part in zip(names, parts, strict=True)}
        return {"time/data_wait": wait / len(steps), **means}
