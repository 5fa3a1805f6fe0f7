"""Errors split by kind, and what mending each gives back."""

from typing import Any

import numpy as np
import pytest

from lhrnet.coco import FLIP_INDEX, KEYPOINTS, OKS_SIGMAS
from lhrnet.metrics.errors import KINDS, classify, pair_up, split_errors
from lhrnet.metrics.matching import average_precision, match

SHAPE = np.array([(30 * (k % 5), 35 * (k // 5)) for k in range(17)], float)
"""Keypoints of a person 120 x 105 pixels large, no two near each other."""


def _person(image_id: int, number: int, *, at: float = 50.0, unlabelled: tuple[int, ...] = ()) -> dict[str, Any]:
    points = np.column_stack([SHAPE + at, [0 if k in unlabelled else 2 for k in range(17)]])
    return {
        "id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": 5000.0,
        "bbox": [at, at, 120, 105], "num_keypoints": 17 - len(unlabelled), "keypoints": points.ravel().tolist(),
    }  # fmt: skip


def _truth(people: list[dict[str, Any]]) -> dict[str, Any]:
    ids = sorted({person["image_id"] for person in people})
    return {"images": [{"id": i} for i in ids], "annotations": people, "categories": [{"id": 1}]}


def _found(person: dict[str, Any], score: float = 0.9, **moves: tuple[float, float]) -> dict[str, Any]:
    points = np.array(person["keypoints"], float).reshape(17, 3)
    for name, (x, y) in moves.items():
        points[KEYPOINTS.index(name), :2] = x, y
    return {
        "image_id": person["image_id"],
        "category_id": 1,
        "keypoints": points.ravel().tolist(),
        "score": score,
    }


def _at(person: dict[str, Any], name: str) -> tuple[float, float]:
    x, y = person["keypoints"][3 * KEYPOINTS.index(name) :][:2]
    return x, y


def _kind(name: str, kinds: tuple[Any, ...]) -> Any:
    return kinds[KEYPOINTS.index(name)]


def test_each_kind_is_told_from_the_others() -> None:
    person, other = _person(1, 1), _person(1, 2, at=400)
    x, y = _at(person, "left_knee")
    found = _found(
        person,
        left_knee=(x + 11, y),
        left_wrist=_at(person, "right_wrist"),
        right_elbow=_at(other, "right_elbow"),
        left_elbow=_at(other, "right_elbow"),
        nose=(900, 900),
        left_hip=_at(person, "left_ankle"),
    )
    kinds = classify(person, [other], found["keypoints"])
    assert _kind("left_knee", kinds) == "jitter"
    assert _kind("left_wrist", kinds) == "inversion"
    assert _kind("right_elbow", kinds) == "swap"
    assert _kind("left_elbow", kinds) == "swap"
    assert _kind("nose", kinds) == "miss"
    assert _kind("left_hip", kinds) == "miss", "another kind of joint is neither inversion nor swap"
    assert _kind("right_ankle", kinds) == "good"


def test_unlabelled_keypoints_are_of_no_kind_and_attract_nothing() -> None:
    person = _person(1, 1, unlabelled=(9, 10))
    found = _found(person, left_wrist=(900, 900))
    kinds = classify(person, [], found["keypoints"])
    assert kinds[9] is kinds[10] is None
    half = _person(1, 1, unlabelled=(10,))
    kinds = classify(half, [], _found(half, left_wrist=_at(half, "right_wrist"))["keypoints"])
    assert kinds[9] == "miss"


def test_the_thresholds_are_those_of_the_paper() -> None:
    person = _person(1, 1)
    k = KEYPOINTS.index("left_hip")
    scale = 2 * 0.107 * np.sqrt(2 * 5000)
    for wanted, kind in ((0.86, "good"), (0.84, "jitter"), (0.51, "jitter"), (0.49, "miss")):
        x, y = _at(person, "left_hip")
        kinds = classify(person, [], _found(person, left_hip=(x, y - scale * np.sqrt(-np.log(wanted))))["keypoints"])
        assert kinds[k] == kind


def test_the_surest_detection_takes_the_nearest_free_person() -> None:
    person, other = _person(1, 1), _person(1, 2, at=60)
    found = [_found(person, 0.5), _found(person, 0.9)]
    pairs = pair_up(_truth([person, other]), found, [1])
    assert [(pair.detection["score"], pair.annotation["id"]) for pair in pairs] == [(0.9, 1), (0.5, 2)]


def _moved(kind: str, person: dict[str, Any], other: dict[str, Any], score: float) -> dict[str, Any]:
    names = ["left_wrist", "right_wrist", "left_elbow", "right_elbow", "left_shoulder", "right_shoulder"]
    if kind == "inversion":
        return _found(person, score, **{n: _at(person, KEYPOINTS[FLIP_INDEX[KEYPOINTS.index(n)]]) for n in names})
    if kind == "swap":
        return _found(person, score, **{n: _at(other, n) for n in names})
    if kind == "miss":
        return _found(person, score, **dict.fromkeys(names, (2000.0, 2000.0)))
    shifts = 2 * np.asarray(OKS_SIGMAS) * np.sqrt(2 * person["area"]) * np.sqrt(-np.log(0.6))
    places = {n: _at(person, n) for n in KEYPOINTS}
    return _found(
        person, score, **{n: (x + shift, y) for (n, (x, y)), shift in zip(places.items(), shifts, strict=True)}
    )


@pytest.mark.parametrize("kind", ["jitter", "inversion", "swap", "miss"])
def test_mending_the_only_kind_of_error_gives_all_of_it_back(kind: str) -> None:
    people = [_person(i, 2 * i + j, at=50 + 400 * j) for i in range(1, 6) for j in (0, 1)]
    found = [_moved(kind, p, people[n ^ 1], 0.9 - 0.01 * n) for n, p in enumerate(people)]
    truth = _truth(people)
    split = split_errors(truth, found, range(1, 6))
    assert split.ap < 0.9
    assert split.ap + split.gains[kind] == pytest.approx(1.0)
    others = {name: gain for name, gain in split.gains.items() if name in KINDS and name != kind}
    assert others == pytest.approx(dict.fromkeys(others, 0.0))
    assert split.shares[kind] > 0.1  # type: ignore[index]


def test_background_score_and_missed_people_have_costs_of_their_own() -> None:
    people = [_person(i, i) for i in range(1, 9)]
    truth = _truth(people)
    nobody = [{**_found(_person(i, i, at=900), 0.95)} for i in (1, 2)]
    background = split_errors(truth, [_found(p, 0.9) for p in people] + nobody, range(1, 9))
    assert background.ap + background.gains["background"] == pytest.approx(1.0)
    assert background.ap + background.gains["score"] == pytest.approx(1.0), "they sink below everyone"
    assert background.gains["not found"] == pytest.approx(0.0)
    unseen = split_errors(truth, [_found(p, 0.9) for p in people[:4]], range(1, 9))
    assert unseen.gains["not found"] == pytest.approx(1.0 - unseen.ap)
    assert unseen.gains["background"] == unseen.gains["score"] == pytest.approx(0.0)


def test_the_base_is_cocos_ap_and_nothing_given_is_changed() -> None:
    people = [_person(1, 1), _person(2, 2)]
    truth, found = _truth(people), [_found(people[0], nose=(900, 900)), _found(people[1])]
    before = repr((truth, found))
    split = split_errors(truth, found, [1, 2])
    assert split.ap == average_precision(match(truth, found, [1, 2]))
    assert repr((truth, found)) == before
    assert sum(split.keypoints["nose"].values()) == 2


def test_nobody_found_leaves_only_missed_people() -> None:
    split = split_errors(_truth([_person(1, 1)]), [], [1])
    assert split.ap == 0.0
    assert all(sum(counts.values()) == 0 for counts in split.keypoints.values())
    assert split.gains == {**dict.fromkeys(split.gains, 0.0), "not found": 1.0}


def test_people_whom_nobody_comes_near_count_as_not_found() -> None:
    person = _person(1, 1)
    split = split_errors(_truth([person]), [_found(_person(1, 1, at=900))], [1])
    assert (split.ap, split.gains["not found"]) == (0.0, 1.0)


def test_a_split_without_anyone_to_find_loses_nothing() -> None:
    unlabelled = _person(1, 1, unlabelled=tuple(range(17)))
    split = split_errors(_truth([unlabelled]), [], [1])
    assert split.gains == dict.fromkeys(split.gains, 0.0)


def test_a_person_found_beside_a_surer_fragment_is_not_missed() -> None:
    people = [_person(i, i) for i in range(1, 5)]
    away = {name: (900.0 + 40 * k, 900.0) for k, name in enumerate(KEYPOINTS[:12])}
    found = [*(_found(person, 0.5) for person in people), _found(people[0], 0.9, **away)]
    pairs = pair_up(_truth(people), found, range(1, 5))
    assert min(pair.oks for pair in pairs) < 0.5, "the fragment has taken its person"
    assert split_errors(_truth(people), found, range(1, 5)).gains["not found"] == 0.0


def test_one_of_two_people_whom_one_detection_covers_is_missed() -> None:
    people = [_person(1, 1), _person(1, 2, at=51)]
    split = split_errors(_truth(people), [_found(people[0])], [1])
    assert split.gains["not found"] == pytest.approx(1.0 - split.ap)
    assert split.gains["not found"] > 0.4


def test_mending_scores_costs_nothing_where_one_person_is_found_twice() -> None:
    people = [_person(1, 1), _person(2, 2)]
    again = _found(people[0], 0.1)
    found = [_found(people[0], 0.9), {**_moved("jitter", people[1], people[0], 0.8), "image_id": 2}, again]
    split = split_errors(_truth(people), found, [1, 2])
    assert 0.5 < split.ap < 1.0
    assert split.gains["score"] == pytest.approx(0.0), "both are found before the second copy of one"


@pytest.mark.parametrize("seed", range(8))
def test_mended_scores_give_the_recall_that_is_reached_and_cost_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    people = [_person(i, 10 * i + j, at=50.0 + 20 * j) for i in range(1, 6) for j in range(int(rng.integers(1, 4)))]
    found = []
    for person in people:
        for _ in range(int(rng.integers(0, 4))):
            points = np.array(person["keypoints"]).reshape(17, 3)
            points[:, :2] += rng.normal(0, rng.uniform(1, 25), (17, 2))
            found.append({**_found(person, float(rng.random())), "keypoints": points.ravel().tolist()})
    truth = _truth(people)
    split = split_errors(truth, found, range(1, 6))
    assert split.gains["score"] >= 0
    matches = match(truth, found, range(1, 6))
    best = 0.0
    for hits in matches.hit:  # every order that puts one threshold's matches first
        matched = dict(zip(matches.score.tolist(), hits.tolist(), strict=True))
        ordered = [{**d, "score": d["score"] + matched[d["score"]]} for d in found]
        best = max(best, average_precision(match(truth, ordered, range(1, 6))))
    assert split.ap + split.gains["score"] >= best - 1e-9
