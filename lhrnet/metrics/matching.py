"""COCO's matches of detections with people, by image: AP of resampled images, and similarity by keypoint.

The ten figures alone do not tell whether a difference is significant, or which keypoint got worse. The matches do: they
give AP for any weighting of the images (the bootstrap) and each keypoint's mean similarity.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lhrnet.metrics.coco_eval import matched
from lhrnet.metrics.oks import keypoint_oks

RECALLS = np.linspace(0.0, 1.0, 101)
"""Recall levels at which COCO reads precision."""

CROWDING = {"1 person": (1, 1), "2 to 4 people": (2, 4), "5 and more people": (5, 10**6)}
"""Classes of images by their number of counted people: minimum and maximum."""


@dataclass(frozen=True)
class Matches:
    """Result of COCO's matching over all person sizes. T = 10 OKS thresholds, D detections by descending score."""

    image_ids: NDArray[np.int64]
    """(I,) image ids, ascending."""
    people: NDArray[np.int64]
    """(I,) counted people (labelled, no crowd) of each image."""
    image: NDArray[np.int64]
    """(D,) position in `image_ids` of each detection."""
    score: NDArray[np.float64]
    """(D,) descending."""
    hit: NDArray[np.bool_]
    """(T, D) the detection was matched with a counted person."""
    ignored: NDArray[np.bool_]
    """(T, D) the detection was matched with a crowd or an unlabelled person and counts neither way."""
    keypoint_oks: Mapping[str, float]
    """Mean similarity of each keypoint over the labelled ones; 0 where nobody was found, -1 if unlabelled."""

    @cached_property
    def places(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]]:
        """For each threshold: where the hits are, where the ignored are, how many ignored come before each hit.

        Precision and recall only rise at hits, so AP needs no other place: resampling costs a tenth.
        """
        places = []
        for hit, ignored in zip(self.hit, self.ignored, strict=True):
            hits, skipped = np.flatnonzero(hit), np.flatnonzero(ignored)
            places.append((hits, skipped, np.searchsorted(skipped, hits)))
        return places


@dataclass(frozen=True)
class Difference:
    """AP of one set of detections minus another's, and how it varies over resampled images."""

    mean: float
    low: float
    """5% quantile."""
    high: float
    """95% quantile."""
    share: float
    """Share of the resamples in which the difference is at least the gain asked for."""
    resamples: int


def match(truth: Mapping[str, Any], detections: Sequence[Mapping[str, Any]], image_ids: Sequence[int]) -> Matches:
    """Match detections to people as COCO's keypoint evaluation does.

    Args:
        truth: COCO annotations (`images`, `annotations`).
        detections: COCO results; only images of `image_ids` count.
        image_ids: the images to evaluate.
    """
    evaluation = matched(truth, detections, sorted(image_ids), by_size=False)
    per_image = {e["image_id"]: e for e in evaluation.evalImgs if e is not None}
    ids = np.asarray(sorted(image_ids), dtype=np.int64)
    people, image, score, hit, ignored = np.zeros(len(ids), np.int64), [], [], [], []
    for position, image_id in enumerate(ids.tolist()):
        outcome = per_image.get(image_id)
        if outcome is None:
            continue
        people[position] = int((np.asarray(outcome["gtIgnore"]) == 0).sum())
        image.append(np.full(len(outcome["dtScores"]), position))
        score.append(np.asarray(outcome["dtScores"], dtype=np.float64))
        hit.append((outcome["dtMatches"] > 0) & ~outcome["dtIgnore"].astype(bool))
        ignored.append(outcome["dtIgnore"].astype(bool))
    thresholds = len(evaluation.params.iouThrs)
    scores = np.concatenate(score) if score else np.zeros(0)
    order = np.argsort(-scores, kind="mergesort")
    return Matches(
        image_ids=ids,
        people=people,
        image=(np.concatenate(image) if image else np.zeros(0, np.int64))[order],
        score=scores[order],
        hit=(np.concatenate(hit, axis=1) if hit else np.zeros((thresholds, 0), bool))[:, order],
        ignored=(np.concatenate(ignored, axis=1) if ignored else np.zeros((thresholds, 0), bool))[:, order],
        keypoint_oks=_keypoint_oks(evaluation, per_image),
    )


def average_precision(matches: Matches, weights: NDArray[np.int64] | None = None) -> float:
    """COCO's AP (mean over the ten OKS thresholds), each image counted `weights` times.

    Args:
        matches: detections matched with people.
        weights: (I,) how often each image counts; once each when left out.

    Returns:
        AP in 0..1, or −1 when no person counts, as COCO has it.
    """
    precision = precision_at_recall(matches, weights)
    return -1.0 if precision is None else float(precision.mean())


def precision_at_recall(matches: Matches, weights: NDArray[np.int64] | None = None) -> NDArray[np.float64] | None:
    """Precision at each of `RECALLS` as COCO reads it: the best at that recall or a higher one.

    Args:
        matches: detections matched with people.
        weights: (I,) how often each image counts; once each when left out.

    Returns:
        (T, 101); None when no person counts.
    """
    times = np.ones(len(matches.image_ids), np.int64) if weights is None else weights
    total = int((matches.people * times).sum())
    if total == 0:
        return None
    per_detection = times[matches.image]
    counted = np.cumsum(per_detection)
    read = np.zeros((len(matches.hit), len(RECALLS)))
    for threshold, (hits, ignored, before) in enumerate(matches.places):
        if not len(hits):
            continue
        found = np.cumsum(per_detection[hits])
        skipped = np.concatenate([[0], np.cumsum(per_detection[ignored])])[before]
        precision = found / (counted[hits] - skipped + np.spacing(1))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(found / total, RECALLS, side="left")
        inside = at < len(hits)
        read[threshold, inside] = envelope[at[inside]]
    return read


def best_threshold(matches: Matches) -> float | None:
    """The score threshold with the highest F1 at OKS 0.5; None if nobody is found."""
    hits = np.cumsum(matches.hit[0])
    counted = np.cumsum(~matches.ignored[0])
    if not len(hits) or not hits[-1]:
        return None
    return float(matches.score[int((2 * hits / (counted + matches.people.sum())).argmax())])


def by_crowding(matches: Matches) -> dict[str, float]:
    """AP on images that show one counted person, a few, or many; -1 where there is no such image."""
    return {
        name: average_precision(matches, ((matches.people >= low) & (matches.people <= high)).astype(np.int64))
        for name, (low, high) in CROWDING.items()
    }


def bootstrap(new: Matches, old: Matches, *, gain: float, resamples: int, seed: int) -> Difference:
    """Paired bootstrap over images: both models are scored on the same resampled images each time.

    Args:
        new: the challenger's matches.
        old: the champion's, on the same images.
        gain: AP difference that `share` counts from.
        resamples: number of bootstrap samples of the images.
        seed: of the resampling.

    Raises:
        ValueError: the two were not matched on the same images, or there is nobody to find.
    """
    if not np.array_equal(new.image_ids, old.image_ids) or not np.array_equal(new.people, old.people):
        raise ValueError("a paired comparison needs the same images and the same people on both sides")
    if new.people.sum() == 0:
        raise ValueError("no image of this split shows a labelled person: there is nothing to compare on")
    images = len(new.image_ids)
    draws = np.random.default_rng(seed)
    differences: list[float] = []
    while len(differences) < resamples:
        weights = np.bincount(draws.integers(0, images, images), minlength=images)
        if (new.people * weights).sum() > 0:
            differences.append(average_precision(new, weights) - average_precision(old, weights))
    values = np.asarray(differences)
    low, high = np.quantile(values, (0.05, 0.95))
    return Difference(float(values.mean()), float(low), float(high), float((values >= gain).mean()), resamples)


def _keypoint_oks(evaluation: Any, per_image: Mapping[int, Mapping[str, Any]]) -> dict[str, float]:
    skeleton = evaluation.skeleton
    total, count = np.zeros(skeleton.count), np.zeros(skeleton.count)
    found = {d["id"]: d for key in evaluation._dts for d in evaluation._dts[key]}
    people = {t["id"]: t for key in evaluation._gts for t in evaluation._gts[key]}
    for outcome in per_image.values():
        for person_id, detection_id, ignore in zip(
            outcome["gtIds"], outcome["gtMatches"][0], outcome["gtIgnore"], strict=True
        ):
            if ignore:
                continue
            person = people[person_id]
            count += np.asarray(person["keypoints"]).reshape(-1, 3)[:, 2] > 0
            if detection_id > 0:
                keypoints = found[int(detection_id)]["keypoints"]
                total += np.nan_to_num(keypoint_oks(keypoints, person["keypoints"], person["area"], skeleton))
    return {name: float(total[k] / count[k]) if count[k] else -1.0 for k, name in enumerate(skeleton.keypoints)}
