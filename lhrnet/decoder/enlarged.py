"""Small maps read as if they were enlarged: bilinear, edges on edges, only at the pixels that are asked for.

A pixel of the enlarged map is a mean of four samples with weights that are small multiples of a power of two. In double
precision such a sum is exact, so its value, rounded once, is the same number wherever and however it is computed: for
one pixel, for the whole map, in the browser, and in a mirrored image. And it lies between the least and the greatest of
its four samples, so a pixel can be ruled out by its samples.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]
FACTORS = (1, 2, 4)
"""How many times as long and wide a map may be read."""
BLOCK = 4
"""Side of the blocks of pixels whose bounds `highest_of_blocks` gives; the first one begins at pixel `-MARGIN`."""
_NEIGHBOURS, _SQUARE = np.array([1, 0, 1], np.uint8), np.ones((3, 3), np.uint8)
MARGIN = 2
"""So the samples of a map read at four times its size lie on the blocks' corners."""


@dataclass(frozen=True)
class Enlarged:
    """Maps read at `factor` times their height and width."""

    small: Floats
    """(N, h, w), contiguous."""
    factor: int = 1
    """One of `FACTORS`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, H, W) as enlarged."""
        maps, height, width = self.small.shape
        return maps, height * self.factor, width * self.factor

    def at(self, number: Indices, y: Indices, x: Indices) -> Floats:
        """Values at pixels y, x of maps `number`; the three are broadcast."""
        _, height, width = self.small.shape
        if self.factor == 1:
            values: Floats = self.small.reshape(-1)[(number * height + y) * width + x]
            return values
        top, bottom, down = self._between(y, height)
        left, right, across = self._between(x, width)
        flat, start = self.small.reshape(-1), number * height
        upper, lower = (start + top) * width, (start + bottom) * width
        high = _mean(flat[upper + left], flat[upper + right], across)
        low = _mean(flat[lower + left], flat[lower + right], across)
        return _mean(high, low, down).astype(np.float32)

    def whole(self, number: int) -> Floats:
        """One map (H, W), every pixel of it."""
        small = self.small[number]
        if self.factor == 1:
            return np.asarray(small)
        large = cv2.resize(small.astype(np.float64), self.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(large, np.float32)

    def around(self, sample: Indices) -> list[list[Floats]]:
        """The pixels nearest to samples, and those around these.

        Args:
            sample: (S,) indices of the flattened small maps.

        Returns:
            factor + 2 rows of factor + 2 pixels, each (S,) values: pixel [1 + i][1 + j] is i, j of the sample's own
            factor x factor pixels. Beyond an edge the values of the edge are repeated.
        """
        _, height, width = self.small.shape
        rest, x = np.divmod(sample, width)
        y = rest % height
        flat = self.small.reshape(-1)
        columns = (sample - (x > 0), sample, sample + (x < width - 1))
        steps = (-width * (y > 0), np.zeros_like(y), width * (y < height - 1))
        near = [[flat[column + step] for column in columns] for step in steps]
        if self.factor == 1:
            return near
        offsets = (np.arange(-1, self.factor + 1) + 0.5) / self.factor - 0.5
        first = np.floor(offsets).astype(int) + 1
        taps = [(one, weight) for one, weight in zip(first, offsets + 1 - first, strict=True)]
        wide = [[_mean(row[one], row[one + 1], weight) for one, weight in taps] for row in near]
        return [
            [_mean(wide[one][j], wide[one + 1][j], weight).astype(np.float32) for j in range(len(taps))]
            for one, weight in taps
        ]

    def highest_of_blocks(self, numbers: Indices) -> Floats:
        """No pixel of a block is above these: (len(numbers), blocks down, blocks across)."""
        return self._of_blocks([_highest_nearby(self.small[n]) if self.factor == 2 else self.small[n] for n in numbers])

    def lowest_of_blocks(self, numbers: Indices) -> Floats:
        """No pixel of a block is below these."""
        return -self._of_blocks(
            [_highest_nearby(-self.small[n]) if self.factor == 2 else -self.small[n] for n in numbers]
        )

    def _of_blocks(self, bounds: list[Floats]) -> Floats:
        """The highest of each block, given what bounds the pixels nearest to each sample, or those between samples."""
        stride, before = max(BLOCK // self.factor, 1), max(MARGIN // self.factor, 1)
        window = np.ones((max(stride, 2),) * 2, np.uint8)
        down, across = (-(-(side + MARGIN) // BLOCK) for side in self.shape[1:])
        blocks = np.empty((len(bounds), down, across), np.float32)
        for bound, block in zip(bounds, blocks, strict=True):
            padded = cv2.copyMakeBorder(bound, 0, stride, 0, stride, cv2.BORDER_REPLICATE)
            block[:] = cv2.dilate(padded, window, anchor=(before, before))[
                : down * stride : stride, : across * stride : stride
            ]
        return blocks

    def _between(self, pixel: Indices, length: int) -> tuple[Indices, Indices, NDArray[np.float64]]:
        """The two samples that each pixel lies between, and the second one's weight."""
        place = np.maximum((pixel + 0.5) / self.factor - 0.5, 0)
        first = place.astype(np.int64)
        return first, np.minimum(first + 1, length - 1), place - first


def _highest_nearby(small: Floats) -> Floats:
    """No pixel whose nearest sample this is is above these (h, w), in a map read at twice its size.

    Such a pixel is on each axis three quarters of its nearest sample and a quarter of a neighbour.
    """
    bound = small
    for shape in ((3, 1), (1, 3)):
        beside = cv2.dilate(bound, _NEIGHBOURS.reshape(shape), borderType=cv2.BORDER_REPLICATE)
        bound = cv2.addWeighted(bound, 0.75, beside, 0.25, 0)
    size = cv2.dilate(np.abs(small), _SQUARE)
    return np.asarray(cv2.scaleAdd(size, 2**-21, bound))  # these sums are rounded where the pixels' are exact


def factor_of(small: tuple[int, ...], size: tuple[int, ...]) -> int | None:
    """How many times `small` (height, width) is `size`; None if that is none of `FACTORS`."""
    return next((n for n in FACTORS if tuple(side * n for side in small) == tuple(size)), None)


def _mean(
    one: NDArray[np.floating], other: NDArray[np.floating], weight: NDArray[np.float64] | float
) -> NDArray[np.float64]:
    """One and the other, which has this weight, in double precision."""
    return one * (1 - np.float64(weight)) + other * np.float64(weight)
