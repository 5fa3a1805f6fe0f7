"""What a drawn video promises."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.serving.video_writer import VideoWriter

GREY = np.full((48, 64, 3), 90, np.uint8)


def seen(path: Path) -> tuple[int, float]:
    """Frames, and how many of them a second."""
    video = cv2.VideoCapture(str(path))
    return int(video.get(cv2.CAP_PROP_FRAME_COUNT)), float(video.get(cv2.CAP_PROP_FPS))


def test_frames_that_come_slowly_are_repeated_until_their_time(tmp_path: Path) -> None:
    with VideoWriter(str(tmp_path / "slow.mp4"), 10.0) as video:
        for seconds in (0, 0.5, 0.51, 2):
            video.add(GREY, at=seconds)
    assert seen(tmp_path / "slow.mp4") == (21, 10)


def test_the_video_takes_its_name_at_the_end_and_an_error_leaves_nothing(tmp_path: Path) -> None:
    with VideoWriter(str(tmp_path / "a" / "walk.mp4"), 10.0) as video:
        video.add(GREY)
        assert not (tmp_path / "a" / "walk.mp4").exists()
    with pytest.raises(cv2.error), VideoWriter(str(tmp_path / "b" / "walk.mp4"), 10.0) as video:
        list(map(video.add, (GREY, None)))  # type: ignore[arg-type]
    with VideoWriter(str(tmp_path / "c" / "walk.mp4"), 10.0):
        pass
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == ["a", "a/walk.mp4", "b"]


def test_a_video_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "walk.mp4").mkdir()
    with (
        pytest.raises(IsADirectoryError, match="a folder lies there"),
        VideoWriter(f"{tmp_path}/walk.mp4", 10.0) as video,
    ):
        video.add(GREY)
    with pytest.raises(ValueError, match=r"8200x16.*--no-draw"), VideoWriter(f"{tmp_path}/wide.mp4", 10.0) as video:
        video.add(np.zeros((16, 8200, 3), np.uint8))
    assert [path.name for path in tmp_path.iterdir()] == ["walk.mp4"]


def test_a_full_disk_is_an_error_and_leaves_nothing(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(256_000)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    with pytest.raises(OSError, match="is the disk full"), VideoWriter(f"{disk}/walk.mp4", 10.0) as video:
        video.add(noise, at=1)
    assert not list(disk.iterdir())
