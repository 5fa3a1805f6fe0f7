"""Time: a part's share of it, and how long a call takes on a device."""

import itertools
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Limit:
    """A moment by which something is to be done, by the clock that all processes of a machine share."""

    until: float

    @property
    def left(self) -> float:
        """Seconds until then, none if it is past."""
        return max(0.0, self.until - time.monotonic())

    def part(self, share: float) -> "Limit":
        """An earlier moment: this share of what is left."""
        return Limit(time.monotonic() + share * self.left)


@dataclass(frozen=True)
class Timing:
    """How long repeated calls took, in milliseconds."""

    median: float
    low: float
    """The tenth part was quicker."""
    high: float
    """The tenth part was slower."""
    calls: int


def synchronise(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_calls(
    call: Callable[[], object], device: torch.device, *, warm: int = 3, seconds: float = 2.0, most: int = 100
) -> Timing:
    """Median time of a call in steady state: on a GPU between events in its queue, without waiting in between.

    Args:
        call: what is timed.
        device: where it runs.
        warm: calls that are not counted.
        seconds: about how long to repeat.
        most: calls at most; 3 at least.
    """
    for _ in range(warm):
        call()
    synchronise(device)
    begun = time.perf_counter()
    call()
    synchronise(device)
    count = max(3, min(most, int(seconds / max(1e-6, time.perf_counter() - begun))))
    times = _on_gpu(call, count) if device.type == "cuda" else _on_cpu(call, count)
    ordered = sorted(times)
    return Timing(statistics.median(times), ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10], count)


def _on_gpu(call: Callable[[], object], count: int) -> list[float]:
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]  # type: ignore[no-untyped-call]
    events[0].record()
    for event in events[1:]:
        call()
        event.record()
    events[-1].synchronize()
    return [one.elapsed_time(other) for one, other in itertools.pairwise(events)]


def _on_cpu(call: Callable[[], object], count: int) -> list[float]:
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1000)
    return times
