"""Sub-pixel positions of peaks, and positions of keypoints for which no peak was found."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from lhrnet.decoder.peaks import Floats

_HIGH = 0.1
"""Pixels above this height are searched first."""
_STEP = 7
"""Stride of the sample of pixels from which the second floor is estimated."""


def between_pixels(heat_Khw: Floats, keypoint: NDArray[np.int64], index: NDArray[np.int64]) -> NDArray[np.float32]:
    """Points a quarter of a pixel from the pixel's centre towards the higher neighbour on each axis.

    Args:
        heat_Khw: heatmaps of one image.
        keypoint: (N,) which heatmap.
        index: (N,) y * w + x of the pixel.

    Returns:
        (N, 2) x, y in corner coordinates of the map; the centre where both neighbours are equal, so that a mirrored
        map gives the mirrored answer.
    """
    _, height, width = heat_Khw.shape
    y, x = np.divmod(index, width)
    points = np.stack([x + 0.5, y + 0.5], axis=-1).astype(np.float32)
    left, right = heat_Khw[keypoint, y, np.maximum(x - 1, 0)], heat_Khw[keypoint, y, np.minimum(x + 1, width - 1)]
    up, down = heat_Khw[keypoint, np.maximum(y - 1, 0), x], heat_Khw[keypoint, np.minimum(y + 1, height - 1), x]
    before, after = np.stack([left, up], axis=-1), np.stack([right, down], axis=-1)
    shift = np.where(after > before, np.float32(0.25), np.float32(-0.25))
    shift[after == before] = 0
    points += shift
    return points


def best_for_tags(heat_hw: Floats, tags_hwT: Floats, means_PT: Floats) -> NDArray[np.int64]:
    """For each person the pixel where heatmap minus rounded tag distance is highest, the first one among equals.

    The result equals an exhaustive search. To save time pixels are searched in bands: first those above `_HIGH`, then
    those above about the 98th percentile of the rest, for people whom the first band gave no value above its floor,
    then all; there, further tag dimensions are computed only where the first one leaves a pixel in the running.

    Args:
        heat_hw: one keypoint's heatmap.
        tags_hwT: its tags.
        means_PT: the people's mean tags.

    Returns:
        (P,) y * w + x.
    """
    heat = heat_hw.reshape(-1)
    tags_TN = [tags_hwT[..., t].reshape(-1) for t in range(tags_hwT.shape[2])]
    best = np.zeros(len(means_PT), dtype=np.int64)
    value = np.full(len(means_PT), -np.inf, dtype=np.float32)
    left, ceiling = np.arange(len(means_PT)), np.inf
    for floor in _floors(heat):
        band = np.flatnonzero((heat > floor) & (heat <= ceiling))
        ceiling = floor
        if len(band):
            values = heat[band] - np.rint(_distance([tag[band] for tag in tags_TN], means_PT[left].T[:, :, None]))
            top = values.argmax(axis=1)
            index, height = band[top], values[np.arange(len(top)), top]
            better = (height > value[left]) | ((height == value[left]) & (index < best[left]))
            best[left[better]], value[left[better]] = index[better], height[better]
            left = left[value[left] <= floor]
        if not len(left):
            return best
    room = np.empty_like(heat)
    for person in left:
        best[person] = _best_pixel(heat, tags_TN, means_PT[person], room)
    return best


def _floors(heat_N: Floats) -> Iterator[float]:
    """`_HIGH`, then a height that about 2 % of the pixels below it exceed."""
    yield _HIGH
    sample = heat_N[::_STEP]
    sample = sample[sample <= _HIGH]
    if len(sample):
        few = -1 - len(sample) // 50
        yield float(np.partition(sample, few)[few])


def _best_pixel(heat_N: Floats, tags_TN: list[Floats], mean_T: Floats, room_N: Floats) -> int:
    """`best_for_tags` for one person over all pixels; `room_N` is scratch memory."""
    bound = np.subtract(tags_TN[0], mean_T[0], out=room_N)
    np.rint(np.abs(bound, out=bound), out=bound)
    np.subtract(heat_N, bound, out=bound)
    best = int(bound.argmax())
    if len(tags_TN) == 1:
        return best
    reached = heat_N[best] - np.rint(_distance([tag[best, None] for tag in tags_TN], mean_T))
    worth = np.flatnonzero(bound >= reached)
    return int(worth[(heat_N[worth] - np.rint(_distance([tag[worth] for tag in tags_TN], mean_T))).argmax()])


def _distance(tags: Sequence[Floats], means: Sequence[Floats] | Floats) -> Floats:
    """Euclidean distance of tags to means, broadcast; one array per tag dimension."""
    total: Floats = tags[0] - means[0]
    if len(tags) == 1:
        return np.abs(total, out=total)
    np.square(total, out=total)
    for tag, mean in zip(tags[1:], means[1:], strict=True):
        apart = tag - mean
        total += np.square(apart, out=apart)
    return np.sqrt(total, out=total)
