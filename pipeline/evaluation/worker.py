"""What a worker of an evaluation does: it holds a checkpoint's network and finds the people in slices of shards.

`pipeline.evaluation.predictions` hands the slices out, over a cluster or in one process.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as section
from torch import Tensor, nn

from lhrnet.image_file import Image
from lhrnet.predictor import Predictor, Timings
from pipeline import SECTION
from pipeline.checkpoints.checkpoint import Checkpoint, build_network
from pipeline.cluster.processor import processor_name
from pipeline.data.index import ShardIndex
from pipeline.data.samples import Sample, read_images
from pipeline.evaluation.detect import Detections, detect, grouping_threads

ProtocolName = Literal["plain", "flip", "multi-scale"]


@section(frozen=True, kw_only=True, config=SECTION)
class EvaluateConfig:
    """How a checkpoint is tested. All but `workers` and the reserved resources may change digits of the figures."""

    protocol: ProtocolName = "plain"
    """`plain`: one pass; `flip`: also mirrored; `multi-scale`: mirrored, at half, full and double size."""
    size: Annotated[int, Field(ge=64)] | None = None
    """Short side of the input in pixels; empty: the network's own."""
    workers: NonNegativeInt = field(default=0, metadata={"result": False})
    """At most this many Ray actors predict side by side, as the cluster has room; 0: in this process, without Ray."""
    cpus_per_worker: NonNegativeFloat = field(default=1.0, metadata={"result": False})
    """CPUs that an actor reserves in the cluster."""
    gpus_per_worker: NonNegativeFloat = field(default=0.0, metadata={"result": False})
    """GPUs that an actor reserves; a share such as 0.5 puts two actors on one."""
    device: Literal["auto", "cpu", "cuda"] = field(default="auto", metadata={"result": False})
    """`auto` takes a GPU where the worker has one."""
    threads: PositiveInt = field(default=1, metadata={"result": False})
    """Threads that a worker computes with."""
    batch: PositiveInt = 8
    """At most this many images are passed through the network at once."""
    window: PositiveInt = 64
    """Consecutive images of a shard that are sorted by size into batches."""
    pictures: NonNegativeInt = field(default=8, metadata={"result": False})
    """Images, evenly spaced over the split, that are drawn with the people found in them."""


@dataclass(frozen=True)
class ShardSlice:
    """Images `start` to `stop` of a shard, in its order; both are bounds of windows."""

    shard: int
    start: int
    stop: int


@dataclass(frozen=True)
class EvaluationTask:
    """What all workers of an evaluation share."""

    checkpoint: Checkpoint
    url: str
    index: ShardIndex
    config: EvaluateConfig
    wanted: frozenset[int]
    """Images whose pixels are returned, to be drawn."""


@dataclass(frozen=True)
class SliceResult:
    """What a worker returns for a slice."""

    found: Detections
    timings: Timings
    device: str
    pictures: dict[int, Image]


class EvaluationWorker:
    """Holds the network and finds the people in slices of shards. Runs as a Ray actor or in this process.

    Raises:
        ValueError: as `build_network`; or the network's maps are not finite, then or in `run`.
    """

    def __init__(self, task: EvaluationTask) -> None:
        self.task, config = task, task.config
        torch.set_num_threads(config.threads)
        self.device = _device(config)
        network = build_network(task.checkpoint, self.device)
        self.sums: list[Tensor] = []
        network.register_forward_hook(self._sum)
        size = config.size or task.checkpoint.model.side
        pool = grouping_threads(self.device)
        self.predictor = Predictor(network, size, config.protocol, self.device, batch=config.batch, pool=pool)
        black = np.zeros((size, size, 3), np.uint8)  # warms the device up, outside of what is timed
        self._detect([Sample(black, -1, "", (), size, size)] * config.batch)

    def run(self, part: ShardSlice) -> SliceResult:
        """Find the people in a slice's images."""
        timings = self.predictor.timings = Timings()
        shard = self.task.index.shards[part.shard]
        mine = set(shard.image_ids[part.start : part.stop])
        pictures: dict[int, Image] = {}

        def samples() -> Iterator[Sample]:
            for sample in read_images(self.task.url, [shard], mine, self.task.index.skeleton.count):
                if sample.image_id in self.task.wanted:
                    pictures[sample.image_id] = sample.image
                yield sample

        found = self._detect(samples())
        return SliceResult(found, timings, device_name(self.device, self.task.config.threads), pictures)

    def _detect(self, samples: Iterable[Sample]) -> Detections:
        found = detect(self.predictor, samples, window=self.task.config.window)
        sums, self.sums = torch.stack(self.sums), []
        if not torch.isfinite(sums).all():  # grouping finds nobody there, which would pass for a poor network
            raise ValueError(
                f"checkpoint {self.task.checkpoint.url or '(unsaved)'} gives maps that are not finite: its weights are "
                "too large to compute with; use an earlier checkpoint"
            )
        return found

    def _sum(self, network: nn.Module, inputs: Any, maps: tuple[Tensor, Tensor]) -> None:
        """Keep the sums of a batch's maps on the device; looking at each at once would make the device wait."""
        self.sums += [part.sum() for part in maps]


def _device(config: EvaluateConfig) -> str:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("evaluate.device is 'cuda' and the worker has none: set gpus_per_worker, or take 'auto'")
    return "cpu" if config.device == "cpu" or not torch.cuda.is_available() else "cuda"


def device_name(device: str, threads: int) -> str:
    """What a network runs on, for the record: the GPU, or the processor and its threads."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{processor_name()}, {threads} thread{'s' if threads > 1 else ''}"
