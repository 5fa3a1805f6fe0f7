import copy
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.annotations import faults, parse


@pytest.fixture(scope="session")
def _tree(drawn_coco: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((drawn_coco / "annotations" / "person_keypoints_val2017.json").read_text())
    return loaded


@pytest.fixture
def tree(_tree: dict[str, Any]) -> dict[str, Any]:
    return copy.deepcopy(_tree)


def read(tree: Any, labelled: bool = True) -> Any:
    return parse(json.dumps(tree).encode(), "x.json", labelled=labelled)


def test_real_annotations_have_no_faults(coco_mini: Path) -> None:
    for path in sorted((coco_mini / "annotations").glob("person_keypoints*.json")):
        file = parse(path.read_bytes(), path.name, labelled=True)
        tree = json.loads(path.read_text())
        assert file.problems == ()
        assert [fault for record in file.records for fault in faults(record)] == []
        assert [record.image_id for record in file.records] == sorted(image["id"] for image in tree["images"])
        assert sum(len(record.annotations) for record in file.records) == len(tree["annotations"])


def test_segmentations_travel_only_as_far_as_the_ignore_mask(coco_mini: Path) -> None:
    file = parse((coco_mini / "annotations" / "person_keypoints_train2017.json").read_bytes(), "train", labelled=True)
    annotations = [a for record in file.records for a in record.annotations]
    assert {bool(a["iscrowd"] or not a["num_keypoints"]) for a in annotations if "segmentation" in a} == {True}
    assert sum("segmentation" in a for a in annotations) > 50
    assert not any("segmentation" in a for record in file.records for a in record.kept())


def test_test_dev_needs_only_images(tree: dict[str, Any]) -> None:
    file = read({"images": tree["images"]}, labelled=False)
    assert len(file.records) == 20
    assert {record.annotations for record in file.records} == {()}


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda t: [], "no list 'images'"),
        (lambda t: {**t, "images": {}}, "no list 'images'"),
        (lambda t: {k: v for k, v in t.items() if k != "annotations"}, "no list 'annotations'"),
        (lambda t: {**t, "images": []}, "lists no images"),
        (lambda t: {**t, "categories": [{"id": 1, "name": "person"}]}, "17 keypoints"),
        (lambda t: {**t, "images": [{"id": 1}]}, "file_name"),
        (lambda t: {**t, "annotations": [{"id": 1}]}, "image_id"),
    ],
)
def test_a_file_that_is_not_coco_keypoints_is_refused(tree: dict[str, Any], damage: Any, word: str) -> None:
    with pytest.raises(ValueError, match=rf"x\.json.*{word}"):
        read(damage(tree))


def test_a_file_that_is_not_json_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x\.json is not JSON"):
        parse(b"{", "x.json", labelled=True)


def _labelled(tree: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(a for a in tree["annotations"] if a["num_keypoints"] > 2)
    return found


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a["keypoints"].pop(), "17 keypoints of three numbers"),
        (lambda a: a.update(keypoints=["a"] * 51), "17 keypoints of three numbers"),
        (lambda a: a.update(bbox=[1, 2]), "bbox"),
        (lambda a: a.update(area=None), "area"),
        (lambda a: a.update(num_keypoints=99), "says 99 keypoints"),
        (lambda a: a.update(keypoints=[-1.0, 5.0, 2] + [0] * 48, num_keypoints=1), "outside the image"),
        (lambda a: a.update(keypoints=[5.0, 97.0, 1] + [0] * 48, num_keypoints=1), "outside the image"),
        (lambda a: a.update(keypoints=[5.0, 5.0, 3] + [0] * 48, num_keypoints=1), "visibility"),
    ],
)
def test_a_fault_in_an_annotation_is_named(tree: dict[str, Any], change: Any, word: str) -> None:
    annotation = _labelled(tree)
    change(annotation)
    record = next(r for r in read(tree).records if r.image_id == annotation["image_id"])
    found = list(faults(record))
    assert len(found) == 1
    assert f"annotation {annotation['id']}" in found[0]
    assert word in found[0]


def test_ids_that_occur_twice_are_left_out_and_named(tree: dict[str, Any]) -> None:
    tree["images"].append(dict(tree["images"][0]))
    a, b = tree["annotations"][-2:]
    b["id"] = a["id"]
    file = read(tree)
    reasons = {problem[0]: problem[2] for problem in file.problems}
    assert "image id is listed twice" in reasons[tree["images"][0]["id"]]
    assert "used twice" in reasons[b["image_id"]]
    assert {record.image_id for record in file.records}.isdisjoint(reasons)


def test_annotations_of_no_image_are_reported(tree: dict[str, Any]) -> None:
    tree["annotations"][0]["image_id"] = 77
    assert [(p[0], p[2]) for p in read(tree).problems] == [(77, "1 annotations of an image that is not listed")]
