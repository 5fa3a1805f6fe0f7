"""What reading pictures promises."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from lhrnet.image_file import read_image
from pipeline.serving.sources import VideoSource, count_pictures, image_files, is_stream, read_files

LEFT, RIGHT = (200, 30, 20), (10, 60, 220)


def half_and_half(width: int = 60, height: int = 40) -> np.ndarray:
    """Red on the left, blue on the right, RGB."""
    image = np.empty((height, width, 3), np.uint8)
    image[:, : width // 2], image[:, width // 2 :] = LEFT, RIGHT
    return image


def written(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def test_what_does_not_decode_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    good = written(tmp_path / "b.png", half_and_half())
    (tmp_path / "a.jpg").write_bytes(b"not an image")
    (tmp_path / "c.jpg").write_bytes(b"")
    (tmp_path / "d.png").write_bytes(good.read_bytes()[:60])
    whole = written(tmp_path / "e.jpg", np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8))
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    pictures = list(read_files(image_files([str(tmp_path)])))
    assert [picture.image is not None for picture in pictures] == [False, True, False, False, False]
    for picture in pictures:
        assert bool(picture.error) == (picture.image is None)
        assert picture.image is not None or picture.name in picture.error
    with pytest.raises(FileNotFoundError, match=r"f\.jpg"):
        read_image(tmp_path / "f.jpg")


def test_folders_are_searched_and_missing_sources_named(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for name in ("b.png", "inner/a.PNG"):
        written(tmp_path / name, half_and_half())
    (tmp_path / "notes.txt").write_text("none")
    assert [path.name for path in image_files([str(tmp_path)])] == ["b.png", "a.PNG"]
    assert count_pictures([str(tmp_path)]) == 2
    with pytest.raises(FileNotFoundError, match="nowhere"):
        image_files([str(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="holds no image"):
        image_files([str(tmp_path / "empty")])


def test_a_file_comes_once_and_earlier_predictions_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "found" / "inner").mkdir(parents=True)
    for name in ("a.png", "found/a.jpg", "found/inner/b.jpg"):
        written(tmp_path / name, half_and_half())
    monkeypatch.chdir(tmp_path)
    assert image_files(["a.png", ".", "a.png", str(tmp_path / "a.png")])[:1] == [Path("a.png")]
    assert len(image_files([".", "a.png"])) == 3
    for name in ("results.json", "images.json"):
        (tmp_path / "found" / name).write_text("[]")
    assert image_files(["."]) == [Path("a.png")]
    assert len(image_files(["found"])) == 2


def film(path: Path, levels: tuple[int, ...] = (40, 120, 200)) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 12.0, (64, 48))
    for level in levels:
        writer.write(np.full((48, 64, 3), (0, 0, level), np.uint8))
    writer.release()
    return path


def test_a_video_comes_frame_by_frame(tmp_path: Path) -> None:
    path = film(tmp_path / "walk.avi")
    assert is_stream(str(path))
    assert count_pictures([str(path)]) == 3
    stream = VideoSource(str(path))
    frames = list(stream)
    stream.close()
    assert stream.rate == 12
    assert [round(float(frame.image[..., 0].mean()), -1) for frame in frames if frame.image is not None] == [
        40,
        120,
        200,
    ]


def test_a_video_that_is_none_is_refused(tmp_path: Path) -> None:
    assert is_stream("0")
    with pytest.raises(FileNotFoundError, match=r"gone\.mp4"):
        VideoSource(str(tmp_path / "gone.mp4"))
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match="cannot be opened"):
        VideoSource(str(tmp_path / "text.mp4"))


def test_a_video_that_ends_before_its_time_says_so(tmp_path: Path) -> None:
    path = film(tmp_path / "cut.avi", (90,) * 12)
    path.write_bytes(b"00dc".join(path.read_bytes().split(b"00dc")[:7]))  # a chunk of this name is a frame
    stream = VideoSource(str(path))
    *frames, last = stream
    stream.close()
    assert len(frames) in (5, 6)
    assert all(frame.image is not None for frame in frames)
    assert last.image is None
    assert f"ended after {len(frames)} frames, and its header says 12 frames" in last.error


def test_a_number_is_a_camera_only_where_nothing_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_stream("12")
    assert not is_stream("\u00b2")
    assert not is_stream("20240131")
    for name in ("12", "clips.mp4"):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "a.png", half_and_half())
        assert not is_stream(name)
        assert count_pictures([name]) == 1


def test_a_camera_comes_frame_by_frame_and_says_when_it_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(film(tmp_path / "seen.avi"))
    opened: list[int] = []
    capture = cv2.VideoCapture

    def camera(number: int) -> cv2.VideoCapture:
        opened.append(number)
        return capture(path)

    monkeypatch.setattr("pipeline.serving.sources.cv2.VideoCapture", camera)
    assert count_pictures(["3"]) is None
    stream = VideoSource("3")
    *frames, last = stream
    stream.close()
    assert opened == [3]
    assert (stream.count, stream.rate) == (None, 12)
    assert [frame.name for frame in frames] == ["3 frame 0", "3 frame 1", "3 frame 2"]
    assert last.image is None
    assert "camera 3" in last.error
