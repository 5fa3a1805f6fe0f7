"""What one loader worker does: read its lanes, prepare their images, and send its slice of every batch."""

import functools
import logging
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from lhrnet.coco import MAX_PEOPLE
from lhrnet.skeleton import COCO, Skeleton
from pipeline.data.augment import AugmentConfig, prepare
from pipeline.data.index import Shard
from pipeline.data.order import Lane, Order
from pipeline.data.reader import RawSample, open_shard, read_shard
from pipeline.storage import store
from pipeline.storage.cache import NodeCache

log = logging.getLogger(__name__)

LAST = 1 << 62
MEMORY = 1 << 29
"""Shards (two a lane) are held in memory up to this many bytes a loader worker, and in temporary files above."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LoaderTask:
    """What the loader workers of one rank need to know."""

    url: str
    """Of the split's folder."""
    shards: tuple[Shard, ...]
    """In the order of `order.ids`."""
    order: Order
    augment: AugmentConfig
    size: int
    """Side of the network's input."""
    rank: int
    world: int
    on_damage: Literal["fail", "skip"]
    cache: NodeCache | None
    skeleton: Skeleton = COCO
    """Whose keypoints the images are labelled with."""


class BatchSlices(IterableDataset[Any]):
    """A worker's slice of every batch from batch `first` on: (n,S,S,3), (n,30,K,3), (n,S/2,S/2) and (n,).

    An error ends them. It is sent in place of a slice, so that it is raised where the stream is used.
    """

    def __init__(self, task: LoaderTask, first: int) -> None:
        self.task, self.first = task, first

    def __iter__(self) -> Iterator[Any]:
        cv2.setNumThreads(0)
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        reader = LaneReader(self.task, workers)
        world, batch = self.task.world, self.task.order.global_batch
        try:
            for start in range(self.first * batch, LAST, batch):
                mine = range(start + self.task.rank, start + batch, world)
                yield reader.batch_slice([position for position in mine if position // world % workers == worker])
        except (ValueError, OSError, RuntimeError) as error:
            # A worker's error is pickled on its way. Classes of other packages, and builtin ones whose constructor
            # takes more than a message, may not unpickle: of those only the message is sent.
            plain = type(error).__module__ == "builtins" and not isinstance(error, UnicodeError)
            yield (type(error) if plain else RuntimeError)(str(error))
        finally:
            reader.pool.shutdown(wait=False, cancel_futures=True)


class LaneReader:
    """Gives the samples at positions of the stream. Keeps each lane of this worker open between batches."""

    def __init__(self, task: LoaderTask, workers: int) -> None:
        self.task = task
        lanes = -(-task.order.lanes // (task.world * workers))
        self.in_memory = 2 * lanes * max(shard.bytes for shard in task.shards) <= MEMORY
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="shards")
        self.lanes: dict[int, tuple[int, Generator[RawSample | None]]] = {}

    def batch_slice(self, positions: list[int]) -> tuple[torch.Tensor, ...]:
        """The prepared samples at these positions, which must follow those of the last call."""
        size = self.task.size
        images = np.empty((len(positions), size, size, 3), np.uint8)
        joints = np.zeros((len(positions), MAX_PEOPLE, self.task.skeleton.count, 3), np.float32)
        mask = np.empty((len(positions), size // 2, size // 2), np.uint8)
        ids = np.full(len(positions), -1, np.int64)
        for i, position in enumerate(positions):
            epoch, lane, place = self.task.order.place(position)
            # the first draw of an epoch from this lane: open it there, which after a resume is within the lane
            if self.lanes.get(lane, (-1,))[0] != epoch:
                self._close_other_epochs(epoch)
                self.lanes[lane] = epoch, self._samples(self.task.order.lane(epoch, lane), place)
            raw = next(self.lanes[lane][1])
            if raw is None:  # lost with a damaged shard: the slot stays empty, on every rank alike
                images[i] = mask[i] = 0
            else:
                joints[i], mask[i] = self._prepared(raw, epoch, images[i])
                ids[i] = raw.image_id
        return tuple(torch.from_numpy(array) for array in (images, joints, mask, ids))

    def _close_other_epochs(self, epoch: int) -> None:
        """Close the lanes of past epochs: which lanes are this worker's may change from one epoch to the next, and a
        lane that is not read any more would keep its last shard open.
        """
        for lane in [lane for lane, (other, _) in self.lanes.items() if other != epoch]:
            self.lanes.pop(lane)[1].close()

    def _prepared(self, raw: RawSample, epoch: int, out: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Write the image into its slot `out` of the batch; returns its joints and mask."""
        try:
            ready = prepare(
                raw.jpeg,
                raw.ignore_png,
                raw.annotations,
                self.task.skeleton,
                width=raw.width,
                height=raw.height,
                size=self.task.size,
                config=self.task.augment,
                key=(self.task.order.seed, epoch, raw.image_id),
                out=out,
            )
        except ValueError as error:
            raise ValueError(f"{self.task.url}: image {raw.image_id}: {error}") from error
        return ready.joints, ready.mask

    def _samples(self, lane: Lane, start: int) -> Generator[RawSample | None]:
        read = self._read(lane.readings(start))
        held: dict[int, RawSample | None] = {}  # read but not yet drawn: at most a window of images
        for image in lane.drawn()[start:].tolist():
            while image not in held:
                number, raw = next(read)
                held[number] = raw
            yield held.pop(image)

    def _read(self, readings: list[tuple[int, frozenset[int]]]) -> Iterator[tuple[int, RawSample | None]]:
        """The wanted samples of the lane's shards; while one shard is read, the next is fetched."""
        opened: list[Future[BinaryIO]] = []
        for place, (number, wanted) in enumerate(readings):
            opened += [self.pool.submit(self._open, n) for n, _ in readings[place + len(opened) : place + 2]]
            shard = self.task.shards[number]
            left = set(wanted)
            try:
                file = opened.pop(0).result()
                for raw in read_shard(
                    file, store.join(self.task.url, shard.name), shard.image_ids, self.task.skeleton.count
                ):
                    if raw.image_id in left:
                        left.discard(raw.image_id)
                        yield raw.image_id, raw
            except (ValueError, FileNotFoundError) as error:
                if self.task.on_damage == "fail":
                    raise
                _warn_once(f"{len(left)} slots are left empty: {error}")
                yield from ((image, None) for image in sorted(left))

    def _open(self, number: int) -> BinaryIO:
        task = self.task
        return open_shard(task.url, task.shards[number], task.cache, in_memory=self.in_memory)


@functools.lru_cache(maxsize=1024)
def _warn_once(message: str) -> None:
    log.warning(message)
