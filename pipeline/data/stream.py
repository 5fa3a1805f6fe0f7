"""Shards to batches: each rank's part of global batches, in an order that depends on the seed alone.

Each loader worker of a rank reads its own lanes and sends its slice of every batch. Nothing is decoded to be skipped: a
stream that starts at a cursor opens only shards that hold images still to come.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as section
from torch.utils.data import DataLoader

from lhrnet.skeleton import COCO, Skeleton, check_same_keypoints
from pipeline import SECTION
from pipeline.data.augment import AugmentConfig
from pipeline.data.index import Images, read_index
from pipeline.data.loader import BatchSlices, LoaderTask
from pipeline.data.order import Cursor, Order, check_divisible
from pipeline.storage import store
from pipeline.storage.cache import node_cache


@section(frozen=True, kw_only=True, config=SECTION)
class StreamConfig:
    """How shards are read."""

    lanes: PositiveInt = field(default=16, metadata={"order": True})
    """Interleaved sequences that an epoch is divided into. A multiple of ranks x loader workers, and the same for a
    run's whole life."""
    loader_workers: NonNegativeInt = field(default=1, metadata={"result": False})
    """Processes per rank that read, decode and warp; 0: in the training process itself."""
    window: PositiveInt = field(default=128, metadata={"order": True})
    """Images over which a lane is shuffled, on top of the order of the shards. A lane buffers at most this many."""
    images: Images = field(default="labelled", metadata={"order": True})
    """Train on images with a labelled keypoint, with any person annotated, or all."""
    on_damage: Literal["fail", "skip"] = "fail"
    """When a shard is missing, truncated or changed: end the run, or leave its images' slots empty and count them."""
    cache: str = field(default="", metadata={"result": False})
    """A folder on each node that keeps remote shards; empty: none are kept."""
    cache_gb: PositiveFloat = field(default=20.0, metadata={"result": False})
    """Size limit of the cache in 10^9 bytes; the least recently used shards are removed first."""
    prefetch: PositiveInt = field(default=2, metadata={"result": False})
    """Batches that each loader worker prepares ahead."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One rank's part of a global batch."""

    images: torch.Tensor
    """(B, 3, S, S) uint8 RGB, channels_last."""
    joints: torch.Tensor
    """(B, 30, K, 3) float32 x, y in input pixels and visibility, padded with zeros."""
    mask: torch.Tensor
    """(B, S/2, S/2) uint8, 1 where the loss counts."""
    image_ids: torch.Tensor
    """(B,) int64; -1 where a damaged shard left the slot empty (black image, no joints, mask 0)."""
    cursor: Cursor
    """Where the stream stands after this batch."""


class TrainStream:
    """A rank's endless stream of batches.

    Raises:
        ValueError: the division of the work is impossible, the images are labelled with other keypoints, there are too
            few, or the cache holds no shard.
        FileNotFoundError: no index at `url`.
    """

    def __init__(
        self,
        url: str,
        *,
        stream: StreamConfig,
        augment: AugmentConfig,
        size: int,
        global_batch: int,
        rank: int,
        world: int,
        seed: int,
        skeleton: Skeleton = COCO,
    ) -> None:
        index = read_index(url)
        check_same_keypoints(index.skeleton, url, skeleton, "the network")
        chosen = [(shard, shard.chosen(stream.images)) for shard in index.shards]
        chosen = [(shard, ids) for shard, ids in chosen if ids]
        if not chosen:
            raise ValueError(f"{url} has no {stream.images} images; set stream.images, or shard another split")
        check_divisible(
            lanes=stream.lanes,
            shards=len(chosen),
            global_batch=global_batch,
            world=world,
            loaders=stream.loader_workers,
        )
        if not 0 <= rank < world:
            raise ValueError(f"rank {rank} is not one of {world}")
        if size < 2 or size % 2:
            raise ValueError(f"the input's side is {size}; it must be even")
        cache, largest = node_cache(stream.cache, stream.cache_gb), max(shard.bytes for shard, _ in chosen)
        if cache and not store.is_local(url) and largest > cache.limit:
            raise ValueError(
                f"a shard of {url} has {largest} bytes and the cache {cache.limit}; set stream.cache_gb to "
                f"{largest / 1e9:.3g} or more, many times that to be of use"
            )
        self.config = stream
        self.order = Order(tuple(ids for _, ids in chosen), stream.lanes, stream.window, global_batch, seed)
        self.task = LoaderTask(
            url=url,
            shards=tuple(shard for shard, _ in chosen),
            order=self.order,
            augment=augment,
            skeleton=index.skeleton,
            size=size,
            rank=rank,
            world=world,
            on_damage=stream.on_damage,
            cache=cache,
        )
        self.skipped = 0
        """Slots left empty so far because their shard was damaged."""

    @property
    def images(self) -> int:
        """Images an epoch."""
        return self.order.images

    def batches(self, start: Cursor = Cursor()) -> Iterator[Batch]:  # noqa: B008 - a frozen value
        """Yield this rank's part of every global batch from `start` on, over epochs without end.

        Sets OpenCV to one thread where no loader workers are asked for.

        Raises:
            ValueError, FileNotFoundError: a shard is damaged or missing, unless it is to be skipped.
            PermissionError, ConnectionError: the store cannot be read.
        """
        first, workers = self.order.batch(start), self.config.loader_workers
        slices_of_batches = iter(
            DataLoader(
                BatchSlices(self.task, first),
                batch_size=None,
                num_workers=workers,
                generator=torch.Generator(),  # else it draws from the global one, whose state a run resumes with
                prefetch_factor=self.config.prefetch if workers else None,
            )
        )
        number = first
        try:
            while True:
                slices = [next(slices_of_batches) for _ in range(max(1, workers))]
                for sent in slices:
                    if isinstance(sent, Exception):
                        raise sent
                batch = self._assembled(slices, number)
                number += 1
                self.skipped += int((batch.image_ids < 0).sum())
                yield batch
        finally:
            # Stop the workers now: collecting the DataLoader in another thread deadlocks.
            del slices_of_batches

    def _assembled(self, slices: list[tuple[torch.Tensor, ...]], number: int) -> Batch:
        """Batch `number` from the slices of all loader workers, whose samples alternate in it."""
        cursor = self.order.cursor(number + 1)
        if len(slices) == 1:
            images, joints, mask, ids = slices[0]
        else:
            local = self.order.global_batch // self.task.world
            images, joints, mask, ids = (torch.empty((local, *part.shape[1:]), dtype=part.dtype) for part in slices[0])
            for worker, sent in enumerate(slices):
                start = (worker - number * local) % len(slices)
                for whole, part in zip((images, joints, mask, ids), sent, strict=True):
                    whole[start :: len(slices)] = part
        return Batch(images.permute(0, 3, 1, 2), joints, mask, ids, cursor)
