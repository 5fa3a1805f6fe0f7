"""What keeps a detector's AP down, split as Ronchi and Perona do (Benchmarking and Error Diagnosis, ICCV 2017).

A found keypoint is good when its own OKS with the annotated one is 0.85 or more, jitter from 0.5. Below that it is an
inversion when it lies on the same person's mirrored keypoint (left for right), a swap when it lies on that keypoint or
its mirror image of another person, and a miss otherwise. Besides: scores that put wrong people before right ones,
people found where nobody is, and people not found. The cost of each kind is the AP gained if it alone were corrected.

Correcting the scores keeps COCO's matches and, at each OKS threshold, puts whoever is matched before everybody else:
AP is then the recall that is reached, and no other order gives more. (Ronchi and Perona give each detection its OKS as
its score and match anew. Then duplicates of one person come before another who is found less well, and the detection
of one takes away another's, so that correcting could cost AP.)
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lhrnet.coco import labelled
from lhrnet.metrics.coco_eval import Detection, Truth, image_oks, matched
from lhrnet.metrics.matching import RECALLS, Matches, average_precision, match
from lhrnet.metrics.oks import keypoint_oks
from lhrnet.skeleton import COCO, Skeleton
from lhrnet.skeleton.infer import of_truth

Kind = Literal["good", "jitter", "inversion", "swap", "miss"]
KINDS: tuple[Kind, ...] = get_args(Kind)

GOOD = 0.85
NEAR = 0.5
PAIRED = 0.1
"""OKS from which a found person counts as an attempt at an annotated one (Ronchi and Perona's choice)."""
FOUND = 0.5
"""OKS from which a person counts as found."""


@dataclass(frozen=True)
class Pair:
    """A found person and the annotated one that it is compared with."""

    image_id: int
    detection: Detection
    annotation: Mapping[str, Any]
    oks: float
    kinds: tuple[Kind | None, ...]
    """Kind of each keypoint; None if it is not labelled."""


@dataclass(frozen=True)
class ErrorSplit:
    """Counts of the kinds of errors, and their costs in AP."""

    ap: float
    keypoints: Mapping[str, Mapping[Kind, int]]
    """Counts of each kind by keypoint, over paired people."""
    gains: Mapping[str, float]
    """AP gained by correcting one kind alone: jitter, inversion, swap, miss, score, background, not found."""

    @property
    def shares(self) -> dict[Kind, float]:
        """Share of each kind among all labelled keypoints of paired people."""
        total = sum(sum(counts.values()) for counts in self.keypoints.values())
        return {kind: sum(c[kind] for c in self.keypoints.values()) / max(1, total) for kind in KINDS}


def split_errors(truth: Truth, detections: Sequence[Detection], image_ids: Sequence[int]) -> ErrorSplit:
    """Count errors, and measure AP with each kind corrected in turn.

    Args:
        truth: the ground truth.
        detections: COCO results.
        image_ids: the images that count.

    Raises:
        ValueError: as `lhrnet.metrics.coco_eval.score`.
    """
    pairs = pair_up(truth, detections, image_ids)
    names = of_truth(truth).keypoints
    counts: dict[str, Counter[Kind]] = {name: Counter() for name in names}
    for pair in pairs:
        for name, kind in zip(names, pair.kinds, strict=True):
            if kind is not None:
                counts[name][kind] += 1

    def ap(people: Truth, found: Sequence[Detection]) -> float:
        return average_precision(match(people, found, image_ids))

    matches = match(truth, detections, image_ids)
    base = average_precision(matches)
    mended = {kind: ap(truth, _mended(detections, pairs, kind)) for kind in KINDS if kind != "good"}
    best = _best_oks(truth, detections, image_ids)
    on_someone = [d for d in detections if best.get(id(d), 0.0) >= FOUND]
    without_missed = ap(_only_found(truth, detections, image_ids), detections)
    if without_missed < 0 <= base:  # -1: nobody is left, so nothing else keeps AP down
        without_missed = 1.0
    gains: dict[str, float] = {
        **{str(kind): value - base for kind, value in mended.items()},
        "score": _well_ordered(matches) - base,
        "background": ap(truth, on_someone) - base,
        "not found": without_missed - base,
    }
    return ErrorSplit(ap=base, keypoints={n: {k: c[k] for k in KINDS} for n, c in counts.items()}, gains=gains)


def pair_up(truth: Truth, detections: Sequence[Detection], image_ids: Sequence[int]) -> list[Pair]:
    """Pair each found person, by descending score, with the unpaired annotated one of the highest OKS."""
    pairs, skeleton = [], of_truth(truth)
    for image in image_oks(truth, detections, image_ids):
        people = [labelled(annotation) for annotation in image.annotations]
        free = list(people)
        for row, detection in enumerate(image.detections):
            oks = np.where(free, image.oks[row], -1.0) if free else np.zeros(0)
            if not len(oks) or oks.max() < PAIRED:
                continue
            taken = int(oks.argmax())
            free[taken] = False
            others = [a for g, a in enumerate(image.annotations) if g != taken and people[g]]
            annotation = image.annotations[taken]
            kinds = classify(annotation, others, detection["keypoints"], skeleton)
            pairs.append(Pair(image.image_id, detection, annotation, float(oks[taken]), kinds))
    return pairs


def classify(
    annotation: Mapping[str, Any],
    others: Sequence[Mapping[str, Any]],
    keypoints: Sequence[float],
    skeleton: Skeleton = COCO,
) -> tuple[Kind | None, ...]:
    """Kind of each found keypoint.

    Args:
        annotation: the person that it is compared with (COCO's form).
        others: the other labelled people of the image.
        keypoints: the found person's 3 K numbers.
        skeleton: whose K keypoints they are.

    Returns:
        K kinds; None for keypoints that are not labelled.
    """
    count, mirror, area = skeleton.count, list(skeleton.flip), annotation["area"]
    true = _triplets(annotation)
    own = keypoint_oks(keypoints, true, area, skeleton)
    # A keypoint in the middle is its own mirror image; the tolerance of a keypoint and its mirror image is the same.
    same_person = np.where(np.arange(count) == mirror, 0.0, keypoint_oks(keypoints, true[mirror], area, skeleton))
    other_person = np.zeros(count)
    for other in map(_triplets, others):
        for towards in (other, other[mirror]):
            other_person = np.fmax(other_person, keypoint_oks(keypoints, towards, area, skeleton))
    near_own = np.where(own >= GOOD, "good", "jitter")
    near_others = np.where(np.fmax(same_person, 0.0) >= other_person, "inversion", "swap")
    off = np.where(np.fmax(same_person, other_person) < NEAR, "miss", near_others)
    kinds = np.where(own >= NEAR, near_own, off)
    return tuple(None if np.isnan(own[k]) else kinds[k].item() for k in range(count))


def _triplets(annotation: Mapping[str, Any]) -> NDArray[np.float64]:
    """(K, 3) x, y, flag."""
    return np.asarray(annotation["keypoints"], np.float64).reshape(-1, 3)


def _mended(detections: Sequence[Detection], pairs: Sequence[Pair], kind: Kind) -> list[Detection]:
    """The detections with every keypoint of one kind moved to the annotated position."""
    better: dict[int, list[float]] = {}
    for pair in pairs:
        if kind in pair.kinds:
            points = list(pair.detection["keypoints"])
            for k, what in enumerate(pair.kinds):
                if what == kind:
                    points[3 * k : 3 * k + 2] = pair.annotation["keypoints"][3 * k : 3 * k + 2]
            better[id(pair.detection)] = points
    return [{**d, "keypoints": better[id(d)]} if id(d) in better else d for d in detections]


def _well_ordered(matches: Matches) -> float:
    """AP if whoever is matched came before everybody else: precision is 1 up to the recall that is reached."""
    total = int(matches.people.sum())
    reached_T1 = matches.hit.sum(axis=1, keepdims=True) / max(1, total)
    return float(((reached_T1 >= RECALLS) & (reached_T1 > 0)).mean()) if total else -1.0


def _best_oks(truth: Truth, detections: Sequence[Detection], image_ids: Sequence[int]) -> dict[int, float]:
    """Each detection's highest OKS with any annotation, crowds included, by the detection's `id()`."""
    return {
        id(detection): float(image.oks[row].max(initial=0.0))
        for image in image_oks(truth, detections, image_ids)
        for row, detection in enumerate(image.detections)
    }


def _only_found(truth: Truth, detections: Sequence[Detection], image_ids: Sequence[int]) -> dict[str, Any]:
    """The ground truth without the counted people whom no detection matches at an OKS of FOUND.

    By COCO's own matching, not by pairs: a fragment with a high score is paired with a person whom a better detection
    finds. Who is not matched at this threshold is not matched at a stricter one, so nothing else changes.
    """
    missed: set[int] = set()
    for outcome in matched(truth, detections, image_ids, by_size=False).evalImgs:
        if outcome is not None:
            sides = zip(outcome["gtIds"], outcome["gtMatches"][0], outcome["gtIgnore"], strict=True)
            missed.update(number for number, taken, ignored in sides if not taken and not ignored)
    return {**truth, "annotations": [a for number, a in enumerate(truth["annotations"], 1) if number not in missed]}
