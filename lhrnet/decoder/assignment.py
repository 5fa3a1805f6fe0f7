"""Greedy grouping by tags: for each keypoint in turn, peaks are matched to people by mean tag, or start new people."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lhrnet.decoder.munkres import first_optimum
from lhrnet.decoder.peaks import Peaks

_NOBODY = 1e10
"""Cost of starting a person where there are more peaks than people (the reference code's number)."""


class _Groups:
    """The groups so far: the peak of each person's keypoints, and their running mean tags."""

    def __init__(self, peaks: Peaks) -> None:
        capacity = len(peaks.index)
        self.peaks = peaks
        self.peak_PK = np.full((capacity, len(peaks.start) - 1), -1)
        self.sums = np.zeros((capacity, peaks.tag.shape[1]), dtype=np.float32)
        self.members = np.zeros(capacity, dtype=np.int64)
        self.count = 0

    def start(self, keypoint: int, peaks: NDArray[np.int64]) -> None:
        """Each peak starts a person of its own."""
        people = np.arange(self.count, self.count + len(peaks))
        self.count += len(peaks)
        self.join(keypoint, people, peaks)

    def join(self, keypoint: int, people: NDArray[np.int64], peaks: NDArray[np.int64]) -> None:
        self.peak_PK[people, keypoint] = peaks
        self.sums[people] += self.peaks.tag[peaks]
        self.members[people] += 1


def assign(peaks: Peaks, order: Sequence[int], *, tag_threshold: float, max_people: int) -> NDArray[np.int64]:
    """Group peaks into people (associative embedding, Newell et al. 2017).

    The cost of matching a peak with a person is 100 times the tag distance, rounded to whole numbers so that scores
    decide between similar tags, minus the peak's score.

    Args:
        peaks: of one image, K keypoints.
        order: the K keypoints as they are visited.
        tag_threshold: a peak joins a person only when its tag is nearer than this to the person's mean tag.
        max_people: peaks join the first `max_people` people only; any others are started and never joined.

    Returns:
        (P, K) which peak is whose keypoint, -1 for none; people in the order in which they were started.
    """
    groups = _Groups(peaks)
    for keypoint in order:
        first, last = peaks.start[keypoint], peaks.start[keypoint + 1]
        if first == last:
            continue
        known = min(groups.count, max_people)
        if not known:
            groups.start(keypoint, np.arange(first, last))
            continue
        means = groups.sums[:known] / groups.members[:known, None].astype(np.float32)
        apart = peaks.tag[first:last, None].astype(np.float64) - means
        distance = np.sqrt((apart * apart).sum(axis=2))
        rows, people = _solve(np.rint(distance) * 100 - peaks.score[first:last, None])
        near = distance[rows, people] < tag_threshold
        lonely = np.ones(last - first, dtype=bool)
        lonely[rows[near]] = False
        groups.join(keypoint, people[near], first + rows[near])
        groups.start(keypoint, first + np.flatnonzero(lonely))
    return groups.peak_PK[: groups.count]


def _solve(cost: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the cheapest pairs, min(rows, columns) of them, by rising row."""
    peaks, people = cost.shape
    if peaks > people:
        cost = np.concatenate([cost, np.full((peaks, peaks - people), _NOBODY)], axis=1)
    chosen = first_optimum(cost)
    rows = np.flatnonzero(chosen < people)
    return rows, chosen[rows]
