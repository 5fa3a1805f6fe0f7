"""What people point a network at: images, folders, videos, cameras, one picture after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"})
VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})


@dataclass(frozen=True)
class Picture:
    """One image or frame, or why it could not be read."""

    name: str
    """Path of the file; of a video or camera, that and the frame's number."""
    image: Image | None
    """(H, W, 3) RGB, upright."""
    error: str = ""


def read_image(path: Path) -> Image:
    """An image file as RGB bytes, upright as its EXIF orientation says; grey, alpha and 16 bits become RGB of 8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not decode.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no image {path}")
    content = np.fromfile(path, dtype=np.uint8)
    try:
        image = cv2.imdecode(content, cv2.IMREAD_COLOR_RGB) if content.size else None
    except cv2.error as error:
        raise ValueError(f"{path} cannot be decoded: {error.err}") from None
    if image is None:
        raise ValueError(f"{path} is not an image that can be decoded, or it is damaged")
    return np.asarray(image)


def is_stream(source: str) -> bool:
    """Whether a source is a video or, as a number, a camera."""
    return source.isdigit() or Path(source).suffix.lower() in VIDEOS


def files(sources: Sequence[str]) -> list[Path]:
    """The image files among the sources, a folder's in order of name, folders within it included.

    Raises:
        FileNotFoundError: a source is not there, or a folder holds no image.
    """
    found: list[Path] = []
    for source in sources:
        path = Path(source)
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGES)
            if not inside:
                raise FileNotFoundError(f"folder {source} holds no image ({', '.join(sorted(IMAGES))})")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise FileNotFoundError(f"there is no {source}; give images, folders, a video, or a camera's number")
    return found


def count(sources: Sequence[str]) -> int | None:
    """How many pictures the sources hold; None where nobody knows."""
    if not is_stream(sources[0]):
        return len(files(sources))
    stream = Stream(sources[0])
    stream.close()
    return stream.count


def read_files(paths: Sequence[Path]) -> Iterator[Picture]:
    """Read one file after the other; one that cannot be read says why."""
    for path in paths:
        try:
            yield Picture(str(path), read_image(path))
        except (OSError, ValueError) as error:
            yield Picture(str(path), None, str(error))


class Stream:
    """A video or camera, frame by frame. Use as a context manager.

    Args:
        source: a video's path, or a camera's number.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it cannot be opened.
    """

    def __init__(self, source: str) -> None:
        if not source.isdigit() and not Path(source).is_file():
            raise FileNotFoundError(f"there is no video {source}")
        self.source = source
        self._capture = cv2.VideoCapture(int(source) if source.isdigit() else source)
        if not self._capture.isOpened():
            what = "camera" if source.isdigit() else "video"
            raise ValueError(f"{what} {source} cannot be opened; it is not there, in use, or in a format unknown here")
        self.rate = self._capture.get(cv2.CAP_PROP_FPS) or 25.0
        frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = frames if frames > 0 else None

    def __iter__(self) -> Iterator[Picture]:
        number = 0
        while True:
            there, frame = self._capture.read()
            if not there:
                return
            yield Picture(f"{self.source} frame {number}", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            number += 1

    def close(self) -> None:
        """Let go of the file or camera."""
        self._capture.release()
