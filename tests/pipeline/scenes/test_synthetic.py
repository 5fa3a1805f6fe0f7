"""The drawn data set: COCO's layout, the same bytes for the same seed, complete or absent."""

import hashlib
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from lhrnet.coco import KEYPOINTS
from lhrnet.skeleton.infer import from_category
from pipeline.scenes.casting import SUBJECTS
from pipeline.scenes.synthetic import SceneConfig, is_drawn, write_coco
from pipeline.storage.atomic import aside_folder

SMALL = SceneConfig(size=96)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_coco(
        tmp_path_factory.mktemp("draw") / "drawn", train=70, val=6, test=3, seed=4, config=SMALL, workers=1
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_folder_is_laid_out_as_coco(drawn: Path) -> None:
    files = contents(drawn)
    assert sum(name.startswith("train2017/") for name in files) == 70
    assert {name for name in files if name.startswith("annotations/")} == {
        "annotations/person_keypoints_train2017.json",
        "annotations/person_keypoints_val2017.json",
        "annotations/image_info_test-dev2017.json",
    }
    truth = COCO(str(drawn / "annotations/person_keypoints_val2017.json"))
    assert truth.cats[1]["keypoints"] == list(KEYPOINTS)
    for entry in truth.imgs.values():
        image = cv2.imread(str(drawn / "val2017" / entry["file_name"]))
        assert image is not None
        assert image.shape[:2] == (entry["height"], entry["width"])
    for annotation in truth.anns.values():
        assert annotation["image_id"] in truth.imgs
        truth.annToMask(annotation)


def test_ids_are_unique_over_splits_and_the_test_split_keeps_its_answers(drawn: Path) -> None:
    documents = [json.loads(path.read_text()) for path in sorted((drawn / "annotations").iterdir())]
    images = [entry["id"] for document in documents for entry in document["images"]]
    annotations = [a["id"] for document in documents for a in document.get("annotations", [])]
    assert len(images) == len(set(images)) == 79
    assert len(annotations) == len(set(annotations)) > 79
    assert "annotations" not in documents[0]


def test_the_people_with_coco_s_keypoints_stay_as_they_were_drawn_first(tmp_path: Path) -> None:
    """Bytes of annotations; colours within what another build of OpenCV may round otherwise."""
    write_coco(tmp_path / "drawn", train=0, val=4, config=SMALL, workers=1)
    text = (tmp_path / "drawn/annotations/person_keypoints_val2017.json").read_bytes()
    assert hashlib.sha256(text).hexdigest() == "8a383c6e4b7c826636724b2f122d3890ff38b9987c50be8b710a3e781c74a054"
    seen = [cv2.imread(str(path)) for path in sorted((tmp_path / "drawn/val2017").iterdir())]
    means = np.array([image.mean((0, 1)) for image in seen if image is not None])
    assert means == pytest.approx(
        np.array([[100.89, 85.58, 147.65], [146.14, 114.73, 134.46], [94.62, 88.7, 84.81], [148.62, 115.05, 146.5]]),
        abs=0.1,
    )


@pytest.mark.parametrize("skeleton", SUBJECTS)
def test_a_drawn_set_says_whose_keypoints_it_holds(skeleton: str, tmp_path: Path) -> None:
    folder = write_coco(tmp_path / "drawn", train=1, val=6, seed=4, config=SMALL, skeleton=skeleton, workers=1)
    truth = json.loads((folder / "annotations/person_keypoints_val2017.json").read_text())
    assert [from_category(category) for category in truth["categories"]] == [(SUBJECTS[skeleton].skeleton, [])]
    count = SUBJECTS[skeleton].skeleton.count
    assert {len(annotation["keypoints"]) for annotation in truth["annotations"]} == {3 * count}
    assert {annotation["category_id"] for annotation in truth["annotations"]} == {truth["categories"][0]["id"]}
    assert is_drawn(folder, train=1, val=6, seed=4, config=SMALL, skeleton=skeleton)
    for other in set(SUBJECTS) - {skeleton}:
        assert not is_drawn(folder, train=1, val=6, seed=4, config=SMALL, skeleton=other)


def test_number_of_processes_does_not_change_a_byte(drawn: Path, tmp_path: Path) -> None:
    finished: list[int] = []
    again = write_coco(
        tmp_path / "again", train=70, val=6, test=3, seed=4, config=SMALL, workers=3, on_drawn=finished.append
    )
    assert contents(again) == contents(drawn)
    assert sum(finished) == 79


def test_a_folder_knows_what_it_was_drawn_as(drawn: Path) -> None:
    same: dict[str, Any] = {"train": 70, "val": 6, "test": 3, "seed": 4, "config": SMALL}
    assert is_drawn(drawn, **same)
    assert not is_drawn(drawn, **{**same, "seed": 5})
    assert not is_drawn(drawn, **{**same, "val": 7})
    assert not is_drawn(drawn, **{**same, "config": SceneConfig(size=96, sides=0.5)})
    assert not is_drawn(drawn / "nowhere", **same)


def test_nothing_half_drawn_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("pipeline.scenes.synthetic.json.dumps", fail)
    with pytest.raises(OSError, match="disk full"):
        write_coco(tmp_path / "drawn", train=2, val=1, config=SMALL, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_and_impossible_counts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="remove it"):
        write_coco(tmp_path, train=1, val=1, config=SMALL, workers=1)
    with pytest.raises(ValueError, match="val=-1"):
        write_coco(tmp_path / "new", train=1, val=-1, config=SMALL, workers=1)
    with pytest.raises(ValueError, match="'coco-wholebody' is built in, but not drawn; drawn are coco, crowdpose"):
        write_coco(tmp_path / "new", train=1, val=1, config=SMALL, skeleton="coco-wholebody", workers=1)
    with pytest.raises(ValueError, match="'dog' is unknown"):
        write_coco(tmp_path / "new", train=1, val=1, config=SMALL, skeleton="dog", workers=1)
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pipeline.scenes.synthetic import SceneConfig, write_coco

kill = lambda count: os.kill(os.getpid(), signal.SIGKILL)
write_coco(sys.argv[1], train=1, val=1, config=SceneConfig(size=64), workers=1, on_drawn=kill)
"""


def test_what_killed_drawings_left_goes_with_the_next_one(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "coco")], check=False)
    assert killed.returncode == -signal.SIGKILL
    other = tmp_path / ".other.part"
    other.mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".coco.part", ".other.part"]
    with aside_folder(tmp_path / "living") as living:  # as of a process that still draws there
        for name in ("coco", "living"):
            write_coco(tmp_path / name, train=1, val=0, seed=1, config=SceneConfig(size=64), workers=1)
        assert living.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.part", "coco", "living"]


def test_a_full_disk_is_an_error_that_says_where_and_leaves_nothing(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    with full_disk(200), pytest.raises(OSError, match=rf"{tmp_path}.*\.jpg"):
        write_coco(tmp_path / "d", train=1, val=1, config=SMALL, workers=1)
    assert list(tmp_path.iterdir()) == []
