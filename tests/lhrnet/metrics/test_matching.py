"""Matches, AP under weights, the bootstrap and each keypoint's similarity."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lhrnet.coco import KEYPOINTS
from lhrnet.metrics.matching import average_precision, bootstrap, by_crowding, match


def _person(image_id: int, number: int, *, at: float = 50.0, v: int = 2, crowd: int = 0) -> dict[str, Any]:
    points = [value for k in range(17) for value in (at + 5 * k, at + 3 * k, v)]
    return {
        "id": number, "image_id": image_id, "category_id": 1, "iscrowd": crowd, "area": 5000.0,
        "bbox": [at, at, 85, 51], "num_keypoints": 17 if v else 0, "keypoints": points,
    }  # fmt: skip


def _truth(people: list[dict[str, Any]], images: int) -> dict[str, Any]:
    return {
        "images": [{"id": i, "width": 200, "height": 200} for i in range(1, images + 1)],
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
    }


def _found(person: dict[str, Any], score: float, shift: float = 0.0) -> dict[str, Any]:
    points = [value + shift if index % 3 == 0 else value for index, value in enumerate(person["keypoints"])]
    return {"image_id": person["image_id"], "category_id": 1, "keypoints": points, "score": score}


def _golden_sets(golden: Path, coco_mini: Path) -> list[tuple[dict[str, Any], list[dict[str, Any]], float]]:
    sets = []
    for case in json.loads((golden / "oks" / "expected.json").read_text())["cases"]:
        truth = json.loads((coco_mini / "annotations" / case["gt"]).read_text())
        sets.append((truth, json.loads((golden / case["det"]).read_text()), case["stats"]["AP"]))
    return sets


def test_ap_from_matches_is_cocos_to_the_last_digit(golden: Path, coco_mini: Path) -> None:
    for truth, detections, expected in _golden_sets(golden, coco_mini):
        matches = match(truth, detections, [image["id"] for image in truth["images"]])
        assert average_precision(matches) == pytest.approx(expected, abs=1e-12)


def test_an_image_counted_twice_is_the_same_as_the_image_standing_twice() -> None:
    people = [_person(image, image) for image in (1, 2, 3)]
    found = [_found(people[0], 0.9), _found(people[1], 0.8, shift=6), _found(people[2], 0.7, shift=40)]
    copy = _person(4, 4)
    doubled = match(_truth([*people, copy], 4), [*found, _found(copy, 0.9)], [1, 2, 3, 4])
    weighted = match(_truth(people, 3), found, [1, 2, 3])
    assert average_precision(weighted, np.array([2, 1, 1])) == pytest.approx(average_precision(doubled), abs=1e-12)
    assert average_precision(weighted, np.array([2, 1, 1])) != average_precision(weighted)


def test_crowds_and_unlabelled_people_count_neither_way() -> None:
    seen, crowd, unlabelled = _person(1, 1), _person(1, 2, at=20, crowd=1), _person(1, 3, at=100, v=0)
    found = [_found(unlabelled, 0.95), _found(crowd, 0.9), _found(seen, 0.5)]
    matches = match(_truth([seen, crowd, unlabelled], 1), found, [1])
    assert matches.people.tolist() == [1]
    assert average_precision(matches) == pytest.approx(1.0)


def test_no_detection_scores_zero_and_nobody_to_find_scores_minus_one() -> None:
    assert average_precision(match(_truth([_person(1, 1)], 1), [], [1])) == 0.0
    assert average_precision(match(_truth([], 1), [_found(_person(1, 1), 0.9)], [1])) == -1.0


def test_a_keypoint_moved_away_lowers_only_its_own_similarity() -> None:
    person = _person(1, 1)
    found = _found(person, 0.9)
    found["keypoints"][9 * 3] += 500
    oks = match(_truth([person], 1), [found], [1]).keypoint_oks
    assert oks["left_wrist"] == pytest.approx(0.0, abs=1e-6)
    assert all(oks[name] == pytest.approx(1.0) for name in KEYPOINTS if name != "left_wrist")


def test_a_person_nobody_found_counts_zero_for_every_keypoint() -> None:
    people = [_person(1, 1), _person(2, 2)]
    oks = match(_truth(people, 2), [_found(people[0], 0.9)], [1, 2]).keypoint_oks
    assert set(oks.values()) == {0.5}


def test_bootstrap_is_seeded_and_sees_a_clear_gain() -> None:
    people = [_person(image, image) for image in range(1, 41)]
    truth = _truth(people, 40)
    good = match(truth, [_found(p, 0.9, shift=p["id"] % 4) for p in people], range(1, 41))
    poor = match(truth, [_found(p, 0.9, shift=7 + p["id"] % 5) for p in people], range(1, 41))
    once = bootstrap(good, poor, gain=0.01, resamples=200, seed=3)
    assert once == bootstrap(good, poor, gain=0.01, resamples=200, seed=3)
    assert once.share == 1.0
    assert 0 < once.low < once.mean < once.high
    assert bootstrap(good, good, gain=0.01, resamples=100, seed=0).share == 0.0


def test_bootstrap_refuses_two_different_sets_of_images() -> None:
    one = match(_truth([_person(1, 1)], 2), [], [1])
    two = match(_truth([_person(1, 1)], 2), [], [1, 2])
    with pytest.raises(ValueError, match="same images"):
        bootstrap(one, two, gain=0.0, resamples=100, seed=0)


def test_ap_by_crowding_looks_only_at_images_of_its_class() -> None:
    alone, pair = _person(1, 1), [_person(2, 2), _person(2, 3, at=90)]
    found = [_found(alone, 0.9), _found(pair[0], 0.9, shift=500), _found(pair[1], 0.8, shift=500)]
    crowding = by_crowding(match(_truth([alone, *pair], 2), found, [1, 2]))
    assert crowding == pytest.approx({"1 person": 1.0, "2 to 4 people": 0.0, "5 and more people": -1.0})
