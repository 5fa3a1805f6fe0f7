import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle

from lhrnet.losses.loss_mask import loss_mask
from pipeline.sharding.annotations import faults, parse


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
        (lambda t: {**t, "categories": [{"id": 1, "name": "person"}]}, "no category that lists keypoints"),
        (lambda t: {**t, "categories": [{"keypoints": 5}]}, "id None; it must be a number"),
        (lambda t: {**t, "images": [{"id": 1}]}, "file_name"),
        (lambda t: {**t, "images": [{**t["images"][0], "id": float("inf")}]}, "has id inf, which is no whole number"),
        (lambda t: {**t, "annotations": [{"id": 1}]}, "image_id"),
        (lambda t: {**t, "images": [{**t["images"][0], "id": 1.5}]}, "1.5, which is no whole number"),
        (lambda t: {**t, "annotations": [{**t["annotations"][0], "image_id": 1.5}]}, "1.5, which is no whole number"),
    ],
)
def test_a_file_that_is_not_coco_keypoints_is_refused(tree: dict[str, Any], damage: Any, word: str) -> None:
    with pytest.raises(ValueError, match=rf"x\.json.*{word}"):
        read(damage(tree))


def test_a_file_that_is_not_json_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x\.json is not JSON"):
        parse(b"{", "x.json", labelled=True)
    with pytest.raises(ValueError, match=r"x\.json is not JSON"):
        parse(b"[" * 100_000, "x.json", labelled=True)


def _labelled(tree: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(a for a in tree["annotations"] if a["num_keypoints"] > 2)
    return found


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda a: a["keypoints"].pop(), "17 keypoints of three numbers"),
        (lambda a: a.update(keypoints=["a"] * 51), "17 keypoints of three numbers"),
        (lambda a: a.update(bbox=[1, 2]), "bbox"),
        (lambda a: a.update(bbox=[1, 2, float("nan"), 4]), "bbox"),
        (lambda a: a.update(area=None), "area"),
        (lambda a: a.update(iscrowd="no"), "iscrowd 'no'"),
        (lambda a: a.update(keypoints=[*a["keypoints"][:-3], float("nan"), 0, 0]), "17 keypoints of three numbers"),
        (lambda a: a.update(num_keypoints=99), "says 99 keypoints"),
        (lambda a: a.update(num_keypoints="many"), "says 'many' keypoints"),
        (lambda a: a.update(category_id=2), "category_id 2 where people have 1"),
        (lambda a: a.update(category_id=1.5), "category_id 1.5 where people have 1"),
        (lambda a: a.pop("category_id"), "category_id None where people have 1"),
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


@pytest.mark.parametrize("form", [float, str])
def test_whole_numbers_are_kept_as_such_however_they_are_written(tree: dict[str, Any], form: type) -> None:
    expected = read(tree)
    for annotation in tree["annotations"]:
        for key in ("id", "image_id", "category_id", "iscrowd", "num_keypoints"):
            annotation[key] = form(annotation[key])
    for image in tree["images"]:
        for key in ("id", "width", "height"):
            image[key] = form(image[key])
    assert repr(read(tree).records) == repr(expected.records)
    assert [fault for record in read(tree).records for fault in faults(record)] == []


def test_ids_that_differ_only_in_how_they_are_written_are_the_same(tree: dict[str, Any]) -> None:
    one = tree["annotations"][0]
    tree["annotations"] += [{**one, "id": str(one["id"])}, {**one, "id": "77"}, {**one, "id": 77}]
    (problem,) = read(tree).problems
    assert problem[0] == one["image_id"]
    assert problem[2] == f"annotation id {min(one['id'], 77)} is used twice"


def test_other_things_than_people_may_be_annotated(tree: dict[str, Any]) -> None:
    one = tree["annotations"][0]
    car = {key: one[key] for key in ("image_id", "bbox", "area", "iscrowd")} | {"id": 77, "category_id": 3}
    file = read({**tree, "annotations": [*tree["annotations"], car]})
    assert [fault for record in file.records for fault in faults(record)] == []


def test_a_file_name_that_no_file_can_have_is_its_images_problem(tree: dict[str, Any]) -> None:
    tree["images"][0]["file_name"] = "\ud800.jpg"
    file = read(tree)
    assert file.problems == ((tree["images"][0]["id"], "\\ud800.jpg", "its file name holds half a character"),)
    assert len(file.records) == len(tree["images"]) - 1


def test_annotations_of_no_image_are_reported(tree: dict[str, Any]) -> None:
    tree["annotations"][0]["image_id"] = 77
    assert [(p[0], p[2]) for p in read(tree).problems] == [(77, "1 annotations of an image that is not listed")]


SIDE = 96


@pytest.mark.parametrize(
    ("shape", "word"),
    [
        ([[1, 2]], "outline has 1 points"),
        ([[]], "pairs of numbers"),
        ([[1, 2, 3, 4, 5, 6, 7]], "pairs of numbers"),
        ([["a"] * 6], "pairs of numbers"),
        ([[float("nan")] * 6], "pairs of numbers"),
        ([[1e9, 1e9, -1e9, 0, 3, 4]], "pairs of numbers"),
        ([1, 2, 3, 4, 5, 6], "pairs of numbers"),
        ("abc", "neither outlines nor run lengths"),
        (5, "neither outlines nor run lengths"),
        ({"counts": [1]}, "neither outlines nor run lengths"),
        ({"size": [SIDE, SIDE]}, "neither outlines nor run lengths"),
        ({"size": [SIDE, 5], "counts": [SIDE * 5]}, "of size"),
        ({"size": [96.0, 96.0], "counts": [SIDE**2]}, "of size"),
        ({"size": [SIDE, SIDE], "counts": [-5, SIDE**2 + 5]}, "do not sum"),
        ({"size": [SIDE, SIDE], "counts": [10**12]}, "do not sum"),
        ({"size": [SIDE, SIDE], "counts": ["a"]}, "do not sum"),
        ({"size": [SIDE, SIDE], "counts": 7}, "do not sum"),
        ({"size": [SIDE, SIDE], "counts": "0"}, "do not sum"),
        ({"size": [SIDE, SIDE], "counts": "o" * 12}, "do not sum"),
        ({"size": [SIDE, SIDE], "counts": "PP\u00e9"}, "do not sum"),
    ],
)
def test_a_segmentation_that_pycocotools_cannot_read_is_a_fault(tree: dict[str, Any], shape: Any, word: str) -> None:
    crowd = {**_labelled(tree), "iscrowd": 1, "segmentation": shape}
    (record,) = read({**tree, "images": [_image(tree, crowd)], "annotations": [crowd]}).records
    (fault,) = faults(record)
    assert word in fault


@pytest.mark.parametrize("seed", range(4))
def test_run_lengths_are_taken_compressed_or_not(tree: dict[str, Any], seed: int) -> None:
    region = np.random.default_rng(seed).random((SIDE, SIDE)) < (0.01, 0.3, 0.9, 0)[seed]
    packed = rle.encode(np.asfortranarray(region, np.uint8))
    crowd = {**_labelled(tree), "iscrowd": 1}
    crowd["segmentation"] = {"size": packed["size"], "counts": packed["counts"].decode()}
    (record,) = read({**tree, "images": [_image(tree, crowd)], "annotations": [crowd]}).records
    assert list(faults(record)) == []
    assert np.array_equal(~loss_mask(record.annotations, SIDE, SIDE), region)
    crowd["segmentation"]["counts"] = crowd["segmentation"]["counts"][:-1]
    (record,) = read({**tree, "images": [_image(tree, crowd)], "annotations": [crowd]}).records
    assert len(list(faults(record))) == 1


def _image(tree: dict[str, Any], annotation: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(image for image in tree["images"] if image["id"] == annotation["image_id"])
    return {**found, "width": SIDE, "height": SIDE}


@pytest.mark.parametrize(("image_id", "good"), [(0, True), (2**63 - 1, True), (-1, False), (2**63, False)])
def test_an_id_that_training_cannot_hold_is_a_fault(tree: dict[str, Any], image_id: int, good: bool) -> None:
    (record,) = read({**tree, "images": [{**tree["images"][0], "id": image_id}], "annotations": []}).records
    assert list(faults(record)) == ([] if good else ["its id is not between 0 and 2**63 - 1"])


def test_annotations_of_other_categories_are_left_away_and_counted(
    tree: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    before = read(tree)
    image = tree["images"][0]
    tree["categories"].append({"id": 2, "name": "court"})
    court = {
        "id": 10**6,
        "image_id": image["id"],
        "category_id": 2,
        "iscrowd": 0,
        "area": 100.0,
        "bbox": [0, 0, 10, 10],
    }
    whole = [[0, 0, image["width"], 0, image["width"], image["height"], 0, image["height"]]]
    tree["annotations"].append({**court, "segmentation": whole})
    after = read(tree)
    assert after.records == before.records
    assert after.problems == ()
    assert "1 of category 2 ('court')" in caplog.text


@pytest.mark.parametrize("change", [{"iscrowd": None}, {"iscrowd": False}, {"keypoints": [], "num_keypoints": 0}])
def test_what_an_exporter_leaves_empty_is_absent(tree: dict[str, Any], change: dict[str, Any]) -> None:
    changed = tree["annotations"][0] | change
    tree["annotations"][0] = changed
    found = read(tree)
    assert found.problems == ()
    assert [fault for record in found.records for fault in faults(record)] == []


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("images", {"id": "img_1"}, r"images\[0\] has id 'img_1', which is no whole number: every image has"),
        ("images", {"id": None}, r"images\[0\] has id None: every image has a whole number"),
        ("images", {"id": []}, r"images\[0\] has id \[\], which is no whole number"),
        ("images", {"width": None}, r"images\[0\] \(id \d+\) has width None: give the picture's width in pixels"),
        ("images", {"height": ...}, r"images\[0\] \(id \d+\) has no height: give the picture's height"),
        ("images", {"height": "9" * 5000}, r"has height '9{2,40}\.\.\.9+', which is no whole number: give"),
        ("images", {"file_name": ...}, r"\(id \d+\) has no file_name: name the picture's file.*coco_url are not read"),
        ("images", {"file_name": ["a"]}, r"\(id \d+\) has file_name \['a'\], which is no name"),
        ("annotations", {"id": ...}, r"annotations\[0\] has no id: every annotation has a whole number"),
        ("annotations", {"image_id": "\x1b[2J"}, r"\(id \d+\) has image_id '\\x1b\[2J', which is no whole number"),
    ],
)
def test_a_missing_or_wrong_field_is_named_with_its_place_its_value_and_what_to_do(
    tree: dict[str, Any], kind: str, change: dict[str, Any], said: str
) -> None:
    entry = tree[kind][0] | change
    tree[kind][0] = {key: value for key, value in entry.items() if value is not ...}
    with pytest.raises(ValueError, match=rf"^x\.json: .*{said}") as told:
        read(tree)
    assert len(str(told.value)) < 250


@pytest.mark.parametrize("kind", ["images", "annotations"])
@pytest.mark.parametrize("entry", [[1], "text", 5, None])
def test_an_entry_that_is_no_object_is_named(tree: dict[str, Any], kind: str, entry: Any) -> None:
    tree[kind].insert(1, entry)
    with pytest.raises(ValueError, match=rf"x\.json: {kind}\[1\] is .*each is an object"):
        read(tree)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.pop("area"), "has no area"),
        (lambda a: a.pop("bbox"), "has no bbox"),
        (
            lambda a: a.update(bbox=[1, 2, None, 4], area="9"),
            "has bbox [1, 2, None, 4] where four numbers are wanted and",
        ),
        (lambda a: a["keypoints"].pop(), "keypoints has 50 numbers of 51"),
        (lambda a: a.update(keypoints=[*a["keypoints"][:-3], float("nan"), 0, 0]), "keypoints[48] is nan"),
    ],
)
def test_of_several_things_wanted_the_one_that_is_missing_is_named(
    tree: dict[str, Any], change: Any, said: str
) -> None:
    annotation = _labelled(tree)
    change(annotation)
    record = next(r for r in read(tree).records if r.image_id == annotation["image_id"])
    assert said in next(faults(record))
