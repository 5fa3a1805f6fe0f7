"""Where pictures come from: image files, folders, videos and cameras, read one picture at a time."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import urlsplit

import cv2

from lhrnet.image_file import Image, read_image
from pipeline.serving.film_time import first_times, missing, rate_of

IMAGES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm",
    ".jp2", ".avif", ".gif",
})  # fmt: skip
"""Names of image files in a folder. One without an ending is an image where it begins like one."""
VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
NO_PICTURE = re.compile(r"\._.*|\.DS_Store|Thumbs\.db|desktop\.ini", re.IGNORECASE)
"""Files that systems leave in every folder of pictures; nobody misses them."""
WRITTEN = ("results.json", "images.json")
"""Files by which a folder of earlier predictions is recognised."""
LONGEST_GAP = 60.0
"""Seconds between two frames at most; more is taken for a fault of the file's times."""


@dataclass(frozen=True)
class Picture:
    """One image or frame, or why it could not be read."""

    name: str
    """Path of the file; of a video or camera, that and the frame's number."""
    image: Image | None
    """(H, W, 3) RGB, upright; None where it could not be read."""
    error: str = ""
    time: float | None = None
    """Of a film's frame: seconds after its first one."""


def is_camera(source: str) -> bool:
    """Whether a source is a camera's number, and not a file or folder of that name."""
    return source.isascii() and source.isdigit() and len(source) <= 4 and not Path(source).exists()


def is_stream(source: str) -> bool:
    """Whether a source is a video or, as a number, a camera."""
    return is_camera(source) or (Path(source).suffix.lower() in VIDEOS and not Path(source).is_dir())


def image_files(sources: Sequence[str], passed_over: Counter[str] | None = None) -> list[Path]:
    """The image files among the sources, each once: a folder's in order of name, folders within it included.

    Folders of earlier predictions within a folder are left out.

    Args:
        sources: images and folders.
        passed_over: here the other files of folders are counted, by the ending of their names in small letters.

    Raises:
        FileNotFoundError: a source is not there, or a folder holds no image.
    """
    found: dict[str, Path] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            others: Counter[str] = Counter()
            inside = sorted(_images_below(path, others))
            if not inside:
                holds = f"{told_passed_over(others)}; images are" if others else "it is empty; images are"
                raise FileNotFoundError(f"folder {source} holds no image: {holds} {', '.join(sorted(IMAGES))}")
            if passed_over is not None:
                passed_over.update(others)
        elif path.exists():
            inside = [path]
        else:
            raise FileNotFoundError(_not_there(source))
        for file in inside:
            found.setdefault(os.path.abspath(file), file)
    return list(found.values())


def told_passed_over(endings: Mapping[str, int]) -> str:
    """Which files of folders were passed over, in one line; empty: none."""
    counts = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    parts = [f"{count} {ending or 'without an ending'}{_ADVICE.get(ending, '')}" for ending, count in counts[:8]]
    if len(counts) > 8:
        parts.append(f"{sum(count for _, count in counts[8:])} of {len(counts) - 8} other endings")
    total = sum(endings.values())
    return f"{total} other file{'s' * (total > 1)}: {', '.join(parts)}" if total else ""


_VIDEO = " (give a video alone)"
_ADVICE = dict.fromkeys(VIDEOS, _VIDEO) | dict.fromkeys((".heic", ".heif"), " (save as JPEG)")


def _images_below(folder: Path, others: Counter[str]) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        if Path(place) != folder and set(WRITTEN) <= set(names):
            below.clear()
            continue
        for name in names:
            path = Path(place) / name
            if NO_PICTURE.fullmatch(name):
                continue
            if path.suffix.lower() in IMAGES or (not path.suffix and _begins_like_an_image(path)):
                yield path
            else:
                others[path.suffix.lower()] += 1


def _begins_like_an_image(path: Path) -> bool:
    return path.is_file() and bool(cv2.haveImageReader(str(path)))


def _not_there(source: str) -> str:
    """Why a source is none, in words; what people take for one is named."""
    kind = urlsplit(source).scheme.lower() if "://" in source else ""
    if kind in ("http", "https", "s3", "gs", "ftp"):
        return f"{source} is an address, and predict reads files of this machine: download it first"
    if kind:
        return f"{source} is a stream, which is not read: give a camera's number, or record it to a file"
    if re.search(r"%0?\d*d", source) or any(sign in source for sign in "*?["):
        return f"there is no {source}: patterns are not followed; give the folder"
    return f"there is no {source}; give images, folders, a video, or a camera's number"


def count_pictures(sources: Sequence[str]) -> int | None:
    """The number of pictures in the sources; None where it is unknown."""
    if is_camera(sources[0]):
        return None
    if not is_stream(sources[0]):
        return len(image_files(sources))
    stream = VideoSource(sources[0])
    stream.close()
    return stream.count


def read_files(paths: Sequence[Path]) -> Iterator[Picture]:
    """Read files one at a time. A file that cannot be read gives a picture with the reason."""
    for path in paths:
        try:
            yield Picture(str(path), read_image(path))
        except (OSError, ValueError) as error:
            yield Picture(str(path), None, str(error))


class VideoSource:
    """A video or camera, frame by frame. Close it after use.

    Args:
        source: a video's path, or a camera's number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be opened.
    """

    def __init__(self, source: str) -> None:
        self.is_camera = is_camera(source)
        if not self.is_camera and not Path(source).is_file():
            raise FileNotFoundError(_not_there(source))
        self.source = source
        self._capture = cv2.VideoCapture(int(source) if self.is_camera else source)
        if not self._capture.isOpened():
            what = "camera" if self.is_camera else "video"
            raise ValueError(f"{what} {source} cannot be opened; it is not there, in use, or in a format unknown here")
        self._stated = float(self._capture.get(cv2.CAP_PROP_FPS))
        frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = frames if frames > 0 and not self.is_camera else None
        """Frames according to the header; None where it does not say."""

    @cached_property
    def rate(self) -> float:
        """Frames a second that show every frame; of a film, as far as its first hundred frames tell."""
        return rate_of([] if self.is_camera else first_times(self.source), self._stated)

    def __iter__(self) -> Iterator[Picture]:
        """Frame after frame. Where a video or camera ends too early, the last picture has the reason."""
        number, time, before = 0, 0.0, 0.0
        step = 1 / rate_of((), self._stated)
        while True:
            there, frame = self._capture.read()
            if not there:
                break
            name, stamp = f"{self.source} frame {number}", self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            gap = stamp - before
            if number and gap > LONGEST_GAP:
                yield Picture(name, None, f"{name} comes {gap:,.0f} s after the one before; drawn after {step:.2f} s")
            if number:  # times that stand still or jump are no times
                time += gap if 0 < gap <= LONGEST_GAP else step
            before = stamp
            yield Picture(name, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), time=None if self.is_camera else time)
            number += 1
        if self.is_camera:
            yield Picture(self.source, None, f"camera {self.source} gave no more pictures after {number}")
        elif lacks := missing(self.source, number, self.count or 0, time + step, self._stated):
            error = f"{self.source} ended after {number} frames, and {lacks}: it is truncated or damaged"
            yield Picture(self.source, None, error)

    def close(self) -> None:
        """Release the file or camera."""
        self._capture.release()
