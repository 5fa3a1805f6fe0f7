"""What one loader worker does: read the lanes that fall to it, prepare their images, send its part of every batch."""

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

from lhrnet.coco import MAX_PEOPLE, K
from pipeline.data.augment import AugmentConfig, prepare
from pipeline.data.index import Shard
from pipeline.data.order import Lane, Order
from pipeline.data.reader import RawSample, open_shard, read_shard
from pipeline.storage import store
from pipeline.storage.cache import NodeCache

log = logging.getLogger(__name__)

LAST = 1 << 62
MEMORY = 1 << 29
"""Most bytes of shards (two a lane) that a loader worker holds in memory rather than in temporary files."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Share:
    """One rank's share of the stream: all that its loader workers must know."""

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


class Parts(IterableDataset[Any]):
    """Endless parts of batches from batch `first` on: (n,S,S,3), (n,30,17,3), (n,S/2,S/2) and (n,).

    An error ends them: it is sent in place of a part, so that it is raised where the stream is used.
    """

    def __init__(self, share: Share, first: int) -> None:
        self.share, self.first = share, first

    def __iter__(self) -> Iterator[Any]:
        cv2.setNumThreads(0)
        info = get_worker_info()
        worker, workers = (info.id, info.num_workers) if info else (0, 1)
        reader = LaneReader(self.share, workers)
        world, batch = self.share.world, self.share.order.global_batch
        try:
            for start in range(self.first * batch, LAST, batch):
                mine = range(start + self.share.rank, start + batch, world)
                yield reader.part([position for position in mine if position // world % workers == worker])
        except (ValueError, OSError, RuntimeError) as error:
            plain = type(error).__module__ == "builtins" and not isinstance(error, UnicodeError)
            yield (type(error) if plain else RuntimeError)(str(error))
        finally:
            reader.pool.shutdown(wait=False, cancel_futures=True)


class LaneReader:
    """Draws samples at positions, with one open lane for each lane that falls to this worker."""

    def __init__(self, share: Share, workers: int) -> None:
        self.share = share
        lanes = -(-share.order.lanes // (share.world * workers))
        self.in_memory = 2 * lanes * max(shard.bytes for shard in share.shards) <= MEMORY
        self.pool = ThreadPoolExecutor(2, thread_name_prefix="shards")
        self.lanes: dict[int, tuple[int, Generator[RawSample | None]]] = {}

    def part(self, positions: list[int]) -> tuple[torch.Tensor, ...]:
        """The prepared samples at these positions, which must follow on from the last ones."""
        size = self.share.size
        images = np.empty((len(positions), size, size, 3), np.uint8)
        joints = np.zeros((len(positions), MAX_PEOPLE, K, 3), np.float32)
        mask = np.empty((len(positions), size // 2, size // 2), np.uint8)
        ids = np.full(len(positions), -1, np.int64)
        for i, position in enumerate(positions):
            epoch, lane, place = self.share.order.place(position)
            if self.lanes.get(lane, (-1,))[0] != epoch:
                self._leave_other_epochs(epoch)
                self.lanes[lane] = epoch, self._samples(self.share.order.lane(epoch, lane), place)
            raw = next(self.lanes[lane][1])
            if raw is None:
                images[i] = mask[i] = 0
            else:
                joints[i], mask[i] = self._prepared(raw, epoch, images[i])
                ids[i] = raw.image_id
        return tuple(torch.from_numpy(array) for array in (images, joints, mask, ids))

    def _leave_other_epochs(self, epoch: int) -> None:
        """Close the lanes of epochs that are over: which lanes fall to this worker may change from one to the next, and
        a lane that is not drawn from any more would hold its last shard for good.
        """
        for lane in [lane for lane, (other, _) in self.lanes.items() if other != epoch]:
            self.lanes.pop(lane)[1].close()

    def _prepared(self, raw: RawSample, epoch: int, room: NDArray[np.uint8]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Draw the image into its room in the batch; its joints and mask."""
        try:
            ready = prepare(
                raw.jpeg,
                raw.ignore_png,
                raw.annotations,
                width=raw.width,
                height=raw.height,
                size=self.share.size,
                config=self.share.augment,
                key=(self.share.order.seed, epoch, raw.image_id),
                out=room,
            )
        except ValueError as error:
            raise ValueError(f"{self.share.url}: image {raw.image_id}: {error}") from error
        return ready.joints, ready.mask

    def _samples(self, lane: Lane, start: int) -> Generator[RawSample | None]:
        read = self._read(lane.readings(start))
        held: dict[int, RawSample | None] = {}
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
            shard = self.share.shards[number]
            left = set(wanted)
            try:
                file = opened.pop(0).result()
                for raw in read_shard(file, store.join(self.share.url, shard.name), shard.image_ids):
                    if raw.image_id in left:
                        left.discard(raw.image_id)
                        yield raw.image_id, raw
            except (ValueError, FileNotFoundError) as error:
                if self.share.on_damage == "fail":
                    raise
                _warn_once(f"{len(left)} places are left empty: {error}")
                yield from ((image, None) for image in sorted(left))

    def _open(self, number: int) -> BinaryIO:
        share = self.share
        return open_shard(share.url, share.shards[number], share.cache, in_memory=self.in_memory)


@functools.lru_cache(maxsize=1024)
def _warn_once(message: str) -> None:
    log.warning(message)
