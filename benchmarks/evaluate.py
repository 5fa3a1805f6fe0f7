"""What follows scoring, at val2017's size: the matches, the gate's bootstrap, the report's split of errors."""

import time
from collections.abc import Callable

from benchmarks.scoring import result
from lhrnet.metrics.errors import split_errors
from lhrnet.metrics.matching import bootstrap, by_crowding, match

RESAMPLES = 1000
"""The gate's default."""


def run() -> list[dict[str, object]]:
    """Measure each once: they take seconds."""
    truth, detections = result()
    ids = [image["id"] for image in truth["images"]]
    size = f"{len(ids):,} images, {len(truth['annotations']):,} people, {len(detections):,} detections"
    matches = match(truth, detections, ids)
    return [
        {"name": "matches", "median": _seconds(lambda: match(truth, detections, ids)), "unit": "s", "notes": size},
        {
            "name": "paired bootstrap",
            "median": _seconds(lambda: bootstrap(matches, matches, gain=0.0, resamples=RESAMPLES, seed=0)),
            "unit": "s",
            "notes": f"{RESAMPLES:,} resamples of the images, both models",
        },
        {"name": "AP by crowding", "median": _seconds(lambda: by_crowding(matches)), "unit": "s"},
        {
            "name": "errors split by kind",
            "median": _seconds(lambda: split_errors(truth, detections, ids)),
            "unit": "s",
            "notes": "8 times scored",
        },
    ]


def _seconds(call: Callable[[], object]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
