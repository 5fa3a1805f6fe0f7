"""Local maxima of each keypoint's heatmap, with their tags."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lhrnet.decoder.enlarged import Enlarged, Floats

_CROWDED = 0.15
"""Share of a map's samples near the threshold or above it from which looking at every pixel is faster."""


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """Peaks of one image, sorted by keypoint, then by descending height."""

    index: NDArray[np.int64]
    """(N,) y * w + x of the peak's pixel."""
    score: Floats
    """(N,) height."""
    tag: Floats
    """(N, T) tags at the peak's pixel."""
    start: NDArray[np.int64]
    """(K + 1,) keypoint k's peaks are start[k] to start[k + 1]."""

    @property
    def keypoint(self) -> NDArray[np.int64]:
        """(N,) which keypoint each peak is of."""
        return np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))


def find_peaks(heat: Enlarged, tags: Enlarged, *, kernel: int, threshold: float, count: int) -> Peaks:
    """Non-maximum suppression and the best `count` of each keypoint.

    Of pixels of equal height side by side (a plateau) one is a peak, the first; none if the plateau is larger than the
    window.

    Args:
        heat: heatmaps of one image, finite.
        tags: K * T maps of the same size as enlarged, those of keypoint k at k * T.
        kernel: odd side of the window in which a peak must be the highest.
        threshold: a peak must be higher than this.
        count: maximum peaks per keypoint.
    """
    keypoints, height, width = heat.shape
    flat = _highest_in_window(heat, kernel, threshold)
    is_peak = np.zeros(heat.shape, dtype=bool)
    is_peak.reshape(-1)[flat] = True
    flat = _one_a_plateau(flat, is_peak, kernel)
    keypoint, index = np.divmod(flat, height * width)
    score = heat.at(keypoint, *np.divmod(index, width))
    order = np.lexsort((-score, keypoint))
    start = np.searchsorted(keypoint, np.arange(keypoints + 1))
    order = order[np.arange(len(flat)) - start[keypoint] < count]
    return Peaks(
        index=index[order],
        score=score[order],
        tag=tags_at(tags, keypoints, keypoint[order], index[order]),
        start=np.concatenate([[0], np.cumsum(np.minimum(np.diff(start), count))]),
    )


def tags_at(tags: Enlarged, keypoints: int, keypoint_N: NDArray[np.int64], index_N: NDArray[np.int64]) -> Floats:
    """(N, T) tags of these keypoints, of which there are so many, at pixels y * w + x."""
    y, x = np.divmod(index_N, tags.shape[2])
    dimensions = len(tags.small) // keypoints
    return tags.at(keypoint_N[:, None] * dimensions + np.arange(dimensions), y[:, None], x[:, None])


def _highest_in_window(heat: Enlarged, kernel: int, threshold: float) -> NDArray[np.int64]:
    """Indices of the pixels above the threshold that no pixel in their window exceeds, in rising order."""
    samples = heat.small.shape[1] * heat.small.shape[2]
    near = (heat.small > threshold).view(np.uint8)
    if heat.factor > 1:  # a pixel is no higher than the samples around it, one of which is its nearest
        near = np.stack([cv2.dilate(map_hw, np.ones((3, 3), np.uint8)) for map_hw in near])
    active = np.flatnonzero(near.view(bool))
    number = active // samples
    crowded = np.bincount(number, minlength=len(near)) > _CROWDED * samples
    found = [_sparse(heat, active[~crowded[number]], kernel, threshold)]
    for k in np.flatnonzero(crowded).tolist():
        map_hw = heat.whole(k)
        highest = cv2.dilate(map_hw, np.ones((kernel, kernel), np.uint8))
        found.append(k * map_hw.size + np.flatnonzero((map_hw == highest) & (map_hw > threshold)))
    return np.sort(np.concatenate(found))


def _sparse(heat: Enlarged, sample: NDArray[np.int64], kernel: int, threshold: float) -> NDArray[np.int64]:
    """`_highest_in_window` among the pixels nearest to these samples of the small maps."""
    factor, (_, height, width) = heat.factor, heat.shape
    rows = heat.around(sample)
    inner = range(1, factor + 1)
    wide = [[np.maximum(np.maximum(row[j - 1], row[j]), row[j + 1]) for j in inner] for row in rows]
    found = []
    for i in inner:
        for j in inner:
            value = rows[i][j]
            highest = np.maximum(np.maximum(wide[i - 1][j - 1], wide[i][j - 1]), wide[i + 1][j - 1])
            chosen = sample[(value >= highest) & (value > threshold)]
            rest, x = np.divmod(chosen, width // factor)
            found.append((rest * factor + i - 1) * width + x * factor + j - 1)
    flat = np.concatenate(found)
    rest, x = np.divmod(flat, width)
    number, y = np.divmod(rest, height)
    steps = np.arange(kernel) - kernel // 2
    rows_NS = np.clip(y[:, None] + steps, 0, height - 1)
    columns_NS = np.clip(x[:, None] + steps, 0, width - 1)
    window = heat.at(number[:, None, None], rows_NS[:, :, None], columns_NS[:, None])
    return flat[window.max(axis=(1, 2)) <= heat.at(number, y, x)] if len(flat) else flat


def _one_a_plateau(flat: NDArray[np.int64], is_peak_Khw: NDArray[np.bool_], kernel: int) -> NDArray[np.int64]:
    """The first peak of each plateau (eight neighbours), and none of plateaus larger than the window."""
    keypoints, _, width = is_peak_Khw.shape
    keypoint, y, x = np.unravel_index(flat, is_peak_Khw.shape)

    def beside(dy: int, dx: int) -> NDArray[np.bool_]:
        inside = (y + dy >= 0) & (x + dx >= 0) & (x + dx < width)
        peak = np.zeros(len(flat), dtype=bool)
        peak[inside] = is_peak_Khw[keypoint[inside], y[inside] + dy, x[inside] + dx]
        return peak

    west, north_west, north, north_east = beside(0, -1), beside(-1, -1), beside(-1, 0), beside(-1, 1)
    touches = west | north_west | north | north_east
    keep = ~touches
    # Without a pixel that joins two plateaus from above, each has just one that touches none before it.
    joins = north_east & (west | north_west) & ~north
    large = np.bincount(keypoint[touches], minlength=keypoints) >= kernel * kernel
    for k in np.flatnonzero(large | (np.bincount(keypoint[joins], minlength=keypoints) > 0)):
        _, labels, stats, _ = cv2.connectedComponentsWithStats(is_peak_Khw[k].astype(np.uint8), connectivity=8)
        mine = keypoint == k
        plateau = labels[y[mine], x[mine]]
        first = np.zeros(len(plateau), dtype=bool)
        first[np.unique(plateau, return_index=True)[1]] = True
        keep[mine] = first & (stats[plateau, cv2.CC_STAT_AREA] <= kernel * kernel)
    return flat[keep]
