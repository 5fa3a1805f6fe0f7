"""Scores are COCO's own to the last digit, an empty result is zeros, and a malformed one is refused by name."""

import contextlib
import copy
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lhrnet.coco import MAX_DETECTIONS, OKS_SIGMAS, K
from lhrnet.metrics.coco_eval import Scores, image_oks, score
from lhrnet.metrics.oks import oks_matrix

POSE = np.stack((np.arange(K) * 5.0 + 20, np.arange(K) % 4 * 20.0 + 30, np.full(K, 2)), -1)


def annotated(image_id: int = 1, number: int = 1, shift: float = 0.0, **changes: Any) -> dict[str, Any]:
    keypoints = POSE + np.array((shift, 0, 0))
    return {
        "id": number, "image_id": image_id, "category_id": 1, "iscrowd": 0, "num_keypoints": K, "area": 5000.0,
        "bbox": [20 + shift, 30, 80, 60], "keypoints": keypoints.ravel().tolist(), **changes,
    }  # fmt: skip


def found(image_id: int = 1, shift: float = 0.0, score: float = 0.9, **changes: Any) -> dict[str, Any]:
    keypoints = POSE + np.array((shift, 0, -1.5))
    detection = {"image_id": image_id, "category_id": 1, "keypoints": keypoints.ravel().tolist(), "score": score}
    return {**detection, **changes}


def dataset(*annotations: dict[str, Any], images: int = 3) -> dict[str, Any]:
    return {
        "images": [{"id": i + 1, "width": 200, "height": 100} for i in range(images)],
        "annotations": list(annotations),
        "categories": [{"id": 1, "name": "person"}],
    }


def golden_cases(golden: Path, coco_mini: Path) -> list[tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]]:
    return [
        (
            case,
            json.loads((coco_mini / "annotations" / case["gt"]).read_text()),
            json.loads((golden / case["det"]).read_text()),
        )
        for case in json.loads((golden / "oks/expected.json").read_text())["cases"]
    ]


def plain_figures(truth: dict[str, Any], detections: list[dict[str, Any]]) -> list[float]:
    """pycocotools as it comes."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(detections)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(figure) for figure in evaluation.stats]


def test_figures_equal_the_reference_to_the_last_digit(golden: Path, coco_mini: Path) -> None:
    for case, truth, detections in golden_cases(golden, coco_mini):
        figures = score(truth, detections).as_dict()
        assert list(figures) == [
            "ap", "ap50", "ap75", "ap_medium", "ap_large", "ar", "ar50", "ar75", "ar_medium", "ar_large",
        ]  # fmt: skip
        assert list(figures.values()) == list(case["stats"].values()), case["det"]


def test_oks_equals_the_reference_to_fifteen_digits(golden: Path, coco_mini: Path) -> None:
    for case, truth, detections in golden_cases(golden, coco_mini):
        ids = [int(image) for image in case["oks"]]
        for image, expected in zip(image_oks(truth, detections, ids), case["oks"].values(), strict=True):
            if expected:
                # the last bit of numpy's exp depends on the processor's vector instructions
                np.testing.assert_allclose(image.oks, expected, rtol=1e-15, err_msg=f"{case['det']} {image.image_id}")
            else:
                assert 0 in image.oks.shape
            assert image.oks.shape == (len(image.detections), len(image.annotations))


def test_figures_equal_pycocotools_with_many_detections_an_image() -> None:
    rng = np.random.default_rng(0)
    truth = dataset(*(annotated(1 + i % 3, i + 1, shift=30.0 * i, area=500.0 * (i + 1)) for i in range(9)))
    detections = []
    for i in range(200):
        shift, noise = 30.0 * rng.integers(9), rng.normal(0, rng.choice([1, 4, 15]), POSE.shape)
        keypoints = (POSE + np.array((shift, 0, 0)) + noise).ravel().tolist()
        detections.append(found(1 + i % 3, score=round(rng.random(), 2), keypoints=keypoints))
    assert list(score(truth, detections).as_dict().values()) == plain_figures(truth, detections)


def test_an_empty_result_scores_zeros(coco_mini: Path) -> None:
    truth = json.loads((coco_mini / "annotations/person_keypoints_val2017.json").read_text())
    assert set(score(truth, []).as_dict().values()) == {0.0}


def test_a_size_without_people_is_minus_one() -> None:
    scores = score(dataset(annotated(area=5000.0)), [found()])
    assert [scores.ap, scores.ap_medium, scores.ap_large] == pytest.approx([1.0, 1.0, -1.0])
    assert score(dataset(), [found()]).ap == -1


def test_nothing_is_printed_and_nothing_is_changed(capsys: pytest.CaptureFixture[str]) -> None:
    truth, detections = dataset(annotated()), [found()]
    before = copy.deepcopy((truth, detections))
    score(truth, detections)
    image_oks(truth, detections)
    assert (truth, detections) == before
    assert capsys.readouterr() == ("", "")


def test_a_subset_of_images_is_scored_by_itself() -> None:
    truth = dataset(annotated(1, 1), annotated(2, 2))
    detections = [found(1), found(2, shift=500)]
    assert score(truth, detections, [1]).ap == pytest.approx(1.0)
    assert score(truth, detections, [2]).ap == 0
    assert score(truth, detections, [2, 1]) == score(truth, detections)
    assert [image.image_id for image in image_oks(truth, detections, [3, 1])] == [3, 1]


def test_people_numbered_from_zero_are_matched_too() -> None:
    assert score(dataset(annotated(number=0)), [found()]).ap == pytest.approx(1.0)


def test_a_truth_without_optional_fields_is_read() -> None:
    person = annotated()
    del person["iscrowd"], person["num_keypoints"]
    assert score(dataset(person), [found()]).ap == pytest.approx(1.0)


def test_an_image_counts_its_twenty_best_detections() -> None:
    wrong = [found(shift=500 + i, score=0.9) for i in range(MAX_DETECTIONS)]
    truth = dataset(annotated())
    assert score(truth, [*wrong, found(score=0.1)]).ar == 0
    (image,) = image_oks(truth, [found(score=0.1), *wrong], [1])
    assert len(image.detections) == MAX_DETECTIONS
    assert image.detections[0]["score"] == 0.9


def test_oks_follows_its_definition() -> None:
    labelled = np.array([v > 0 for v in range(K)])
    truth = POSE * np.column_stack((np.ones(K), np.ones(K), labelled))
    shifted = POSE + np.array((3, 4, 0))
    expected = np.exp(-25 / (2 * 5000 * (2 * np.array(OKS_SIGMAS)) ** 2))[labelled].mean()
    person = annotated(keypoints=truth.ravel().tolist())
    oks = oks_matrix(np.stack((POSE, shifted)), [person, annotated(shift=90)])
    assert oks.shape == (2, 2)
    np.testing.assert_allclose(oks[:, 0], [1.0, expected], rtol=1e-12)


def test_towards_an_unlabelled_person_distance_is_that_to_twice_the_box() -> None:
    person = annotated(keypoints=[0] * 51, num_keypoints=0, bbox=[50, 50, 10, 10])
    inside, outside = np.full((K, 3), 45.0), np.full((K, 3), 45.0)
    outside[:, 0] = 80
    expected = np.exp(-100 / (2 * 5000 * (2 * np.array(OKS_SIGMAS)) ** 2)).mean()
    np.testing.assert_allclose(oks_matrix(np.stack((inside, outside)), [person])[:, 0], [1.0, expected], rtol=1e-12)


def test_no_detections_or_no_people_give_an_empty_matrix() -> None:
    assert oks_matrix(np.zeros((0, K, 3)), [annotated()]).shape == (0, 1)
    assert oks_matrix(POSE[None], []).shape == (1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 77}, r"detection 1 \(image 77\): the truth holds no such image"),
        ({"category_id": 3}, "category 3; people are category 1"),
        ({"keypoints": [1.0] * 50}, "has 50 keypoint numbers; it must have 51"),
        ({"keypoints": [float("nan")] * 51}, "keypoint that is not a finite number"),
        ({"score": float("nan")}, "has score nan"),
        ({"score": float("inf")}, "has score inf"),
        ({"image_id": True}, r"detection 1 \(image True\): the truth holds no such image"),
        ({"image_id": [1]}, "the truth holds no such image"),
        ({"keypoints": None}, "has no keypoint numbers; it must have 51"),
        ({"keypoints": ["1.0"] * 51}, "keypoint that is not a finite number"),
        ({"keypoints": [None] * 51}, "keypoint that is not a finite number"),
        ({"keypoints": [[1.0], *[1.0] * 50]}, "keypoint that is not a finite number"),
        ({"score": "0.5"}, "has score '0.5'"),
        ({"score": None}, "has score None"),
    ],
)
def test_a_malformed_detection_is_named(change: dict[str, Any], message: str) -> None:
    for judge in (score, image_oks):
        with pytest.raises(ValueError, match=message):
            judge(dataset(annotated()), [found(), found(**change)])


def test_a_result_that_is_no_object_is_named() -> None:
    with pytest.raises(ValueError, match="detection 1 is 5; it must be an object"):
        score(dataset(annotated()), [found(), 5])  # type: ignore[list-item]


@pytest.mark.parametrize("field", ["image_id", "category_id", "keypoints", "score"])
def test_a_missing_field_is_named(field: str) -> None:
    detection = found()
    del detection[field]
    with pytest.raises(ValueError, match=f"detection 0 has no {field}"):
        score(dataset(annotated()), [detection])


def test_a_truth_of_another_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no 'annotations'"):
        score({"images": []}, [])
    boxes = annotated()
    del boxes["keypoints"]
    with pytest.raises(ValueError, match="annotation 1 of image 1 has no 51 keypoint numbers"):
        score(dataset(boxes), [])
    with pytest.raises(ValueError, match="holds no image 12"):
        score(dataset(annotated()), [], [1, 12])


def test_scores_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        score(dataset(annotated()), []).ap = 1.0  # type: ignore[misc]
    assert isinstance(score(dataset(annotated()), []), Scores)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("image_id", []),
        ("num_keypoints", {}),
        ("iscrowd", []),
        ("area", {}),
        ("area", float("nan")),
        ("bbox", [1, 2, 3]),
        ("keypoints", 5),
        ("keypoints", ["1"] * 51),
    ],
)
def test_a_truth_with_a_field_that_is_no_number_is_refused_and_named(key: str, value: Any) -> None:
    person = {"id": 7, "image_id": 1, "category_id": 1, "bbox": [0, 0, 9, 9], "area": 81.0, "keypoints": [1, 1, 2] * 17}
    truth = {"images": [{"id": 1}], "annotations": [person]}
    assert score(truth, [], [1]).ap == 0.0
    parts: tuple[dict[str, Any], ...] = (
        {"annotations": [{**person, key: value}]},
        {"annotations": [7]},
        {"annotations": 7},
        {"images": [{"id": {}}]},
    )
    for part in parts:
        wrong = {**truth, **part}
        with pytest.raises(
            ValueError, match=r"annotation 7 of image .* has no|each must be an object|no 'annotations'"
        ):
            score(wrong, [], [1])
