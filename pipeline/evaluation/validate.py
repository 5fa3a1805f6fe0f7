"""Scoring a network on a split, every worker its part: the scorer of training, evaluation and search alike."""

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn

from lhrnet.inference import Protocol, predict
from lhrnet.metrics.coco_eval import Scores, score
from pipeline.cluster.world import World
from pipeline.data.index import read_index, truth
from pipeline.data.samples import Sample, read_samples

CHUNK = 32
"""Images that are decoded and looked at together."""


@dataclass(frozen=True, kw_only=True)
class Validation:
    """A split's figures."""

    scores: Scores
    images: int
    people: int


def detect(
    network: nn.Module,
    samples: Iterable[Sample],
    *,
    size: int,
    protocol: Protocol | str,
    device: Any,
    batch: int = 8,
) -> tuple[list[int], list[dict[str, Any]]]:
    """People in samples, as COCO results.

    Returns:
        The ids of the images looked at, and the people found in them.
    """
    ids: list[int] = []
    found: list[dict[str, Any]] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        pool = threads if torch.device(device).type == "cuda" else None  # on a CPU the network itself fills the cores
        for chunk in _chunks(samples):
            images = [sample.image for sample in chunk]
            people = predict(network, images, size, protocol, device, batch=batch, pool=pool)
            for sample, of_image in zip(chunk, people, strict=True):
                ids.append(sample.image_id)
                found += [person.to_coco(sample.image_id) for person in of_image]
    return ids, found


def validate(
    network: nn.Module,
    url: str,
    *,
    size: int,
    protocol: Protocol | str = "plain",
    limit: int = 0,
    world: World | None = None,
) -> Validation | None:
    """Score a network on a split, all workers together.

    Args:
        network: in eval mode, the same on every worker.
        url: the split's shards.
        size: the input's short side.
        protocol: settings or a preset's name.
        limit: only the first so many images; 0: all.
        world: who takes part; None: this process alone.

    Returns:
        The figures on the first worker, None on the others.

    Raises:
        RuntimeError: the images looked at are not the split's.
    """
    world = world or World()
    index = read_index(url)
    samples = read_samples(url, rank=world.rank, world=world.size, index=index, limit=limit)
    parts = world.gather(detect(network, samples, size=size, protocol=protocol, device=world.device))
    if not world.first:
        return None
    wanted = list(index.image_ids[: limit or None])
    ids = sorted(image for part, _ in parts for image in part)
    if ids != sorted(wanted):
        raise RuntimeError(f"{url}: {len(ids)} images were looked at, {len(wanted)} are in the split")
    detections = [person for _, found in parts for person in found]
    return Validation(scores=score(truth(url, index), detections, wanted), images=len(wanted), people=len(detections))


def _chunks(samples: Iterable[Sample]) -> Iterator[list[Sample]]:
    iterator = iter(samples)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
