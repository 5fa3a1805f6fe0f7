"""Peaks to people: keypoint after keypoint, each peak joins the person whose mean tag is nearest, or starts one."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from lhrnet.coco import GROUPING_ORDER
from lhrnet.decoder.munkres import first_optimum
from lhrnet.decoder.peaks import Peaks

Overflow = Literal["grow", "drop", "stop"]
Ties = Literal["first", "any"]
_NOBODY = 1e10
"""Cost of starting a person where there are more peaks than people (the reference code's number)."""


class _Groups:
    """People in the making: which peak each keypoint of each person is, and their running mean tags."""

    def __init__(self, peaks: Peaks, share_equal_tags: bool) -> None:
        capacity = len(peaks.index)
        self.peaks = peaks
        self.peak_PK = np.full((capacity, len(peaks.start) - 1), -1)
        self.sums = np.zeros((capacity, peaks.tag.shape[1]), dtype=np.float32)
        self.members = np.zeros(capacity, dtype=np.int64)
        self.count = 0
        self.by_tag: dict[float, int] | None = {} if share_equal_tags else None

    def start(self, keypoint: int, peaks: NDArray[np.int64]) -> None:
        """Each peak starts a person of its own (or takes over the person with the very same tag)."""
        if self.by_tag is None:
            people = np.arange(self.count, self.count + len(peaks))
            self.count += len(peaks)
        else:
            people = np.empty(len(peaks), dtype=np.int64)
            for i, tag in enumerate(self.peaks.tag[peaks, 0].tolist()):
                people[i] = self.by_tag.setdefault(tag, self.count)
                self.count += int(people[i] == self.count)
        self.peak_PK[people, keypoint] = peaks
        self.sums[people] = self.peaks.tag[peaks]
        self.members[people] = 1

    def join(self, keypoint: int, people: NDArray[np.int64], peaks: NDArray[np.int64]) -> None:
        self.peak_PK[people, keypoint] = peaks
        self.sums[people] += self.peaks.tag[peaks]
        self.members[people] += 1


def assign(
    peaks: Peaks,
    *,
    tag_threshold: float,
    max_people: int,
    use_detection_val: bool,
    round_distance: bool,
    share_equal_tags: bool,
    overflow: Overflow,
    ties: Ties,
) -> NDArray[np.int64]:
    """Group peaks into people (associative embedding, Newell et al. 2017).

    Args:
        peaks: of one image, 17 keypoints.
        tag_threshold: a peak joins a person only when its tag is nearer than this to the person's mean tag.
        max_people: peaks join the first so many people only.
        use_detection_val: cost = tag distance * 100 - score, else the tag distance alone.
        round_distance: round the distance in that cost to whole numbers, so that near people are told apart by score.
        share_equal_tags: a person is known by its first peak's tag, so that a peak of the very same tag takes it over.
        overflow: beyond `max_people`, "grow": go on starting people, "drop": start no more, "stop": keypoints visited
            from then on are left out altogether.
        ties: which of equally cheap assignments, "first": the one munkres finds, "any": the one scipy finds.

    Returns:
        (P, 17) which peak is whose keypoint, -1 for none; people in the order in which they were started.
    """
    groups = _Groups(peaks, share_equal_tags)
    for keypoint in GROUPING_ORDER:
        first, last = peaks.start[keypoint], peaks.start[keypoint + 1]
        if first == last:
            continue
        known = min(groups.count, max_people)
        if overflow == "stop" and known == max_people:
            continue
        if not known:
            groups.start(keypoint, np.arange(first, last))
            continue
        means = groups.sums[:known] / groups.members[:known, None].astype(np.float32)
        apart = peaks.tag[first:last, None].astype(np.float64) - means
        distance = np.sqrt((apart * apart).sum(axis=2))
        cost = distance
        if use_detection_val:
            cost = (np.rint(distance) if round_distance else distance) * 100 - peaks.score[first:last, None]
        rows, people = _solve(cost, ties)
        near = distance[rows, people] < tag_threshold
        lonely = np.ones(last - first, dtype=bool)
        lonely[rows[near]] = False
        groups.join(keypoint, people[near], first + rows[near])
        new = first + np.flatnonzero(lonely)
        if overflow == "drop":
            new = new[: max(0, max_people - groups.count)]
        groups.start(keypoint, new)
    return groups.peak_PK[: groups.count]


def _solve(cost: NDArray[np.float64], ties: Ties) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the cheapest pairs, min(rows, columns) of them, by rising row."""
    if ties == "any":
        rows, columns = linear_sum_assignment(cost)
        return rows, columns
    peaks, people = cost.shape
    if peaks > people:
        cost = np.concatenate([cost, np.full((peaks, peaks - people), _NOBODY)], axis=1)
    chosen = first_optimum(cost)
    rows = np.flatnonzero(chosen < people)
    return rows, chosen[rows]
