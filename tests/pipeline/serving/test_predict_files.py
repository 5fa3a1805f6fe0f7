"""What predicting pictures into a folder promises."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lhrnet.coco import K
from lhrnet.person import Person
from lhrnet.skeleton import COCO
from pipeline.serving.predict_files import drawn_names, image_ids, predict_files
from pipeline.storage import store


class Middle:
    """Sees one sure and one doubtful person in every picture, their joints at its middle."""

    batch = 2
    min_score = 0.2
    skeleton = COCO

    def __init__(self, meanwhile: Callable[[int], None] = lambda call: None) -> None:
        self.calls: list[int] = []
        self.meanwhile = meanwhile

    def many(self, images: list[np.ndarray]) -> list[list[Person]]:
        self.calls.append(len(images))
        self.meanwhile(len(self.calls))
        return [
            [
                Person(
                    keypoints=np.tile(np.array([i.shape[1] / 2, i.shape[0] / 2, 1], np.float32), (K, 1)), score=score
                )
                for score in (0.9, 0.1)
            ]
            for i in images
        ]


def folder_of(path: Path, names: list[str]) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path / name), np.full((40, 60, 3), 90, np.uint8))
    return path


def spread(path: Path) -> float:
    """How much the pixels of a picture differ."""
    picture = cv2.imread(str(path))
    assert picture is not None
    return float(picture.std())


def shown(sources: list[str], out: Path | str, **settings: Any) -> tuple[Any, Middle]:
    predictor = Middle()
    return predict_files(predictor, sources, str(out), **settings), predictor  # type: ignore[arg-type]


def walk(path: Path, frames: int = 5) -> Path:
    """A video of grey frames, ten a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (640, 480))
    for _ in range(frames):
        writer.write(np.full((480, 640, 3), 90, np.uint8))
    writer.release()
    return path


@pytest.fixture
def camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The number of a camera, which sees a video: there is no camera where tests run."""
    path, capture = str(walk(tmp_path / "seen.avi", 6)), cv2.VideoCapture

    def opened(source: int | str) -> cv2.VideoCapture:
        return capture(path if source == 7 else str(source))

    monkeypatch.setattr("pipeline.serving.sources.cv2.VideoCapture", opened)
    return "7"


def interrupted(sources: list[str], out: Path, *calls: int) -> Any:
    """Ctrl-C in these calls of the predictor, as often as they are named."""

    def interrupt(call: int) -> None:
        for _ in range(calls.count(call)):
            os.kill(os.getpid(), signal.SIGINT)

    return predict_files(Middle(interrupt), sources, str(out))  # type: ignore[arg-type]


def length(path: Path) -> int:
    """Frames of a video."""
    return int(cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FRAME_COUNT))


def test_results_pictures_and_their_names_are_written(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["b.jpg", "c.png", "c.jpg", "deep/d.png"])
    (source / "a.jpg").write_bytes(b"broken")
    done: list[int] = []
    found, _ = shown([str(source)], tmp_path / "out", on_done=done.append)
    assert sum(done) == 5
    assert len(found.errors) == 1
    assert "a.jpg" in found.errors[0]
    images = json.loads((tmp_path / "out" / "images.json").read_text())
    assert [Path(entry["file_name"]).name for entry in images] == ["b.jpg", "c.jpg", "c.png", "d.png"]
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [entry["image_id"] for entry in results] == [i["id"] for i in images for _ in range(2)]
    assert results[0]["keypoints"][:3] == [30, 20, 1]
    pictures = sorted(str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*.jpg"))
    assert pictures == ["b.jpg", "c.jpg.jpg", "c.png.jpg", "deep/d.jpg"]
    assert spread(tmp_path / "out" / "b.jpg") > 0


def test_only_sure_people_are_drawn_and_drawing_can_be_left_out(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["b.jpg"])
    shown([str(source)], tmp_path / "none", min_score=0.95)
    assert spread(tmp_path / "none" / "b.jpg") < 1
    shown([str(source)], tmp_path / "bare", draw=False)
    assert sorted(p.name for p in (tmp_path / "bare").iterdir()) == ["images.json", "results.json"]


def test_whom_the_networks_own_evaluation_takes_for_nobody_is_not_drawn(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", ["b.jpg"])
    predictor = Middle()
    predictor.min_score = 0.95
    predict_files(predictor, [str(source)], str(tmp_path / "out"))  # type: ignore[arg-type]
    assert spread(tmp_path / "out" / "b.jpg") < 1
    predict_files(predictor, [str(source)], str(tmp_path / "asked"), min_score=0.0)  # type: ignore[arg-type]
    assert spread(tmp_path / "asked" / "b.jpg") > 1


def test_pictures_go_through_several_at_a_time(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", [f"{n}.jpg" for n in range(11)])
    found, predictor = shown([str(source)], tmp_path / "out", draw=False, max_pictures=10)
    assert predictor.calls == [8, 2]
    assert len(found.images) == 10


def test_a_video_becomes_a_video(tmp_path: Path) -> None:
    walk(tmp_path / "walk.avi")
    found, _ = shown([str(tmp_path / "walk.avi")], tmp_path / "out", max_pictures=4)
    assert [entry["id"] for entry in found.images] == [0, 1, 2, 3]
    capture = cv2.VideoCapture(str(tmp_path / "out" / "walk.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    with pytest.raises(ValueError, match="give it alone"):
        shown([str(tmp_path / "walk.avi"), "other.jpg"], tmp_path / "out")


@pytest.mark.parametrize("max_pictures", [None, 1])
def test_originals_are_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_pictures: int | None
) -> None:
    folder = folder_of(tmp_path / "holiday", ["a.bmp", "a.jpg"])
    before = {path: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(folder)
    for sources, out in ((["holiday/a.jpg"], "holiday"), (["link/a.jpg"], "holiday"), (["holiday/a.jpg"], "./link")):
        with pytest.raises(ValueError, match=r"a\.jpg would take the place of the original.*--out"):
            shown(sources, out, max_pictures=max_pictures)
    if max_pictures:
        with pytest.raises(ValueError, match="the original"):
            shown(["holiday"], "holiday", max_pictures=1)
    walk(tmp_path / "walk.avi").rename(tmp_path / "walk.mp4")
    with pytest.raises(ValueError, match=r"walk\.mp4 would take the place"):
        shown(["walk.mp4"], ".", max_pictures=max_pictures)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert length(tmp_path / "walk.mp4") == 5
    shown(["holiday/a.jpg"], "holiday", draw=False)
    assert (folder / "results.json").exists()


def test_an_interrupted_run_keeps_what_it_has(tmp_path: Path) -> None:
    found = interrupted([str(walk(tmp_path / "walk.avi"))], tmp_path / "out", 2)
    assert found.interrupted
    assert found.errors == ["interrupted after 4 pictures"]
    assert length(tmp_path / "out" / "walk.mp4") == 4
    assert len(json.loads((tmp_path / "out" / "images.json").read_text())) == 4
    folder = folder_of(tmp_path / "in", [f"{n}.jpg" for n in range(9)])
    assert interrupted([str(folder)], tmp_path / "photos", 1).interrupted
    assert len(json.loads((tmp_path / "photos" / "results.json").read_text())) == 16
    with pytest.raises(KeyboardInterrupt):
        interrupted([str(tmp_path / "walk.avi")], tmp_path / "twice", 2, 2)
    assert not list((tmp_path / "twice").iterdir())


def test_a_camera_ends_with_ctrl_c_and_its_film_plays_as_fast_as_it_was_seen(camera: str, tmp_path: Path) -> None:
    found = interrupted([camera], tmp_path / "out", 3)
    assert (found.interrupted, found.errors, len(found.images)) == (False, [], 3)
    assert length(tmp_path / "out" / "camera-7.mp4") >= 1
    slow = Middle(lambda call: time.sleep(0.15))
    assert len(predict_files(slow, [camera], str(tmp_path / "slow"), max_pictures=3).images) == 3  # type: ignore[arg-type]
    assert slow.calls == [1, 1, 1]
    assert length(tmp_path / "slow" / "camera-7.mp4") >= 4


def test_a_camera_that_is_gone_is_told_and_what_it_saw_is_kept(camera: str, tmp_path: Path) -> None:
    found, _ = shown([camera], tmp_path / "out", draw=False)
    assert (len(found.images), len(found.errors)) == (6, 1)
    assert "camera 7 gave no more pictures" in found.errors[0]


def test_pictures_go_to_a_store(s3: str, tmp_path: Path) -> None:
    shown([str(folder_of(tmp_path / "in", ["b.jpg"]))], f"{s3}/found")
    shown([str(walk(tmp_path / "walk.avi", 2))], f"{s3}/walk")
    assert set(store.listing(s3)) == {
        f"{place}/{name}" for place, own in (("found", "b.jpg"), ("walk", "walk.mp4"))
        for name in (own, "images.json", "results.json")
    }  # fmt: skip
    with pytest.raises(ValueError, match="can only be read"):
        shown([str(tmp_path / "in")], "http://127.0.0.1:9/found")
    with pytest.raises(ValueError, match="not ftp://"):
        shown([str(tmp_path / "in")], "ftp://127.0.0.1/found")


def test_when_nothing_can_be_read_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"a\.jpg"):
        shown([str(tmp_path / "a.jpg")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_strange_shapes_and_huge_pictures_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"dot": (1, 1), "strip": (1, 3000), "wide": (2, 70_000), "plain": (600, 800), "small": (60, 80)}
    for name, size in sizes.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((*size, 3), 90, np.uint8))
    monkeypatch.setattr("pipeline.serving.predict_files.MAX_PIXELS", 100_000)
    found, predictor = shown([str(tmp_path)], tmp_path / "out")
    assert len(found.images) == 5
    assert predictor.calls == [2, 3]
    assert [error for error in found.errors if "wide.png: 70000x2 is too large" in error] == found.errors
    drawn = {name: cv2.imread(str(tmp_path / "out" / f"{name}.jpg")) for name in sizes if name != "wide"}
    shapes = {name: None if picture is None else picture.shape[:2] for name, picture in drawn.items()}
    assert shapes == {"dot": (384, 384), "strip": (1, 3000), "plain": (600, 800), "small": (420, 560)}


def test_coco_names_keep_their_ids() -> None:
    assert image_ids([Path("x/000000000785.jpg"), Path("12.png")]) == [785, 12]
    assert image_ids([Path("785.jpg"), Path("a.jpg")]) == [1, 2]
    assert image_ids([Path("7.jpg"), Path("07.jpg")]) == [1, 2]
    assert drawn_names([Path("p/a.png"), Path("p/q/a.jpg")]) == ["a.jpg", "q/a.jpg"]


def test_no_two_pictures_share_an_id_or_a_drawing(tmp_path: Path) -> None:
    assert drawn_names([Path(name) for name in ("a.jpg", "a.png", "a.jpg.png", "b.jpg.png")]) == [
        "a.jpg.jpg",
        "a.png.jpg",
        "a.jpg.png.jpg",
        "b.jpg.jpg",
    ]
    store = folder_of(tmp_path / "store", ["1.jpg", "2.jpg"])
    for name, target in (("x", "1.jpg"), ("y", "2.jpg")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").symlink_to(store / target)
    twice = [str(tmp_path / name / "a.jpg") for name in ("x", "y", "x")]
    found, _ = shown(twice, tmp_path / "out")
    assert [entry["id"] for entry in found.images] == [1, 2]
    assert (tmp_path / "out" / "x" / "a.jpg").exists()
    assert (tmp_path / "out" / "y" / "a.jpg").exists()
