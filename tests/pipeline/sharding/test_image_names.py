"""A picture is found by the name that an exporter gave it, and never outside its folder."""

import json
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lhrnet.coco import KEYPOINTS
from pipeline.data.reader import RawSample
from pipeline.data.samples import read_raw_images
from pipeline.sharding.plan import make_plans
from pipeline.sharding.write import SplitReport, write_split

COMPOSED = unicodedata.normalize("NFC", "Küche ガ.jpg")
DECOMPOSED = unicodedata.normalize("NFD", COMPOSED)


def picture(grey: int) -> bytes:
    return cv2.imencode(".jpg", np.full((48, 64, 3), grey, np.uint8))[1].tobytes()


def source(root: Path, names: list[str], files: dict[str, int], *, packed: str | None = None) -> Path:
    """A data set in COCO's layout: images of these names, and files of these grey levels in its folder or its zip."""
    (root / "annotations").mkdir(parents=True)
    images = [{"id": n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(names, 1)]
    person: dict[str, Any] = {"category_id": 1, "iscrowd": 0, "area": 9.0, "bbox": [1, 1, 3, 3], "num_keypoints": 1}
    person["keypoints"] = [5, 5, 2, *[0] * 48]
    tree = {
        "images": images,
        "annotations": [{**person, "id": image["id"], "image_id": image["id"]} for image in images],
        "categories": [{"id": 1, "name": "person", "keypoints": list(KEYPOINTS)}],
    }
    (root / "annotations" / "person_keypoints_train2017.json").write_text(json.dumps(tree))
    if packed is not None:
        with zipfile.ZipFile(root / "train2017.zip", "w") as archive:
            for name, grey in files.items():
                archive.writestr(f"{packed}{name}", picture(grey))
    for name, grey in files.items() if packed is None else ():
        path = root / "train2017" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(grey))
    return root


def sharded(root: Path) -> SplitReport:
    (plan,) = make_plans(str(root), str(root / "shards"), ["train2017"])
    return write_split(plan)


def read(report: SplitReport) -> list[RawSample]:
    return list(read_raw_images(report.url, report.index.shards, set(report.index.image_ids)))


@pytest.mark.parametrize("packed", [None, "train2017/", "", "export 3/images/train2017/"])
@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("1.jpg", "1.jpg"),
        ("camera a/1.jpg", "camera a/1.jpg"),
        ("./1.jpg", "1.jpg"),
        ("train2017/1.jpg", "1.jpg"),
        ("./train2017//camera a/1.jpg", "camera a/1.jpg"),
        ("/data/coco/train2017/camera a/1.jpg", "camera a/1.jpg"),
        ("C:\\data\\train2017\\1.jpg", "1.jpg"),
        ("back\\slash.jpg", "back\\slash.jpg"),
        ("http://images.cocodataset.org/train2017/a%20b.jpg?size=1", "a b.jpg"),
        ("upload/5/1.jpg", "1.jpg"),
        (COMPOSED, DECOMPOSED),
        (DECOMPOSED, COMPOSED),
        (f"ü/{COMPOSED}", unicodedata.normalize("NFD", f"ü/{COMPOSED}")),
    ],
)
def test_a_name_is_found_as_exporters_write_it(name: str, file: str, packed: str | None, tmp_path: Path) -> None:
    report = sharded(source(tmp_path, [name], {file: 77, "thumbs/other.jpg": 5}, packed=packed))
    assert report.problems == ()
    (raw,) = read(report)
    assert raw.jpeg == picture(77)
    assert raw.file_name == name


def test_of_two_files_that_differ_in_folder_or_form_each_name_finds_its_own(tmp_path: Path) -> None:
    names = ["a/1.jpg", "b/1.jpg", "1.jpg", COMPOSED, DECOMPOSED]
    files = {name: 40 * n for n, name in enumerate(names)}
    for packed, root in ((None, tmp_path / "folder"), ("train2017/", tmp_path / "zip")):
        report = sharded(source(root, names, files, packed=packed))
        assert report.problems == ()
        assert [raw.jpeg for raw in read(report)] == [picture(files[name]) for name in names]


@pytest.mark.parametrize("name", ["../secret.jpg", "a/../../secret.jpg", "train2017/../../secret.jpg"])
def test_no_name_leads_out_of_the_folder(name: str, tmp_path: Path) -> None:
    root = source(tmp_path, ["1.jpg", name], {"1.jpg": 9})
    (root / "secret.jpg").write_bytes(picture(1))
    (problem,) = sharded(root).problems
    assert problem.image_id == 2
    assert "its file is not there" in problem.reason
    assert "leads out of" in problem.reason


def test_an_absolute_path_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.jpg").write_bytes(picture(1))
    (problem,) = sharded(source(tmp_path / "set", ["1.jpg", str(tmp_path / "elsewhere.jpg")], {"1.jpg": 9})).problems
    assert "its file is not there" in problem.reason


def test_a_file_that_is_not_there_is_told_where_it_was_looked_for_and_what_is_there(tmp_path: Path) -> None:
    root = source(tmp_path, ["1.jpg", "camera b/2.jpg", "3.jpg"], {"1.jpg": 9, "camera a/3.jpg": 1, "4.jpg": 0})
    reasons = [problem.reason for problem in sharded(root).problems]
    place = f"in {tmp_path}/train2017"
    assert reasons == [
        f"the image is listed but its file is not there: looked for camera b/2.jpg, 2.jpg {place}",
        f"the image is listed but its file is not there: looked for 3.jpg {place}; there is camera a/3.jpg",
    ]


def test_two_names_that_mean_one_file_are_both_left_out(tmp_path: Path) -> None:
    report = sharded(source(tmp_path, ["a/1.jpg", "b/1.jpg", "2.jpg"], {"1.jpg": 9, "2.jpg": 1}))
    assert [problem.image_id for problem in report.problems] == [1, 2]
    assert "1.jpg is also that of 'b/1.jpg'" in report.problems[0].reason
    assert report.index.image_ids == (3,)
