"""Local maxima of each keypoint's heatmap, with their tags."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


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


def find_peaks(heat_Khw: Floats, tags_KhwT: Floats, *, kernel: int, threshold: float, count: int) -> Peaks:
    """Non-maximum suppression and the best `count` of each keypoint.

    Of pixels of equal height side by side (a plateau) one is a peak, the first; none if the plateau is larger than the
    window.

    Args:
        heat_Khw: heatmaps of one image, finite, contiguous.
        tags_KhwT: tags of the same size.
        kernel: odd side of the window in which a peak must be the highest.
        threshold: a peak must be higher than this.
        count: maximum peaks per keypoint.
    """
    keypoints, height, width = heat_Khw.shape
    window = np.ones((kernel, kernel), dtype=np.uint8)
    highest = np.empty_like(heat_Khw)
    for heat_hw, highest_hw in zip(heat_Khw, highest, strict=True):
        cv2.dilate(heat_hw, window, dst=highest_hw)
    is_peak = (heat_Khw == highest) & (heat_Khw > threshold)
    flat = _one_a_plateau(np.flatnonzero(is_peak), is_peak, kernel)
    score = heat_Khw.reshape(-1)[flat]
    keypoint = flat // (height * width)
    order = np.lexsort((-score, keypoint))
    start = np.searchsorted(keypoint, np.arange(keypoints + 1))
    order = order[np.arange(len(flat)) - start[keypoint] < count]
    keypoint, index = keypoint[order], flat[order] % (height * width)
    return Peaks(
        index=index,
        score=score[order],
        tag=tags_KhwT[keypoint, index // width, index % width],
        start=np.concatenate([[0], np.cumsum(np.minimum(np.diff(start), count))]),
    )


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
