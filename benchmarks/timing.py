"""How long calls take: the median of several, after one that is not counted."""

import statistics
import time
from collections.abc import Callable, Mapping


def median_ms(call: Callable[[], object], repeats: int = 7) -> float:
    """Median wall time of `call` in milliseconds over `repeats` calls, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def medians_by_turns(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """`median_ms` of several calls that take turns, so that a busy machine slows each of them alike."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        call()
    for _ in range(repeats):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - begun)
    return {name: statistics.median(taken) * 1000 for name, taken in times.items()}
