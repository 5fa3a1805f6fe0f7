"""The order of training images: a pure function of (index, seed, epoch, position).

An epoch's shards are permuted and concatenated, and the sequence of images is divided into `lanes` spans of equal
length (the first ones are longer by one where it does not divide evenly). Within its span a lane's images are shuffled
over a window: an image moves by at most `window` positions, so that a reader that goes through the shards in order
buffers at most that many. Position p of an epoch is image p // lanes of lane p % lanes.

Epochs follow each other without a gap: global batch k takes positions k * B to (k + 1) * B of the endless sequence of
epochs. Nothing is dropped or repeated to fill a last batch, each image comes once an epoch, and all ranks take the same
number of steps. Within a batch of B, rank r of `world` takes the positions r, r + world, ... from the batch's start.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, order=True)
class Cursor:
    """A point between two batches: `step` batches of those that begin in `epoch` have been drawn."""

    epoch: int = 0
    step: int = 0

    def __post_init__(self) -> None:
        if self.epoch < 0 or self.step < 0:
            raise ValueError(f"cursor {self.epoch}, {self.step}: both counts are at least 0")


@dataclass(frozen=True, eq=False)
class Lane:
    """One lane's images in one epoch."""

    shards: NDArray[np.int64]
    """Which shard each image lies in, in the order of reading."""
    ids: NDArray[np.int64]
    """Image ids in the order of reading."""
    draws: NDArray[np.int64]
    """The order of training: the j-th image drawn is the `draws[j]`-th image read."""

    def drawn(self) -> NDArray[np.int64]:
        """Image ids in the order of training."""
        return self.ids[self.draws]

    def readings(self, start: int = 0) -> list[tuple[int, frozenset[int]]]:
        """The shards that must be read to draw from the `start`-th image on, each with the ids wanted of it."""
        # what is still to be drawn, in the order of reading
        wanted = np.sort(self.draws[start:])
        if not len(wanted):
            return []
        # Each shard's images stand together there, so one shard ends where the next is first seen. `numbers` are
        # ascending, and `first` says where each of them begins.
        numbers, first = np.unique(self.shards[wanted], return_index=True)
        groups = np.split(self.ids[wanted], np.sort(first)[1:])
        # the shards by where they begin, which is the order of reading again
        return [
            (int(numbers[i]), frozenset(group.tolist())) for i, group in zip(np.argsort(first), groups, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Order:
    """The order over all epochs."""

    ids: tuple[tuple[int, ...], ...]
    """The images trained on, shard by shard."""
    lanes: int
    window: int
    global_batch: int
    seed: int

    def __post_init__(self) -> None:
        if self.images < self.global_batch:
            raise ValueError(
                f"{self.images} images to train on do not fill a global batch of {self.global_batch}; "
                "take a smaller batch or more images"
            )

    @property
    def images(self) -> int:
        """Images an epoch."""
        return sum(map(len, self.ids))

    def first_batch(self, epoch: int) -> int:
        """The first global batch that begins in this epoch (batches are counted from 0 over all epochs)."""
        return -(-epoch * self.images // self.global_batch)

    def steps(self, epoch: int) -> int:
        """Batches that begin in this epoch: images / batch, rounded up or down."""
        return self.first_batch(epoch + 1) - self.first_batch(epoch)

    def batch(self, cursor: Cursor) -> int:
        """The number of the batch that a cursor stands before."""
        return self.first_batch(cursor.epoch) + cursor.step

    def cursor(self, batch: int) -> Cursor:
        """The cursor that stands before a batch."""
        epoch = batch * self.global_batch // self.images
        return Cursor(epoch, batch - self.first_batch(epoch))

    def place(self, position: int) -> tuple[int, int, int]:
        """(epoch, lane, position in the lane) of a position, counted from 0 over all epochs."""
        epoch, inside = divmod(position, self.images)
        return epoch, inside % self.lanes, inside // self.lanes

    def lane(self, epoch: int, lane: int) -> Lane:
        """One lane's images in one epoch."""
        ids, shards = _epoch(self, epoch)
        base, longer = divmod(len(ids), self.lanes)
        start = lane * base + min(lane, longer)
        span = slice(start, start + base + (lane < longer))
        count = span.stop - span.start
        moved = np.random.default_rng([self.seed, epoch, 1, lane]).random(count) * self.window
        return Lane(shards[span], ids[span], np.argsort(np.arange(count) + moved, kind="stable"))


@lru_cache(maxsize=4)
def _epoch(order: Order, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Image ids and shard numbers of an epoch, in the order of reading."""
    permuted = np.random.default_rng([order.seed, epoch, 0]).permutation(len(order.ids))
    ids = np.concatenate([np.asarray(order.ids[shard], dtype=np.int64) for shard in permuted])
    shards = np.repeat(permuted, [len(order.ids[shard]) for shard in permuted])
    return ids, shards


def check_divisible(*, lanes: int, shards: int, global_batch: int, world: int, loaders: int) -> None:
    """Check, before a run starts, that batch and lanes divide evenly among ranks and their loader workers.

    Raises:
        ValueError: ranks x loaders do not divide the lanes, ranks do not divide the batch, or there are fewer shards
            than readers.
    """
    readers = world * max(1, loaders)
    if lanes % readers:
        raise ValueError(
            f"stream.lanes is {lanes}, which {world} ranks x {max(1, loaders)} loader workers do not divide; "
            f"allowed: a multiple of {readers}, the same over a run's whole life"
        )
    if global_batch % world:
        raise ValueError(f"the global batch {global_batch} is not a multiple of {world} ranks")
    if shards < readers:
        raise ValueError(
            f"{shards} shards are too few for {world} ranks x {max(1, loaders)} loader workers; "
            "shard again with a smaller --per-shard, or use fewer workers"
        )
