"""Where pictures come from: image files, folders, videos and cameras, read one picture at a time."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lhrnet.image_file import read_image

Image = NDArray[np.uint8]

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"})
VIDEOS = frozenset({".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"})
WRITTEN = ("results.json", "images.json")
"""Files by which a folder of earlier predictions is recognised."""
COMPLETE = 0.95
"""A video with a smaller part of its header's frame count is reported as truncated. Headers are off by a few frames."""


@dataclass(frozen=True)
class Picture:
    """One image or frame, or why it could not be read."""

    name: str
    """Path of the file; of a video or camera, that and the frame's number."""
    image: Image | None
    """(H, W, 3) RGB, upright; None where it could not be read."""
    error: str = ""


def is_camera(source: str) -> bool:
    """Whether a source is a camera's number, and not a file or folder of that name."""
    return source.isascii() and source.isdigit() and len(source) <= 4 and not Path(source).exists()


def is_stream(source: str) -> bool:
    """Whether a source is a video or, as a number, a camera."""
    return is_camera(source) or (Path(source).suffix.lower() in VIDEOS and not Path(source).is_dir())


def image_files(sources: Sequence[str]) -> list[Path]:
    """The image files among the sources, each once: a folder's in order of name, folders within it included.

    Folders of earlier predictions within a folder are left out.

    Raises:
        FileNotFoundError: a source is not there, or a folder holds no image.
    """
    found: dict[str, Path] = {}
    for source in sources:
        path = Path(source)
        if path.is_dir():
            inside = sorted(_images_below(path))
            if not inside:
                raise FileNotFoundError(f"folder {source} holds no image ({', '.join(sorted(IMAGES))})")
        elif path.exists():
            inside = [path]
        else:
            raise FileNotFoundError(f"there is no {source}; give images, folders, a video, or a camera's number")
        for file in inside:
            found.setdefault(os.path.abspath(file), file)
    return list(found.values())


def _images_below(folder: Path) -> Iterator[Path]:
    for place, below, names in os.walk(folder):
        if Path(place) != folder and set(WRITTEN) <= set(names):
            below.clear()
        else:
            yield from (Path(place) / name for name in names if Path(name).suffix.lower() in IMAGES)


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
            raise FileNotFoundError(f"there is no video {source}")
        self.source = source
        self._capture = cv2.VideoCapture(int(source) if self.is_camera else source)
        if not self._capture.isOpened():
            what = "camera" if self.is_camera else "video"
            raise ValueError(f"{what} {source} cannot be opened; it is not there, in use, or in a format unknown here")
        rate = self._capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate < 1000 else 25.0
        """Frames a second."""
        frames = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.count = frames if frames > 0 and not self.is_camera else None
        """Frames according to the header; None where it does not say."""

    def __iter__(self) -> Iterator[Picture]:
        """Frame after frame. Where a video or camera ends too early, the last picture has the reason."""
        number = 0
        while True:
            there, frame = self._capture.read()
            if not there:
                break
            yield Picture(f"{self.source} frame {number}", cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
            number += 1
        if self.is_camera:
            yield Picture(self.source, None, f"camera {self.source} gave no more pictures after {number}")
        elif self.count and number < COMPLETE * self.count:
            error = f"{self.source} ended at frame {number} of {self.count}: it is truncated or damaged"
            yield Picture(self.source, None, error)

    def close(self) -> None:
        """Release the file or camera."""
        self._capture.release()
