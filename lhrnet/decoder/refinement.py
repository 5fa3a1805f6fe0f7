"""Sub-pixel positions of peaks, and positions of keypoints for which no peak was found."""

from collections.abc import Sequence

import numpy as np

from lhrnet.decoder.enlarged import BLOCK, MARGIN, Enlarged, Floats, Indices

_CHUNK = 1 << 18
"""Bounds held in memory at a time."""
_BANDS = (32, 192, 1024)
"""How many blocks of the highest heat are looked at first, and how many next."""
_MANY = 8
"""How many people who lack a keypoint make it worth while to search all blocks of the first bands for all of them."""
_ROUNDS = 8
"""Blocks that are searched one after the other, before all that are left at once."""


def between_pixels(heat: Enlarged, keypoint: Indices, index: Indices) -> Floats:
    """Points a quarter of a pixel from the pixel's centre towards the higher neighbour on each axis.

    Args:
        heat: heatmaps of one image.
        keypoint: (N,) which heatmap.
        index: (N,) y * w + x of the pixel.

    Returns:
        (N, 2) x, y in corner coordinates of the map; the centre where both neighbours are equal, so that a mirrored
        map gives the mirrored answer.
    """
    _, height, width = heat.shape
    y, x = np.divmod(index, width)
    points = np.stack([x + 0.5, y + 0.5], axis=-1).astype(np.float32)
    steps = np.array([-1, 1])
    rows = np.concatenate([np.stack([y, y], axis=-1), np.clip(y[:, None] + steps, 0, height - 1)], axis=1)
    columns = np.concatenate([np.clip(x[:, None] + steps, 0, width - 1), np.stack([x, x], axis=-1)], axis=1)
    beside = heat.at(keypoint[:, None], rows, columns)
    before, after = beside[:, ::2], beside[:, 1::2]
    shift = np.where(after > before, np.float32(0.25), np.float32(-0.25))
    shift[after == before] = 0
    points += shift
    return points


def best_for_tags(heat: Enlarged, tags: Enlarged, keypoint: Indices, means_NT: Floats) -> Indices:
    """The pixels where heatmap minus rounded tag distance is highest, the first one among equals.

    The result equals an exhaustive search. Of each block of pixels it is known how high heatmap and difference may be:
    among the blocks of the highest heat the most promising one is searched, and then the next, until none may hold
    anything higher, or as high and earlier. Only those whose best does not exceed the heat of all other blocks go on.

    Args:
        heat: heatmaps of one image.
        tags: K * T maps of the same size as enlarged, those of keypoint k at k * T.
        keypoint: (N,) which heatmap.
        means_NT: the mean tags of the people that lack it.

    Returns:
        (N,) y * w + x.
    """
    kinds, kind = np.unique(keypoint, return_inverse=True)
    search = _Search(heat, tags, keypoint, means_NT)
    if not len(kinds):
        return search.index
    numbers = (kinds[:, None] * means_NT.shape[1] + np.arange(means_NT.shape[1])).reshape(-1)
    highest = heat.highest_of_blocks(kinds).reshape(len(kinds), -1)
    least, most = (
        np.moveaxis(bound.reshape(len(kinds), means_NT.shape[1], -1), 1, 0)
        for bound in (tags.lowest_of_blocks(numbers), tags.highest_of_blocks(numbers))
    )
    order, floors = _by_heat(highest)
    for k in np.flatnonzero(np.bincount(kind) >= _MANY):
        which, done = np.flatnonzero(kind == k), 0
        for band, floor in zip(_BANDS[:-1], floors, strict=False):
            search.in_all(which, order[k, done:band])
            which, done = which[search.value[which] <= floor[k]], band
    left, done = np.flatnonzero(search.value <= floors[-3][kind]), 0
    for count, floor in zip((_BANDS[-1], highest.shape[1]), floors[-2:], strict=True):
        step = max(1, _CHUNK // max(1, count - done))
        for start in range(0, len(left) if count > done else 0, step):
            part = left[start : start + step]
            of, block = kind[part, None], order[kind[part], done:count]
            means = means_NT[part].T[:, :, None]
            apart = [
                np.maximum(np.maximum(low[of, block] - mean, mean - high[of, block]), 0)
                for low, high, mean in zip(least, most, means, strict=True)
            ]
            search.among(part, block, highest[of, block] - np.rint(_length(apart)))
        left, done = left[search.value[left] <= floor[kind[left]]], max(done, count)
    return search.index


def _by_heat(highest_KB: Floats) -> tuple[Indices, list[Floats]]:
    """Blocks, those of the first bands by falling heat; and what bounds the blocks beyond each band, (K,) each."""
    blocks = highest_KB.shape[1]
    last = min(_BANDS[-1], blocks - 1)
    order = np.argpartition(-highest_KB, last, axis=1)
    first = order[:, :last]
    rows = np.arange(len(order))[:, None]
    order[:, :last] = first[rows, np.argsort(-highest_KB[rows, first], axis=1, kind="stable")]
    beyond = [highest_KB[rows[:, 0], order[:, min(band, last)]] for band in _BANDS]
    return order, [*beyond, np.full(len(order), -np.inf, np.float32)]


class _Search:
    """The best pixel so far of each of N keypoints that are looked for."""

    def __init__(self, heat: Enlarged, tags: Enlarged, keypoint: Indices, means_NT: Floats) -> None:
        self.heat, self.tags, self.keypoint, self.means_NT = heat, tags, keypoint, means_NT
        self.across = -(-(heat.shape[2] + MARGIN) // BLOCK)
        self.value = np.full(len(keypoint), -np.inf, np.float32)
        self.index = np.zeros(len(keypoint), np.int64)

    def in_all(self, which: Indices, block: Indices) -> None:
        """Search all of some blocks for several keypoints of one kind."""
        if not len(which) or not len(block):
            return
        k = self.keypoint[which[:1]]
        y, x = self._pixels(block)
        score = self.heat.at(k[:, None, None], y[:, :, None], x[:, None]).reshape(-1)
        y, x = (np.broadcast_to(at, (len(block), BLOCK, BLOCK)).reshape(-1) for at in (y[:, :, None], x[:, None]))
        order = np.argsort(y * self.heat.shape[2] + x, kind="stable")  # argmax takes the first
        score, y, x = score[order], y[order], x[order]
        dimensions = self.means_NT.shape[1]
        tags = self.tags.at(k * dimensions + np.arange(dimensions)[:, None], y, x)
        means = self.means_NT[which].T[:, :, None]
        value = score - np.rint(_length([tag - mean for tag, mean in zip(tags, means, strict=True)]))
        best = value.argmax(axis=1)
        self._keep(which, value[np.arange(len(best)), best], (y * self.heat.shape[2] + x)[best])

    def among(self, which: Indices, block_PB: Indices, bound_PB: Floats) -> None:
        """Search for P of the keypoints among B blocks each, in which nothing is higher than their bounds."""
        row = np.arange(len(which))
        for _ in range(_ROUNDS):
            bound = bound_PB[row]
            best = bound.argmax(axis=1)
            hopeful = bound[np.arange(len(row)), best] > self.value[which[row]]
            row, best = row[hopeful], best[hopeful]
            if not len(row):
                break
            self._look(which[row], block_PB[row, best])
            bound_PB[row, best] = -np.inf
        some, other = np.nonzero(bound_PB[row] > self.value[which[row], None])
        self._look(which[row[some]], block_PB[row[some], other])
        bound_PB[row[some], other] = -np.inf
        for tied in np.flatnonzero((bound_PB == self.value[which, None]).any(axis=1)):
            one = int(which[tied])
            self._earliest(one, block_PB[tied, bound_PB[tied] == self.value[one]])

    def _earliest(self, one: int, blocks: Indices) -> None:
        """Search blocks that hold nothing higher, until no later one can hold as much earlier."""
        rows = blocks // self.across
        for row in np.unique(rows):
            if row * BLOCK - MARGIN > self.index[one] // self.heat.shape[2]:
                return
            here = blocks[rows == row]
            self._look(np.full(len(here), one), here)

    def _look(self, which: Indices, block: Indices) -> None:
        """Search blocks, each for one of the keypoints."""
        if not len(which):
            return
        width = self.heat.shape[2]
        y, x = self._pixels(block)
        score = self.heat.at(self.keypoint[which][:, None, None], y[:, :, None], x[:, None])
        one, row, column = np.nonzero(score >= self.value[which][:, None, None])
        if not len(one):
            return
        score, y, x, which = score[one, row, column], y[one, row], x[one, column], which[one]
        dimensions = self.means_NT.shape[1]
        numbers = self.keypoint[which][:, None] * dimensions + np.arange(dimensions)
        apart = self.tags.at(numbers, y[:, None], x[:, None]) - self.means_NT[which]
        value = score - np.rint(_length(list(apart.T)))
        index = y * width + x
        order = np.lexsort((index, -value, which))
        order = order[np.flatnonzero(np.diff(which[order], prepend=-1))]
        self._keep(which[order], value[order], index[order])

    def _keep(self, which: Indices, value: Floats, index: Indices) -> None:
        """Hold one pixel each for different keypoints, where it is better than what is held."""
        held = self.value[which]
        better = (value > held) | ((value == held) & (index < self.index[which]))
        self.value[which[better]], self.index[which[better]] = value[better], index[better]

    def _pixels(self, block: Indices) -> tuple[Indices, Indices]:
        """Rows and columns of blocks, (B, BLOCK) each."""
        _, height, width = self.heat.shape
        steps = np.arange(BLOCK) - MARGIN
        down, across = np.divmod(block, self.across)
        rows, columns = down[:, None] * BLOCK + steps, across[:, None] * BLOCK + steps
        return np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)


def _length(apart: Sequence[Floats]) -> Floats:
    """Euclidean length of vectors given by dimension."""
    if len(apart) == 1:
        return np.abs(apart[0])
    total = np.square(apart[0])
    for one in apart[1:]:
        total += np.square(one)
    return np.sqrt(total, out=total)
