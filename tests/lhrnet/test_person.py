"""What a person promises."""

import json

import numpy as np
import pytest

from lhrnet import geometry
from lhrnet.person import Person


def someone() -> Person:
    keypoints = np.random.default_rng(3).uniform(1, 400, (17, 3)).astype(np.float32)
    keypoints[:, 2] /= 400
    keypoints[4] = 0
    return Person(keypoints=keypoints, score=0.75, tag=np.array([1.5], np.float32))


def test_a_person_survives_coco_s_format() -> None:
    person = someone()
    entry = json.loads(json.dumps(person.to_coco(42)))
    assert (entry["image_id"], entry["category_id"], entry["score"]) == (42, 1, 0.75)
    assert entry["keypoints"][12:15] == [0, 0, 0]
    assert entry["keypoints"][2] == round(float(person.keypoints[0, 2]), 3)
    back = Person.from_coco(entry)
    np.testing.assert_allclose(back.keypoints, person.keypoints, atol=5.1e-4)
    np.testing.assert_array_equal(back.found, person.found)
    assert back.to_coco(42) == entry


def test_an_annotation_becomes_a_person_whose_labelled_keypoints_count() -> None:
    numbers = [0, 0, 0] * 15 + [10, 20, 1, 30, 60, 2]
    person = Person.from_coco({"keypoints": numbers})
    assert person.found.tolist() == [False] * 15 + [True, True]
    assert person.box == (10, 20, 20, 40)


def test_the_box_leaves_out_what_was_not_found() -> None:
    person = someone()
    points = person.keypoints[person.found, :2]
    x, y, width, height = person.box
    assert min(x, y) > 0
    np.testing.assert_allclose([x + width, y + height], points.max(axis=0), rtol=1e-6)
    assert Person(keypoints=np.zeros((17, 3), np.float32), score=0).box == (0, 0, 0, 0)


def test_moving_leaves_missing_keypoints_at_zero() -> None:
    moved = someone().moved(geometry.affine((0, 0), 2, (100, 100)))
    np.testing.assert_allclose(moved.keypoints[0, :2], someone().keypoints[0, :2] * 2 + 50, rtol=1e-6)
    assert moved.keypoints[4].tolist() == [0, 0, 0]
    assert moved.score == 0.75


def test_wrong_numbers_are_refused() -> None:
    for numbers in ([], [1, 2, 3, 4]):
        with pytest.raises(ValueError, match=f"three numbers a keypoint .* has {len(numbers)}"):
            Person.from_coco({"keypoints": numbers})
    for shape in ((0, 3), (17, 2), (51,)):
        with pytest.raises(ValueError, match="shape"):
            Person(keypoints=np.zeros(shape, np.float32), score=1)


def test_any_number_of_keypoints_is_a_person() -> None:
    person = Person.from_coco({"keypoints": [1, 2, 2, 3, 4, 0], "score": 0.5})
    assert person.keypoints.tolist() == [[1, 2, 1], [3, 4, 0]]
    assert person.box == (1, 2, 0, 0)
