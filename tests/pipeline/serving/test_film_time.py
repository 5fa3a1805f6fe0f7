"""Films whose frames come unevenly keep their length and speed, and are not called damaged."""

import struct
from itertools import accumulate
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lhrnet.network import ModelConfig, create_model
from lhrnet.predictor import Predictor
from pipeline.serving.film_time import rate_of
from pipeline.serving.predict_files import predict_files
from pipeline.serving.sources import VideoSource

UNKNOWN = b"\x01" + b"\xff" * 7


def element(name: str, *data: bytes) -> bytes:
    """Of EBML, as Matroska has it."""
    content = b"".join(data)
    return bytes.fromhex(name) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def number(name: str, value: int) -> bytes:
    return element(name, value.to_bytes(4, "big"))


def matroska(times: list[int], duration: float | None = None, *, live: bool = False) -> bytes:
    """A film of JPEGs of 64x48 that are shown at these times, in milliseconds, each a little brighter.

    A browser writes it live: without a duration, and the segment's and cluster's sizes unknown.
    """
    frames = [cv2.imencode(".jpg", np.full((48, 64, 3), 20 + 7 * n, np.uint8))[1].tobytes() for n in range(len(times))]
    blocks = [element("A3", b"\x81", struct.pack(">hB", *at), jpeg) for at, jpeg in _dated(times, frames)]
    length = [element("4489", struct.pack(">d", duration))] if duration else []
    track = element("AE", number("D7", 1), number("73C5", 1), number("83", 1), element("86", b"V_MJPEG"),
                    element("E0", number("B0", 64), number("BA", 48)))  # fmt: skip
    head = element("1A45DFA3", element("4282", b"webm" if live else b"matroska"), number("4287", 4), number("4285", 2))
    before = element("1549A966", number("2AD7B1", 1_000_000), *length) + element("1654AE6B", track)
    cluster = number("E7", 0) + b"".join(blocks)
    if live:
        cluster = bytes.fromhex("1F43B675") + UNKNOWN + cluster
        return head + bytes.fromhex("18538067") + UNKNOWN + before + cluster
    return head + element("18538067", before, element("1F43B675", cluster))


def _dated(times: list[int], frames: list[bytes]) -> list[tuple[tuple[int, int], bytes]]:
    return [((time, 0x80), frame) for time, frame in zip(times, frames, strict=True)]


QUICK_THEN_SLOW = [50 * n for n in range(20)] + [1000 + 300 * n for n in range(11)]
AS_THEY_CAME = list(accumulate([0, *[33, 67, 100, 133, 34, 33] * 5, 900]))
WITHIN_A_SECOND = [50 * n for n in range(20)]

FILMS = {
    "variable rate": matroska(QUICK_THEN_SLOW, 4070),
    "a browser's": matroska(AS_THEY_CAME, live=True),
    "a browser's at no rate": matroska(list(accumulate([0, *[17, 121, 60, 91, 49, 18] * 5])), live=True),
    "a long last frame": matroska(WITHIN_A_SECOND, 4000),
    "even": matroska([100 * n for n in range(30)], 3000),
    "a frame every two seconds": matroska([0, 2000, 4000, 6000], 8000),
}


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(create_model(ModelConfig(r=-4, input_size=64)).eval(), 64, "plain", "cpu")


def levels(path: Path) -> tuple[list[float], float]:
    """How bright each frame of a film is, and its frames a second."""
    film = cv2.VideoCapture(str(path))
    found = []
    while (read := film.read())[0]:
        found.append(float(read[1][:4, :4].mean()))
    return found, float(film.get(cv2.CAP_PROP_FPS))


@pytest.mark.parametrize("kind", FILMS)
def test_a_drawn_film_shows_every_frame_when_the_film_did(kind: str, predictor: Predictor, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    path.write_bytes(FILMS[kind])
    stream = VideoSource(str(path))
    times = [frame.time for frame in stream]
    stream.close()
    found = predict_files(predictor, [str(path)], str(tmp_path / "out"), min_score=2)
    assert found.errors == []
    assert len(found.images) == len(times)
    shown, rate = levels(tmp_path / "out" / "film.mp4")
    for count, time in enumerate(times):
        assert time is not None
        assert shown[round(time * rate)] == pytest.approx(20 + 7 * count, abs=3)
    assert times[-1] is not None
    assert len(shown) == round(times[-1] * rate) + 1


@pytest.mark.parametrize(("live", "word"), [(False, "its file has 9000 bytes of"), (True, "")])
def test_a_film_that_is_cut_is_called_so_where_its_file_says_its_size(live: bool, word: str, tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    path.write_bytes(matroska(QUICK_THEN_SLOW, None if live else 4070, live=live)[:9000])
    stream = VideoSource(str(path))
    errors = [frame.error for frame in stream if frame.image is None]
    stream.close()
    assert len(errors) == bool(word)
    assert all(word in error for error in errors)


def test_a_gap_of_hours_is_no_hours_of_film(predictor: Predictor, tmp_path: Path) -> None:
    content = matroska([0, 100, 200, 300], 10**8)
    path = tmp_path / "film.mkv"
    path.write_bytes(content.replace(number("2AD7B1", 1_000_000), number("2AD7B1", 4_000_000_000)))
    found = predict_files(predictor, [str(path)], str(tmp_path / "out"))
    assert len(levels(tmp_path / "out" / "film.mp4")[0]) < 100
    assert "comes 400 s after the one before" in found.errors[0]


def test_the_rate_is_the_headers_where_frames_come_by_it_and_else_the_closest_frames() -> None:
    assert rate_of([n / 29.97 for n in range(100)], 29.97) == 29.97
    assert rate_of([round(n / 30, 3) for n in range(100)], 30) == 30
    assert rate_of([], 0) == rate_of([0, 0, 0], 0) == 25
    assert rate_of([0, 0.05, 0.5], 1000) == 20
    assert rate_of([0, 0.001, 0.5], 0.3) == 120
    assert rate_of([0, 400, 800], 1 / 400) == 0.5
