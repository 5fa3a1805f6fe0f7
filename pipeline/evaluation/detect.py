"""People in a split's images: the one driver behind validation in training, `lhrnet evaluate` and the gate.

Who hands out the images differs: the ranks of a training each take their part (`validate`), workers of an evaluation
take slices of shards (`predictions`).
"""

import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import torch

from lhrnet.coco import MAX_DETECTIONS
from lhrnet.predictor import Predictor
from pipeline.data.samples import Sample

WINDOW = 32
"""Images that are decoded together and sorted by size into batches."""


@dataclass(kw_only=True)
class Detections:
    """The people found in some images."""

    image_ids: list[int] = field(default_factory=list)
    """Every image that was passed through the network, in that order."""
    people: list[dict[str, Any]] = field(default_factory=list)
    """COCO results, at most 20 an image, the surest first."""


def detect(predictor: Predictor, samples: Iterable[Sample], *, window: int = WINDOW) -> Detections:
    """Find the people in images.

    Args:
        predictor: the network and how to look through it.
        samples: the images; at most `window` of them are in memory at once.
        window: consecutive images that are sorted by size into batches.
    """
    found = Detections()
    for together in _windows(samples, window):
        people = predictor.many([sample.image for sample in together])
        for sample, of_image in zip(together, people, strict=True):
            found.image_ids.append(sample.image_id)
            found.people += [person.to_coco(sample.image_id) for person in of_image[:MAX_DETECTIONS]]
    return found


def grouping_threads(device: torch.device | str) -> ThreadPoolExecutor | None:
    """Threads that group images while a GPU computes; None on a CPU, whose cores the network's own threads fill."""
    return ThreadPoolExecutor(os.cpu_count()) if torch.device(device).type == "cuda" else None


def check_complete(image_ids: Iterable[int], expected: Collection[int], url: str) -> None:
    """Check that every image of a split was predicted exactly once.

    Args:
        image_ids: the images predicted, by whichever worker.
        expected: the images that should have been.
        url: the split's folder, for the message.

    Raises:
        RuntimeError: an image is missing, was predicted twice, or is not of the split.
    """
    counts = Counter(image_ids)
    missing, unknown = sorted(set(expected) - counts.keys()), sorted(counts.keys() - set(expected))
    twice = sorted(image_id for image_id, count in counts.items() if count > 1)
    if missing or unknown or twice:
        kinds = {"missing": missing, "unknown": unknown, "more than once": twice}
        says = "; ".join(f"{len(ids)} {kind} (such as {ids[0]})" for kind, ids in kinds.items() if ids)
        raise RuntimeError(f"not every image of {url} was predicted exactly once: {says}; nothing was scored")


def _windows(samples: Iterable[Sample], window: int) -> Iterator[list[Sample]]:
    iterator = iter(samples)
    while together := list(islice(iterator, window)):
        yield together
