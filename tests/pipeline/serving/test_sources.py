"""What reading pictures promises."""

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lhrnet.image_file import read_image
from pipeline.serving.sources import VideoSource, count_pictures, image_files, is_stream, read_files, told_passed_over

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


def test_what_a_folder_holds_besides_images_is_counted_and_what_begins_like_one_is_read(tmp_path: Path) -> None:
    image = np.ascontiguousarray(half_and_half())
    for name in ("a.jpg", "b.png"):
        written(tmp_path / name, image)
    (tmp_path / "a.jpg").rename(tmp_path / "a.JFIF")
    (tmp_path / "b.png").rename(tmp_path / "b")
    Image.fromarray(image).save(tmp_path / "c.gif")
    for name in ("d.heic", "e.HEIC", "f.mp4", "g.txt", "notes", ".DS_Store", "._a.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    passed_over: Counter[str] = Counter()
    files = image_files([str(tmp_path)], passed_over)
    assert [path.name for path in files] == ["a.JFIF", "b", "c.gif"]
    assert all(picture.image is not None for picture in read_files(files))
    assert passed_over == {".heic": 2, ".mp4": 1, ".txt": 1, "": 1}
    assert told_passed_over(passed_over) == (
        "5 other files: 2 .heic (save as JPEG), 1 without an ending, 1 .mp4 (give a video alone), 1 .txt"
    )
    for path in files:
        path.unlink()
    with pytest.raises(FileNotFoundError, match=r"holds no image: 5 other files: 2 \.heic .*; images are \.avif"):
        image_files([str(tmp_path)])
    assert told_passed_over({}) == ""
    assert told_passed_over({f".{n}": 1 for n in range(10)}).endswith(".7, 2 of 2 other endings")


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("https://example.org/a.jpg", "is an address.*download it first"),
        ("s3://bucket/photos", "is an address.*download it first"),
        ("https://example.org/walk.mp4", "is an address.*download it first"),
        ("rtsp://camera/1", "is a stream.*a camera's number"),
        ("frames/%04d.jpg", "patterns are not followed; give the folder"),
        ("*.jpg", "patterns are not followed; give the folder"),
        ("gone.jpg", "there is no gone.jpg; give images"),
    ],
)
def test_what_people_take_for_a_source_is_named(source: str, word: str) -> None:
    with pytest.raises(FileNotFoundError, match=word) as told:
        count_pictures([source])
    assert source in str(told.value)


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
