"""An image file as pixels."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


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
    upright = np.asarray(image)
    return _turned(upright, content.tobytes()) if content[4:12].tobytes() == b"ftypavif" else upright


def _turned(image: Image, avif: bytes) -> Image:
    """AVIF says by two boxes of its own how it is to be turned and mirrored, and OpenCV ignores them."""
    if (box := avif.find(b"\0\0\0\x09irot", 0, -1)) >= 0:
        image = np.rot90(image, avif[box + 8] & 3)
    if (box := avif.find(b"\0\0\0\x09imir", 0, -1)) >= 0:
        image = image[:, ::-1] if avif[box + 8] & 1 else image[::-1]
    return np.ascontiguousarray(image)
