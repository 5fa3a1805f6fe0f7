"""What is wrong with a data set is said in one line that names the place, the value and what to do."""

import io
import json
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from lhrnet.coco import KEYPOINTS
from pipeline.sharding.formats.recognise import recognise
from pipeline.sharding.imported import write
from pipeline.sharding.plan import make_plans
from pipeline.sharding.write import write_split
from tests.pipeline.sharding import exports
from tests.pipeline.sharding.exports import shots

YAML = "train: images/train\nval: images/val\nkpt_shape: [5, 3]\nflip_idx: [0, 2, 1, 3, 4]\nnames: [horse]\n"


def refused(source: Path, **options: Any) -> str:
    """The one line by which a source is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        recognise(str(source), **options)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 600
    return said


@pytest.fixture
def yolo(tmp_path: Path) -> Callable[[str], Path]:
    def yolo(settings: str) -> Path:
        sets = {"train": shots(["a.jpg", "b.jpg"]), "val": shots(["c.jpg"])}
        return exports.yolo(tmp_path / "set", sets, settings)

    return yolo


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("[5, 3]", "[6, 3]", "flip_idx is [0, 2, 1, 3, 4]; it must name for each of the 6 keypoints"),
        ("[5, 3]\nflip_idx: [0, 2, 1, 3, 4]", "[6, 3]", "line 1 has 20 numbers; kpt_shape [6, 3] makes 23"),
        ("[5, 3]", "[5, 4]", "kpt_shape is [5, 4]; it must be [keypoints, 2] or [keypoints, 3]"),
        ("[5, 3]", "[0, 3]", "kpt_shape is [0, 3]"),
        ("[5, 3]", "[1000000000, 3]", "of 1 to 256"),
        ("[5, 3]", "5", "kpt_shape is 5"),
        ("[0, 2, 1, 3, 4]", "[1, 2, 0, 3, 4]", "that one must name it in turn"),
        ("[0, 2, 1, 3, 4]", "[0, 2, 1, 3, 9]", "flip_idx is [0, 2, 1, 3, 9]"),
        ("[0, 2, 1, 3, 4]", "[0, 2, 1]", "flip_idx is [0, 2, 1]"),
        ("names: [horse]", "names: 3", "names is 3; it must list the classes"),
        ("names: [horse]", "names: {1: horse}", "is of class 0; data.yaml names 1"),
        ("names: [horse]", "names: [a, b]", "categories with keypoints are 'a', 'b'; choose one with --category NAME"),
        ("names: [horse]", "names: [horse]\nkpt_names: {0: [a, b]}", "there must be 5, as in kpt_shape"),
        ("names: [horse]", "names: [horse]\nkpt_names: [a, a, c, d, e]", "the keypoint 'a' twice"),
        ("images/train", "../../../etc", "holds no images there"),
        ("images/train", "{a: 1}", "train is {'a': 1}"),
        ("images/train", "images/val", ""),
        ("names: [horse]", "names: &a [horse]\nother: *a", "is not YAML: *a is an alias"),
    ],
)
def test_a_data_yaml_that_contradicts_itself_or_its_labels(
    yolo: Callable[[str], Path], old: str, new: str, told: str
) -> None:
    root = yolo(YAML.replace(old, new))
    if told:
        assert told in refused(root)
    else:  # the same images named twice are one split, which is cut
        assert refused(root).startswith("1 images cannot be cut into train and val")


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (5, "1.2", "labels are shares of the image, from 0 to 1"),
        (5, "-0.1", "labels are shares of the image, from 0 to 1"),
        (5, "nan", "has a keypoint at nan"),
        (1, "37", "has the box 37.0"),
        (1, "nan", "has the box nan"),
        (0, "7", "is of class 7; data.yaml names 0"),
        (0, "horse", "holds what is no number"),
        (7, "3", "visibility 3.0; it must be 0, 1 or 2"),
    ],
)
def test_a_label_that_is_out_of_range_is_named_by_file_and_line(
    yolo: Callable[[str], Path], place: int, value: str, told: str
) -> None:
    root = yolo(YAML)
    label = root / "labels" / "train" / "b.txt"
    words = label.read_text().split()
    words[place] = value
    label.write_text("\n" + " ".join(words))
    said = refused(root)
    assert told in said
    assert "labels/train/b.txt, line 2" in said or "annotation 2" in said


def test_labels_that_are_nowhere_or_too_long_are_refused(yolo: Callable[[str], Path]) -> None:
    root = yolo(YAML)
    (root / "labels" / "train" / "a.txt").write_bytes(b"0 " * (3 << 20))
    assert "labels/train/a.txt" in refused(root)
    (root / "labels").rename(root / "other")
    assert "holds no labels of images/train/a.jpg" in refused(root)


def test_an_image_that_claims_to_be_vast_is_not_decoded(yolo: Callable[[str], Path]) -> None:
    root = yolo(YAML.replace("images/train", "images/vast"))
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(1 << 16)),
        b"IEND": b"",
    }
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    (root / "images" / "vast").mkdir()
    (root / "images" / "vast" / "a.png").write_bytes(png)
    said = refused(root)
    assert "images/vast/a.png" in said
    assert "pixels" in said


def coco(root: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """CVAT's export with a change."""
    exports.cvat(root, shots(["a.jpg", "b.jpg"]))
    path = root / "annotations" / "person_keypoints_default.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))
    return root


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t["categories"].append(exports.person(id=5)), "are 'horse', 'person'; choose one with --category"),
        (lambda t: t["categories"][0]["keypoints"].__setitem__(1, "nose"), "has the keypoint 'nose' twice"),
        (lambda t: t["categories"][0].update(flip_index=[1, 2, 0, 3, 4]), "that one must name it in turn"),
        (lambda t: t["categories"][0].update(sigmas=[0.1]), "has 1 sigmas for 5 keypoints"),
        (lambda t: t["annotations"][0]["keypoints"].pop(), "has 14 numbers under keypoints, its category 5"),
        (lambda t: t["annotations"][0].update(keypoints="x"), "has keypoints 'x'; they must be a list of numbers"),
        (lambda t: t["annotations"][0]["keypoints"].__setitem__(0, float("nan")), "a labelled keypoint at nan"),
        (lambda t: t["annotations"][0]["keypoints"].__setitem__(2, 7), "visibility 7; it must be 0, 1 or 2"),
        (lambda t: t["annotations"][0].update(bbox=[1, 2, float("inf"), 4]), "must be 4 finite numbers"),
        (lambda t: t["annotations"][0].update(bbox=["1", 2, 3, 4]), "must be 4 finite numbers"),
        (lambda t: t["annotations"][0].update(area="big"), "has area 'big'"),
        (lambda t: t["annotations"][0].update(image_id=[1]), "has the image_id [1]"),
        (lambda t: t["annotations"][0].update(face_kpts=7), "has keypoints ["),
        (lambda t: t["annotations"][0].update(category_id=[1]), None),
        (lambda t: t["images"][0].update(id=None), "'images/default/a.jpg' has the id None"),
        (lambda t: t["images"][0].update(id=2), "image id 2 is used twice"),
        (lambda t: t["images"][0].update(file_name=None), "has file_name None"),
        (lambda t: t.update(images=[]), "lists no images"),
        (lambda t: t.update(images=[3]), "images must hold objects"),
        (lambda t: [image.update(file_name="x/" + str(image["id"])) for image in t["images"]], "none of the 2 images"),
    ],
)
def test_annotations_that_are_damaged_are_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], told: str | None
) -> None:
    root = coco(tmp_path / "export", change)
    if told is None:
        assert recognise(str(root), val=0).splits["all"]["annotations"]
    else:
        assert told in refused(root, val=0)


def test_of_two_categories_with_keypoints_one_is_chosen_by_name_and_the_other_counted(tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["categories"].append(exports.person(id=5))
        tree["annotations"][1] |= {"category_id": 5, "keypoints": [10, 10, 2] * 17}

    root = coco(tmp_path / "export", change)
    found = recognise(str(root), category="person", val=0)
    assert found.skeleton.keypoints == KEYPOINTS
    assert [a["num_keypoints"] for a in found.splits["all"]["annotations"]] == [17]
    assert "1 annotations of category 'horse' are left away" in found.notes
    assert "those that have are 'horse', 'person'" in refused(root, category="cow")


def test_a_missing_image_is_told_and_left_out_of_the_shards(tmp_path: Path) -> None:
    def change(tree: dict[str, Any]) -> None:
        tree["categories"] = [exports.person()]
        tree["annotations"] = [
            {**a, "keypoints": [10, 10, 2] * 17} for a in tree["annotations"] if a["category_id"] == 1
        ]
        tree["images"][1]["file_name"] = "../../etc/gone.jpg"

    found = recognise(str(coco(tmp_path / "export", change)), val=0)
    assert any("lists 1 images that are not there, such as '../../etc/gone.jpg'" in note for note in found.notes)
    write(found, str(tmp_path / "taken"))
    (plan,) = make_plans(str(tmp_path / "taken"), str(tmp_path / "shards"), ["all"])
    (left_out,) = write_split(plan).index.left_out
    assert "its file is not there" in left_out.reason


def test_two_images_that_a_name_may_mean_are_named(tmp_path: Path) -> None:
    root = exports.label_studio(tmp_path / "export", shots(["a.jpg"]))
    for folder in ("x", "y"):
        exports.draw(root / folder / "a.jpg", shots(["a.jpg"])[0])
    assert "holds two images that may be" in refused(root)


def test_an_image_in_two_splits_is_named(tmp_path: Path) -> None:
    taken = shots(["a.jpg", "b.jpg", "c.jpg"])
    root = exports.cvat(tmp_path / "export", taken, "train")
    exports.put(
        root / "annotations" / "person_keypoints_val.json", exports.tree(shots(["b.jpg", "d.jpg"]), [exports.horse()])
    )
    exports.draw(root / "images" / "val" / "d.jpg", taken[0])
    assert "'images/train/b.jpg' is in the splits train and val" in refused(root)


def test_splits_of_other_keypoints_are_both_named(tmp_path: Path) -> None:
    root = exports.roboflow(tmp_path / "set", {"train": shots(["a.jpg"]), "valid": shots(["b.jpg"])})
    path = root / "valid" / "_annotations.coco.json"
    tree = json.loads(path.read_text())
    tree["categories"][1]["keypoints"][0] = "muzzle"
    exports.put(path, tree)
    said = refused(root)
    assert "nose, left_ear" in said
    assert "muzzle, left_ear" in said


def test_what_is_no_data_set_says_which_forms_are_known(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    assert "holds no files" in refused(tmp_path / "set")
    (tmp_path / "set" / "notes.txt").write_text("x")
    assert "COCO's JSON with keypoints, a data.yaml with kpt_shape, or LSP's joints.mat" in refused(tmp_path / "set")
    exports.put(tmp_path / "set" / "instances.json", {"images": [{}], "annotations": [], "categories": [{"name": "x"}]})
    assert "none of its categories has keypoints" in refused(tmp_path / "set")
    (tmp_path / "set" / "bad.json").write_text("[" * 100_000)
    assert "bad.json" in refused(tmp_path / "set")


def test_archives_that_lead_outside_or_are_no_zips_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../evil.json", "{}")
    assert "leads elsewhere" in refused(tmp_path / "a.zip")
    (tmp_path / "b.zip").write_bytes(b"no zip")
    assert "is no whole zip archive" in refused(tmp_path / "b.zip")
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz"):
        pass
    assert "unpack it, or give it as a zip" in refused(tmp_path / "c.tar.gz")
    assert not (tmp_path.parent / "evil.json").exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"junk", "is no MATLAB file that can be read"),
        ({"joints": np.zeros((3, 13, 4))}, "LSP's holds joints of 3x14xN or 14x3xN"),
        ({"points": np.zeros((3, 14, 4))}, "LSP's holds joints"),
        ({"joints": np.array(["x"] * 14, object)}, "LSP's holds joints"),
        ({"joints": np.zeros((3, 14, 4))}, "has no images/im00004.jpg (nor im0004.jpg)"),
    ],
)
def test_a_joints_mat_that_is_none(tmp_path: Path, content: Any, told: str) -> None:
    root = exports.lsp(tmp_path / "lsp", shots(["1", "2", "3"], 14), extended=False)
    if isinstance(content, dict):
        buffer = io.BytesIO()
        scipy.io.savemat(buffer, content)
        content = buffer.getvalue()
    (root / "joints.mat").write_bytes(content)
    assert told in refused(root)


@pytest.mark.parametrize("share", [1.0, -0.5, float("nan"), 7])
def test_a_share_of_val_that_is_none(tmp_path: Path, share: float) -> None:
    assert "it must be above 0 and below 1" in refused(coco(tmp_path / "export", lambda tree: None), val=share)
