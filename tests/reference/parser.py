"""HigherHRNet's parser of maps, written plainly, with every quirk of its code as a setting.

Golden vectors made by the reference code hold this parser to it, and `lhrnet.decoder.grouping` is held to this parser
with the quirks left out. It looks at every pixel for every person and is slow.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from lhrnet.coco import GROUPING_ORDER, K
from lhrnet.decoder.grouping import Groups
from lhrnet.decoder.munkres import first_optimum

Floats = NDArray[np.float32]
NOBODY = 1e10
"""Cost of starting a person where there are more peaks than people (the reference code's number)."""


@dataclass(frozen=True, kw_only=True)
class Parser:
    """What to parse by. The defaults are the reference code's."""

    max_people: int = 30
    order: tuple[int, ...] = GROUPING_ORDER
    detection_threshold: float = 0.1
    tag_threshold: float = 1.0
    nms_kernel: int = 5
    merge_plateaus: bool = False
    """One peak for pixels of equal height side by side, none for a plateau larger than the window."""
    use_detection_val: bool = True
    """The score of a peak takes part in the assignment's cost, beside the tag distance."""
    round_distance: bool = True
    """Round the tag distance in that cost to whole numbers."""
    share_equal_tags: bool = True
    """A peak that starts a person takes over the one whose first tag is exactly equal."""
    overflow: Literal["grow", "drop", "stop"] = "grow"
    """Beyond `max_people`: start people that nothing can join, start none, or leave out the keypoints visited from then
    on (the reference code's ignore_too_much)."""
    ties: Literal["munkres", "scipy"] = "munkres"
    """Whose choice among equally cheap assignments."""
    adjust: Literal["none", "quarter", "quarter-left", "parabola"] = "quarter-left"
    """Where between pixels a keypoint lies: a quarter towards the higher neighbour ("-left": also towards zero where
    both are equal), or at the top of the parabola through three pixels."""
    refine: bool = True
    """Give every person its missing keypoints."""
    score_after_refine: bool = False
    """A person's score is the mean of the 17 keypoints' scores, before or after missing ones are filled in."""

    def __call__(self, heat_Khw: Floats, tags_KhwT: Floats) -> Groups:
        """The people of one image, in the order in which they were started."""
        people = self._people(heat_Khw, tags_KhwT)
        keypoints = np.zeros((len(people), K, 3), np.float32)
        tags = np.zeros((len(people), tags_KhwT.shape[3]), np.float32)
        for p, person in enumerate(people):
            for k, (y, x) in person.pixels.items():
                keypoints[p, k] = *self._point(heat_Khw[k], y, x), heat_Khw[k, y, x]
            found = [tags_KhwT[k, y, x] for k, (y, x) in sorted(person.pixels.items())]
            tags[p] = np.sum(found, axis=0, dtype=np.float32) / np.float32(len(found))
        scores = keypoints[:, :, 2].mean(axis=1)
        if self.refine:
            for p, k in np.argwhere(keypoints[:, :, 2] <= 0):
                distance = ((tags_KhwT[k] - tags[p]) ** 2).sum(axis=2) ** 0.5
                y, x = np.unravel_index((heat_Khw[k] - np.round(distance)).argmax(), heat_Khw[k].shape)
                if heat_Khw[k, y, x] > 0:
                    keypoints[p, k] = *self._point(heat_Khw[k], int(y), int(x)), heat_Khw[k, y, x]
        if self.score_after_refine:
            scores = keypoints[:, :, 2].mean(axis=1)
        return Groups(keypoints=keypoints, tags=tags, scores=scores)

    def _people(self, heat_Khw: Floats, tags_KhwT: Floats) -> list["_Person"]:
        people: list[_Person] = []
        by_tag: dict[float, _Person] = {}

        def start(keypoint: int, pixel: tuple[int, int]) -> None:
            tag = tags_KhwT[keypoint][pixel]
            person = by_tag.get(float(tag[0])) if self.share_equal_tags else None
            if person is None:
                person = _Person(tag)
                people.append(person)
                by_tag[float(tag[0])] = person
            person.tag_sum, person.members = tag.copy(), 1
            person.pixels[keypoint] = pixel

        for k in self.order:
            peaks = self._peaks(heat_Khw[k])
            known = people[: self.max_people]
            if not peaks or (self.overflow == "stop" and len(known) == self.max_people):
                continue
            partner = self._partners(heat_Khw[k], tags_KhwT[k], peaks, known) if known else [None] * len(peaks)
            for pixel, person in zip(peaks, partner, strict=True):
                if person is not None:
                    person.pixels[k] = pixel
                    person.tag_sum, person.members = person.tag_sum + tags_KhwT[k][pixel], person.members + 1
            for pixel, person in zip(peaks, partner, strict=True):
                if person is None and (self.overflow != "drop" or not known or len(people) < self.max_people):
                    start(k, pixel)
        return people

    def _peaks(self, heat_hw: Floats) -> list[tuple[int, int]]:
        """Rows and columns of the highest pixels in their windows, the highest first."""
        highest = cv2.dilate(heat_hw, np.ones((self.nms_kernel, self.nms_kernel), np.uint8))
        is_peak = (heat_hw == highest) & (heat_hw > self.detection_threshold)
        pixels: list[tuple[int, int]] = [(int(y), int(x)) for y, x in np.argwhere(is_peak)]
        if self.merge_plateaus:
            _, labels, stats, _ = cv2.connectedComponentsWithStats(is_peak.astype(np.uint8), connectivity=8)
            firsts: dict[int, tuple[int, int]] = {}
            for pixel in pixels:
                if stats[labels[pixel], cv2.CC_STAT_AREA] <= self.nms_kernel**2:
                    firsts.setdefault(int(labels[pixel]), pixel)
            pixels = list(firsts.values())
        return sorted(pixels, key=lambda pixel: -heat_hw[pixel])[: self.max_people]

    def _partners(
        self, heat_hw: Floats, tags_hwT: Floats, peaks: list[tuple[int, int]], people: list["_Person"]
    ) -> list["_Person | None"]:
        """For each peak the person that it joins."""
        means = np.stack([person.tag_sum / np.float32(person.members) for person in people])
        tags = np.stack([tags_hwT[pixel] for pixel in peaks]).astype(np.float64)
        distance = np.sqrt(((tags[:, None] - means) ** 2).sum(axis=2))
        cost = distance
        if self.use_detection_val:
            score = np.array([[heat_hw[pixel]] for pixel in peaks], np.float64)
            cost = (np.round(distance) if self.round_distance else distance) * 100 - score
        chosen: dict[int, int]
        if self.ties == "scipy":
            chosen = dict(zip(*linear_sum_assignment(cost), strict=True))
        else:
            missing = max(0, len(peaks) - len(people))
            padded = np.concatenate([cost, np.full((len(peaks), missing), NOBODY)], axis=1)
            chosen = dict(enumerate(first_optimum(padded).tolist()))
        partners: list[_Person | None] = [None] * len(peaks)
        for row, column in chosen.items():
            if column < len(people) and distance[row, column] < self.tag_threshold:
                partners[row] = people[column]
        return partners

    def _point(self, heat_hw: Floats, y: int, x: int) -> tuple[float, float]:
        """x, y in corner coordinates."""
        height, width = heat_hw.shape
        row, column = heat_hw[y], heat_hw[:, x]
        across = self._shift(row[max(x - 1, 0)], row[x], row[min(x + 1, width - 1)])
        down = self._shift(column[max(y - 1, 0)], column[y], column[min(y + 1, height - 1)])
        return x + 0.5 + across, y + 0.5 + down

    def _shift(self, before: Any, here: Any, after: Any) -> float:
        if self.adjust == "none":
            return 0.0
        if self.adjust == "parabola":
            bend = 2 * here - before - after
            return float(np.clip(0.5 * (after - before) / bend, -0.5, 0.5)) if bend > 1e-6 else 0.0
        if before == after and self.adjust == "quarter":
            return 0.0
        return 0.25 if after > before else -0.25


@dataclass(eq=False)
class _Person:
    tag_sum: Any
    members: int = 1
    pixels: dict[int, tuple[int, int]] = field(default_factory=dict)


REFERENCE = Parser()
WITHOUT_QUIRKS = Parser(merge_plateaus=True, share_equal_tags=False, adjust="quarter")
"""What `lhrnet.decoder.grouping.group` does by default."""
