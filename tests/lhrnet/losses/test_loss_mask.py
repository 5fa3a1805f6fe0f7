"""The loss's mask is the reference's on real annotations, and clear about the rest."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle

from lhrnet.losses.loss_mask import loss_mask

BOX = [2.0, 3.0, 4.0, 5.0]
CORNERS = [[2.0, 3.0, 6.0, 3.0, 6.0, 8.0, 2.0, 8.0]]


def person(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 9, "iscrowd": 0, "num_keypoints": 0, "bbox": BOX, "segmentation": CORNERS, **changes}


def left_out() -> np.ndarray:
    region = np.zeros((12, 10), dtype=np.uint8)
    region[3:8, 2:6] = 1
    return region


def test_masks_equal_the_reference(golden: Path, coco_mini: Path) -> None:
    dataset = json.loads((coco_mini / "annotations/person_keypoints_val2017_annonly.json").read_text())
    packed = np.load(golden / "masks.npz")
    for case in json.loads((golden / "masks.json").read_text()):
        annotations = [a for a in dataset["annotations"] if a["image_id"] == case["image_id"]]
        shape = case["h"], case["w"]
        expected = np.unpackbits(packed[case["key"]])[: shape[0] * shape[1]].reshape(shape).astype(bool)
        np.testing.assert_array_equal(loss_mask(annotations, *shape), expected, err_msg=case["key"])


def test_labelled_people_count_and_no_people_leave_everything() -> None:
    assert loss_mask([person(num_keypoints=3)], 12, 10).all()
    assert loss_mask([], 12, 10).all()


def test_a_crowd_is_left_out_even_with_keypoints() -> None:
    assert not loss_mask([person(iscrowd=1, num_keypoints=5)], 12, 10).all()


def test_unlabelled_people_are_told_by_their_keypoints_where_no_number_stands() -> None:
    unlabelled = person(keypoints=[0] * 51)
    labelled = person(keypoints=[5, 5, 2, *[0] * 48])
    for annotation in (unlabelled, labelled):
        del annotation["num_keypoints"]
    np.testing.assert_array_equal(loss_mask([unlabelled], 12, 10), left_out() == 0)
    assert loss_mask([labelled], 12, 10).all()


def test_every_form_of_region_leaves_out_the_same_pixels() -> None:
    compressed = rle.encode(np.asfortranarray(left_out()))
    runs, value, columns = [0], 0, left_out().T.ravel()
    for pixel in columns:
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    forms = [
        {"segmentation": CORNERS},
        {"segmentation": compressed},
        {"segmentation": {"size": [12, 10], "counts": compressed["counts"].decode()}},
        {"segmentation": {"size": [12, 10], "counts": runs}},
        {"segmentation": [], "bbox": BOX},
    ]
    for form in forms:
        np.testing.assert_array_equal(loss_mask([person(**form)], 12, 10), left_out() == 0, err_msg=str(form))


def test_a_region_over_the_border_is_cut_there() -> None:
    mask = loss_mask([person(segmentation=None, bbox=[-5.0, -5.0, 8.0, 7.0])], 12, 10)
    assert not mask[:2, :3].any()
    assert mask.sum() == 120 - 6


def test_a_region_without_any_form_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="annotation 1 of image 9 has neither segmentation nor bbox"):
        loss_mask([person(segmentation=None, bbox=None)], 12, 10)


def test_run_lengths_of_another_image_are_refused() -> None:
    with pytest.raises(ValueError, match=r"size \[10, 12\], its image \[12, 10\]"):
        loss_mask([person(segmentation={"size": [10, 12], "counts": [120]})], 12, 10)
