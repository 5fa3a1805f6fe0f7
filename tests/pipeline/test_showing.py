"""What predicting pictures into a folder promises."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lhrnet.coco import K
from lhrnet.person import Person
from pipeline.showing import drawn_names, image_ids, show


class Middle:
    """Sees one sure and one doubtful person in every picture, their joints at its middle."""

    batch = 2

    def __init__(self) -> None:
        self.calls: list[int] = []

    def many(self, images: list[np.ndarray]) -> list[list[Person]]:
        self.calls.append(len(images))
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


def shown(sources: list[str], out: Path, **settings: Any) -> tuple[Any, Middle]:
    predictor = Middle()
    return show(predictor, sources, out, **settings), predictor  # type: ignore[arg-type]


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
    shown([str(source)], tmp_path / "none", least_score=0.95)
    assert spread(tmp_path / "none" / "b.jpg") < 1
    shown([str(source)], tmp_path / "bare", draw=False)
    assert sorted(p.name for p in (tmp_path / "bare").iterdir()) == ["images.json", "results.json"]


def test_pictures_go_through_several_at_a_time(tmp_path: Path) -> None:
    source = folder_of(tmp_path / "in", [f"{n}.jpg" for n in range(11)])
    found, predictor = shown([str(source)], tmp_path / "out", draw=False, most=10)
    assert predictor.calls == [8, 2]
    assert len(found.images) == 10


def test_a_video_becomes_a_video(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "walk.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (640, 480))
    for _ in range(5):
        writer.write(np.full((480, 640, 3), 90, np.uint8))
    writer.release()
    found, _ = shown([str(tmp_path / "walk.avi")], tmp_path / "out", most=4)
    assert [entry["id"] for entry in found.images] == [0, 1, 2, 3]
    capture = cv2.VideoCapture(str(tmp_path / "out" / "walk.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 4
    assert capture.get(cv2.CAP_PROP_FPS) == 10
    with pytest.raises(ValueError, match="give it alone"):
        shown([str(tmp_path / "walk.avi"), "other.jpg"], tmp_path / "out")


def test_when_nothing_can_be_read_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"a\.jpg"):
        shown([str(tmp_path / "a.jpg")], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_strange_shapes_and_huge_pictures_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"dot": (1, 1), "strip": (1, 3000), "wide": (2, 70_000), "plain": (600, 800), "small": (60, 80)}
    for name, size in sizes.items():
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((*size, 3), 90, np.uint8))
    monkeypatch.setattr("pipeline.showing.MOST_PIXELS", 100_000)
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
