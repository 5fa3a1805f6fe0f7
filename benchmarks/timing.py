"""How long a call takes: the median of several, after one that is not counted."""

import statistics
import time
from collections.abc import Callable


def median_ms(call: Callable[[], object], repeats: int = 7) -> float:
    """Median wall time of `call` in milliseconds over `repeats` calls, after one to warm up."""
    call()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000
