"""A ground truth of another form than COCO's is one line, before anything is compared with it."""

import copy
from typing import Any

import pytest

from pipeline.data.truth_tree import check_truth

TREE: dict[str, Any] = {
    "images": [{"id": 5, "file_name": "5.jpg", "width": 64, "height": 48}],
    "annotations": [
        {"id": 1, "image_id": 5, "category_id": 1, "iscrowd": 0, "num_keypoints": 1, "area": 9.5,
         "bbox": [1, 1, 3, 3.5], "keypoints": [5, 5, 2, *[0] * 48]}
    ],
    "categories": [{"id": 1, "name": "person"}],
}  # fmt: skip


def test_a_ground_truth_passes_as_it_is() -> None:
    assert check_truth(copy.deepcopy(TREE)) == TREE
    assert check_truth({"images": [], "annotations": [], "categories": []})["images"] == []


@pytest.mark.parametrize("value", [None, "x", [], {}, [[]], float("nan"), "1" * 5000])
@pytest.mark.parametrize(
    "key", ["id", "image_id", "category_id", "iscrowd", "num_keypoints", "area", "bbox", "keypoints"]
)
def test_a_wrong_value_in_an_annotation_is_named(key: str, value: Any) -> None:
    tree = copy.deepcopy(TREE)
    tree["annotations"].append({**tree["annotations"][0], key: value})
    with pytest.raises(ValueError, match=rf"^annotations\[1\] has no .*{key}"):
        check_truth(tree)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"images": 5}, "its images are no list"),
        ({"images": [5]}, "its images are no list of objects"),
        ({"images": [{"id": [1], "width": 1, "height": 1}]}, r"images\[0\] has no whole number as id"),
        ({"images": [{"id": 1, "width": 1}]}, r"images\[0\] has no whole number as id, width or height"),
        ({"annotations": None}, "its annotations are no list"),
        ({"categories": "person"}, "its categories are no list"),
    ],
)
def test_a_wrong_list_is_named(change: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        check_truth(TREE | change)
    with pytest.raises(ValueError, match="it holds a list"):
        check_truth([TREE])


@pytest.mark.parametrize(
    "values", [[1e308] * 4, [float("inf"), 0, 0, 0], [1, 2, None, 4], [1, 2, "3", 4], [2**2000, 0, 0, 0]]
)
def test_boxes_are_finite_numbers(values: list[Any]) -> None:
    tree = copy.deepcopy(TREE)
    tree["annotations"][0]["bbox"] = values
    with pytest.raises(ValueError, match="four numbers as bbox"):
        check_truth(tree)
