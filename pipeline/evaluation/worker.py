"""What a worker of an evaluation does: holds a checkpoint's network and finds the people in pieces of shards.

`pipeline.evaluation.predictions` hands the pieces out, over a cluster or in one process.
"""

import os
import platform
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lhrnet.coco import MAX_DETECTIONS
from lhrnet.inference import PROTOCOLS, Protocol, Timings, predict
from pipeline.checkpoints.checkpoint import Checkpoint, build_network
from pipeline.data.decode import decode
from pipeline.data.index import ShardIndex
from pipeline.data.reader import open_shard, read_shard
from pipeline.storage import store

ProtocolName = Literal["plain", "flip", "multi-scale"]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How a checkpoint is tested. All but `workers` and the reserved resources may change digits of the figures."""

    protocol: ProtocolName = "plain"
    """`plain`: one look at an image; `flip`: also mirrored; `multi-scale`: mirrored, at half, full and double size."""
    size: int | None = None
    """Short side of the input in pixels; empty: the network's own."""
    workers: int = 0
    """Most Ray actors that predict side by side, as the cluster has room; 0: in this process, without Ray."""
    cpus_per_worker: float = 1.0
    """CPUs that an actor reserves in the cluster."""
    gpus_per_worker: float = 0.0
    """GPUs that an actor reserves; a share such as 0.5 puts two actors on one."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU where the worker has one."""
    threads: int = 1
    """Threads a worker computes with."""
    batch: int = 8
    """Most images passed through the network at once."""
    window: int = 64
    """Consecutive images of a shard that are sorted by size into batches."""
    pictures: int = 8
    """Images, spread over the split, that are drawn with the people found in them."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: A setting is out of range; the message names key, value and what is allowed.
        """
        if self.protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {self.protocol!r}; allowed: {', '.join(PROTOCOLS)}")
        for key, least in {"workers": 0, "threads": 1, "batch": 1, "window": 1, "pictures": 0}.items():
            if getattr(self, key) < least:
                raise ValueError(f"{key} is {getattr(self, key)}; allowed: {least} or more")
        for key in ("cpus_per_worker", "gpus_per_worker"):
            if getattr(self, key) < 0:
                raise ValueError(f"{key} is {getattr(self, key)}; allowed: 0 or more")
        if self.size is not None and self.size < 64:
            raise ValueError(f"size is {self.size}; allowed: 64 or more, or null for the network's own")


@dataclass(frozen=True)
class Piece:
    """Part of a shard: images `start` to `stop` in its order, cut at bounds of windows."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True)
class Job:
    """What all workers share."""

    checkpoint: Checkpoint
    url: str
    index: ShardIndex
    config: EvaluateConfig
    wanted: frozenset[int]
    """Images whose pixels are handed back."""


@dataclass(frozen=True)
class Done:
    """What a worker gives back for a piece."""

    detections: list[dict[str, Any]]
    image_ids: list[int]
    timings: Timings
    device: str
    pictures: dict[int, NDArray[np.uint8]]


class Predictor:
    """A worker: holds the network, predicts pieces. Runs as a Ray actor or in this process.

    Raises:
        ValueError: as `build_network`; or the network's maps are not finite, then or in `run`.
    """

    def __init__(self, job: Job) -> None:
        self.job, config = job, job.config
        torch.set_num_threads(config.threads)
        self.device = _device(config)
        self.network = build_network(job.checkpoint, self.device)
        self.sums: list[Tensor] = []
        self.network.register_forward_hook(self._sum)
        self.size = config.size or job.checkpoint.model.side
        self.protocol: Protocol = PROTOCOLS[config.protocol]
        self.pool = ThreadPoolExecutor(os.cpu_count()) if self.device == "cuda" else None
        self._predict([np.zeros((self.size, self.size, 3), np.uint8)] * config.batch, Timings())

    def run(self, piece: Piece) -> Done:
        """Predict a piece's images, window by window."""
        timings = Timings()
        detections: list[dict[str, Any]] = []
        seen: list[int] = []
        pictures: dict[int, NDArray[np.uint8]] = {}
        for ids, images in self._windows(piece):
            for image_id, image, people in zip(ids, images, self._predict(images, timings), strict=True):
                best = sorted(people, key=lambda person: -person.score)[:MAX_DETECTIONS]
                detections += [person.to_coco(image_id) for person in best]
                if image_id in self.job.wanted:
                    pictures[image_id] = image
            seen += ids
        return Done(detections, seen, timings, device_name(self.device, self.job.config.threads), pictures)

    def _predict(self, images: list[NDArray[np.uint8]], timings: Timings) -> list[list[Any]]:
        people = predict(
            self.network, images, self.size, self.protocol, self.device, batch=self.job.config.batch, pool=self.pool,
            timings=timings,
        )  # fmt: skip
        sums, self.sums = torch.stack(self.sums), []
        if not torch.isfinite(sums).all():  # grouping finds nobody there, which would pass for a poor network
            raise ValueError(
                f"checkpoint {self.job.checkpoint.url or '(unsaved)'} gives maps that are not finite: its weights are "
                "too large to compute with; use an earlier checkpoint"
            )
        return people

    def _sum(self, network: nn.Module, inputs: Any, maps: tuple[Tensor, Tensor]) -> None:
        """Keep the sums of a batch's maps on the device; looking at each at once would make the device wait."""
        self.sums += [part.sum() for part in maps]

    def _windows(self, piece: Piece) -> Iterator[tuple[list[int], list[NDArray[np.uint8]]]]:
        shard = self.job.index.shards[piece.shard]
        place = store.join(self.job.url, shard.name)
        ids: list[int] = []
        images: list[NDArray[np.uint8]] = []
        for number, raw in enumerate(read_shard(open_shard(self.job.url, shard), place, shard.image_ids)):
            if not piece.start <= number < piece.stop:
                continue
            try:
                images.append(decode(raw.jpeg))
            except ValueError as error:
                raise ValueError(f"{place}: image {raw.image_id}: {error}") from error
            ids.append(raw.image_id)
            if len(ids) == self.job.config.window:
                yield ids, images
                ids, images = [], []
        if ids:
            yield ids, images


def _device(config: EvaluateConfig) -> str:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("evaluate.device is 'cuda' and the worker has none: set gpus_per_worker, or take 'auto'")
    return "cpu" if config.device == "cpu" or not torch.cuda.is_available() else "cuda"


def device_name(device: str, threads: int) -> str:
    """What a network runs on, in the words of a record: the GPU, or the processor and its threads."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.machine()}, {threads} thread{'s' if threads > 1 else ''}"
