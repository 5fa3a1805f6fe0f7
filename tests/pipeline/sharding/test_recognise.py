import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lhrnet.skeleton import COCO, SKELETONS
from pipeline.sharding.formats.recognise import Found, recognise
from pipeline.sharding.imported import write
from pipeline.sharding.source import locate
from pipeline.storage import store
from tests.pipeline.sharding import exports
from tests.pipeline.sharding.exports import HORSE, Shot, shots

NAMES = [f"film{film}_frame_{frame:04d}.jpg" for film in range(6) for frame in range(4)]
FLIP = "flip_idx: [0, 2, 1, 3, 4]"


def annotated(found: Found, split: str) -> dict[str, np.ndarray[Any, Any]]:
    """The points of each image's one annotation, by the last part of its file name."""
    tree = found.splits[split]
    names = {image["id"]: image["file_name"].rsplit("/", 1)[-1] for image in tree["images"]}
    assert len(tree["annotations"]) == len(names)
    return {names[a["image_id"]]: np.array(a["keypoints"]).reshape(-1, 3) for a in tree["annotations"]}


def assert_taken(found: Found, split: str, taken: Sequence[Shot], atol: float = 0.0) -> None:
    points = annotated(found, split)
    assert set(points) == {shot.name for shot in taken}
    for shot in taken:
        np.testing.assert_allclose(points[shot.name], shot.points, atol=atol)
    assert all(found.files.members[image["file_name"]].size for image in found.splits[split]["images"])


def test_an_export_of_cvat_is_read_and_cut_by_film(tmp_path: Path) -> None:
    taken = shots(NAMES)
    found = recognise(str(exports.cvat(tmp_path / "export", taken)))
    assert found.skeleton.keypoints == HORSE
    assert found.skeleton.flip == (0, 2, 1, 3, 4)
    assert set(found.splits) == {"train", "val"}
    films = [{name.split("_")[0] for name in annotated(found, split)} for split in ("train", "val")]
    assert not films[0] & films[1]
    assert len(found.splits["val"]["images"]) == 4
    together = annotated(found, "train") | annotated(found, "val")
    for shot in taken:
        np.testing.assert_array_equal(together[shot.name], shot.points)
    told = "\n".join(found.notes)
    for word in ("annotations of category 'saddle' are left away", "flip pairs", "sigmas are estimated", "cut by film"):
        assert word in told


def test_the_same_export_as_a_zip_is_read_without_unpacking(tmp_path: Path) -> None:
    root = exports.cvat(tmp_path / "export", shots(NAMES))
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        for path in root.rglob("*.*"):
            archive.write(path, path.relative_to(root))
    before = sorted(tmp_path.rglob("*"))
    found = recognise(str(tmp_path / "export.zip"))
    assert found.splits == recognise(str(root)).splits
    assert sorted(tmp_path.rglob("*")) == before
    name = found.splits["val"]["images"][0]["file_name"]
    assert found.files.members[name].read() == (root / name).read_bytes()


def test_sets_of_roboflow_keep_their_names_and_get_ids_of_their_own(tmp_path: Path) -> None:
    sets = {
        "train": shots(["a_jpg.rf.1f.jpg", "b_jpg.rf.2e.jpg"]),
        "valid": shots(["c.jpg"], seed=1),
        "test": shots(["a.jpg"]),
    }
    found = recognise(str(exports.roboflow(tmp_path / "horses", sets)))
    assert set(found.splits) == set(sets)
    for split, taken in sets.items():
        assert_taken(found, split, taken)
    ids = [image["id"] for tree in found.splits.values() for image in tree["images"]]
    assert len(set(ids)) == 4
    assert any("numbered anew" in note for note in found.notes)


def test_an_export_of_label_studio_has_its_pictures_found_and_its_boxes_made(tmp_path: Path) -> None:
    taken = shots(["a.jpg", "b.jpg"])
    found = recognise(str(exports.label_studio(tmp_path / "export", taken)), val=0)
    assert_taken(found, "all", taken)
    for annotation, shot in zip(found.splits["all"]["annotations"], taken, strict=True):
        x, y, wide, high = shot.box
        np.testing.assert_allclose(annotation["bbox"], [x + 3, y + 3, wide - 6, high - 6])
        assert annotation["area"] == pytest.approx(0.53 * annotation["bbox"][2] * annotation["bbox"][3], abs=0.01)
        assert annotation["iscrowd"] == 0
    assert "2 boxes are missing: those around the labelled keypoints are taken" in found.notes


def test_an_export_of_fiftyone_has_its_nan_points_not_labelled(tmp_path: Path) -> None:
    taken = shots(["a.jpg", "b.jpg", "c.jpg"])
    found = recognise(str(exports.fiftyone(tmp_path / "export", taken)), val=0)
    points = annotated(found, "all")
    np.testing.assert_array_equal(points["a.jpg"][0], [0, 0, 0])
    np.testing.assert_array_equal(points["a.jpg"][1:], taken[0].points[1:])
    assert found.splits["all"]["annotations"][0]["num_keypoints"] == 4


def test_an_export_of_coco_annotator_is_read(tmp_path: Path) -> None:
    taken = shots(["a.jpg", "b.jpg"])
    found = recognise(str(exports.coco_annotator(tmp_path / "export", taken)), val=0)
    assert_taken(found, "all", taken)
    assert {a["category_id"] for a in found.splits["all"]["annotations"]} == {1}


@pytest.mark.parametrize(
    ("settings", "pattern"),
    [
        ("path: ../datasets/horses\ntrain: images/train\nval: images/val", "{kind}/{set}"),
        ("train: ../train/images\nval: ../val/images", "{set}/{kind}"),
        ("path: /content/drive/horses\ntrain: [train/images]\nval: val/images\ntest:", "{set}/{kind}"),
    ],
    ids=["below path", "Roboflow's ..", "another machine's"],
)
def test_folders_of_yolo_are_read_however_data_yaml_writes_paths(tmp_path: Path, settings: str, pattern: str) -> None:
    sets = {"train": shots(["a.jpg", "b.png"]), "val": shots(["c.jpg"], seed=1)}
    text = f"{settings}\nkpt_shape: [5, 3]\n{FLIP}\nnames: [horse]\n"
    found = recognise(str(exports.yolo(tmp_path / "set", sets, text, pattern=pattern)))
    for split, taken in sets.items():
        assert_taken(found, split, taken, atol=1e-3)
    assert found.skeleton.flip == (0, 2, 1, 3, 4)
    assert found.skeleton.keypoints == tuple(f"point_{k}" for k in range(1, 6))
    assert found.skeleton.category == "horse"
    assert any("data.yaml names no keypoints" in note for note in found.notes)


def test_labels_of_yolo_without_visibility_and_a_list_of_images_are_read(tmp_path: Path) -> None:
    taken = shots(["a.jpg", "b.jpg"])
    text = f"train: train.txt\nkpt_shape: [5, 2]\nnames: {{0: horse}}\nkpt_names: {{0: {list(HORSE)}}}\n"
    root = exports.yolo(tmp_path / "set", {"all": taken}, text, numbers=2)
    (root / "train.txt").write_text("./images/all/a.jpg\n./images/all/b.jpg\n")
    label = root / "labels" / "all" / "a.txt"
    words = label.read_text().split()
    label.write_text(" ".join([*words[:5], "0", "0", *words[7:]]))
    found = recognise(str(root), val=0)
    assert found.skeleton.keypoints == HORSE
    points = annotated(found, "train")
    np.testing.assert_array_equal(points["a.jpg"][0], [0, 0, 0])
    np.testing.assert_allclose(points["b.jpg"][:, :2], taken[1].points[:, :2], atol=1e-3)
    assert (points["b.jpg"][:, 2] == 2).all()


def test_seventeen_points_of_yolo_are_taken_for_cocos_aloud(tmp_path: Path) -> None:
    text = f"train: images\nkpt_shape: [17, 3]\nflip_idx: {list(COCO.flip)}\nnames: [person]\n"
    root = exports.yolo(tmp_path / "set", {"": shots(["a.jpg", "b.jpg"], 17)}, text, pattern="{kind}")
    found = recognise(str(root), val=0.5)
    assert found.skeleton == COCO
    assert any("taken for COCO's" in note for note in found.notes)


def test_the_flag_of_leeds_sports_pose_means_hidden_in_one_set_and_labelled_in_the_other(tmp_path: Path) -> None:
    taken = shots(["1", "2", "3"], 14)
    original = recognise(str(exports.lsp(tmp_path / "lsp", taken, extended=False)), val=0)
    extended = recognise(str(exports.lsp(tmp_path / "lspet", taken, extended=True)), val=0)
    assert original.skeleton == extended.skeleton == SKELETONS["lsp"]
    for number, shot in enumerate(taken, 1):
        np.testing.assert_allclose(annotated(original, "all")[f"im{number:04d}.jpg"], shot.points)
        unlabelled = np.where(shot.points[:, 2:] == 1, 0, shot.points)
        np.testing.assert_allclose(annotated(extended, "all")[f"im{number:05d}.jpg"], unlabelled)
    assert any("the flag means hidden" in note for note in original.notes)
    assert any("the flag means labelled" in note for note in extended.notes)


def test_crowdpose_keeps_its_crowd_index_and_leaves_trainval_away(tmp_path: Path) -> None:
    skeleton = SKELETONS["crowdpose"]
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(skeleton.keypoints),
        "skeleton": [],
    }
    sets = {"train": shots(["100.jpg", "101.jpg"], 14), "val": shots(["102.jpg"], 14, seed=1)}
    sets["trainval"] = [*sets["train"], *sets["val"]]
    for split, taken in sets.items():
        tree = exports.tree(taken, [category])
        for image in tree["images"]:
            image |= {"id": int(image["file_name"][:3]), "crowdIndex": 0.25}
        for annotation, image in zip(tree["annotations"], tree["images"], strict=True):
            annotation["image_id"] = image["id"]
            del annotation["area"]
        exports.put(tmp_path / "crowdpose" / "json" / f"crowdpose_{split}.json", tree)
    for shot in sets["trainval"]:
        exports.draw(tmp_path / "crowdpose" / "images" / shot.name, shot)
    found = recognise(str(tmp_path / "crowdpose"))
    assert found.skeleton == skeleton
    assert set(found.splits) == {"train", "val"}
    assert [image["id"] for image in found.splits["train"]["images"]] == [100, 101]
    assert [image["crowdIndex"] for image in found.splits["train"]["images"]] == [0.25, 0.25]
    assert any("'trainval' is left away" in note for note in found.notes)


def test_parts_of_coco_wholebody_are_joined_and_those_not_valid_left_unlabelled(tmp_path: Path) -> None:
    (shot,) = shots(["000000000139.jpg"], 133)
    tree = exports.tree([shot], [exports.person()])
    flat = shot.points.ravel().tolist()
    parts = {"foot": (17, 23), "face": (23, 91), "lefthand": (91, 112), "righthand": (112, 133)}
    tree["annotations"][0] |= {
        "keypoints": flat[:51],
        **{f"{part}_kpts": flat[3 * a : 3 * b] for part, (a, b) in parts.items()},
        **{f"{part}_valid": part != "lefthand" for part in parts},
    }
    exports.put(tmp_path / "annotations" / "coco_wholebody_val_v1.0.json", tree)
    exports.draw(tmp_path / "val2017" / shot.name, shot)
    found = recognise(str(tmp_path))
    assert found.skeleton == SKELETONS["coco-wholebody"]
    points = annotated(found, "val")[shot.name]
    expected = shot.points.copy()
    expected[91:112] = 0
    np.testing.assert_array_equal(points, expected)


def test_cocos_own_layout_is_read_too(drawn_coco: Path) -> None:
    found = recognise(str(drawn_coco))
    assert found.skeleton == COCO
    for split in ("train2017", "val2017"):
        own = json.loads((drawn_coco / "annotations" / f"person_keypoints_{split}.json").read_text())
        assert [i["id"] for i in found.splits[split]["images"]] == [i["id"] for i in own["images"]]
        ours, theirs = ({a["id"]: a for a in t["annotations"]} for t in (found.splits[split], own))
        assert ours.keys() == theirs.keys()
        assert all(ours[key]["area"] == theirs[key]["area"] for key in ours)
        assert all(ours[key]["keypoints"] == theirs[key]["keypoints"] for key in ours)


def test_the_cut_is_a_function_of_names_and_seed(tmp_path: Path) -> None:
    root = exports.cvat(tmp_path / "export", shots([f"{n:04d}.jpg" for n in range(40)]))
    one, again, other = (recognise(str(root), seed=seed, val=0.25) for seed in (0, 0, 1))
    assert one.splits == again.splits
    assert len(one.splits["val"]["images"]) == 10
    assert annotated(one, "val").keys() != annotated(other, "val").keys()
    assert not annotated(one, "val").keys() & annotated(one, "train").keys()


@pytest.mark.parametrize("chosen", ["annotations/person_keypoints_default.json", "labels.json"])
def test_one_annotation_file_of_several_is_chosen_by_its_path(tmp_path: Path, chosen: str) -> None:
    taken = shots(["a.jpg", "b.jpg"])
    root = exports.cvat(tmp_path / "export", taken)
    exports.put(root / "labels.json", exports.tree(taken[:1], [exports.horse()]))
    found = recognise(str(root / chosen), val=0)
    assert_taken(found, "all", taken if "/" in chosen else taken[:1])


@pytest.mark.stack
def test_a_prefix_in_s3_is_taken_in_as_a_folder_is(tmp_path: Path, s3: str) -> None:
    root = exports.cvat(tmp_path / "export", shots(["a.jpg", "b.jpg", "c.jpg"]))
    for path in root.rglob("*.*"):
        store.put_file(path, store.join(s3, "export", path.relative_to(root).as_posix()))
    found = recognise(f"{s3}/export")
    assert found.splits == recognise(str(root)).splits
    write(found, f"{s3}/taken")
    files = locate(f"{s3}/taken", "val")
    (image,) = found.splits["val"]["images"]
    assert files.images[image["file_name"]].read() == (root / image["file_name"]).read_bytes()
    with pytest.raises(ValueError, match="lies within"):
        write(found, f"{s3}/export/taken")
