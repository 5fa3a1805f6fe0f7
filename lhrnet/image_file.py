"""An image file as pixels, and which way up they are: the one rule for sharding, training, scoring and predicting.

A picture is upright as its file says (EXIF's orientation, TIFF's, AVIF's). Where its annotation gives a size that fits
the pixels only as they are stored, they stay as they are stored: whoever annotated it did not know the orientation.
"""

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lhrnet.orientation import SIDEWAYS, TIFF, jpeg_size, orientation, turned, turned_back

Image = NDArray[np.uint8]

MAX_SIDE = 1 << 20
"""Pixels of a side at most, which is OpenCV's own limit."""
HEIC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
"""Brands of the files that iPhones write, for which OpenCV has no decoder."""


def read_image(path: Path) -> Image:
    """An image file as RGB bytes, upright; grey, alpha and 16 bits become RGB of 8.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it does not decode.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no image {path}")
    return decode(path.read_bytes(), name=str(path))


def decode(content: bytes, size: tuple[int, int] | None = None, *, reduce: int = 1, name: str = "the file") -> Image:
    """Decode to (H, W, 3) RGB.

    Args:
        content: the file's bytes.
        size: (width, height) that the annotation says; None: there is no annotation, and the picture is upright.
        reduce: 1, 2 or 4: decode a JPEG at that fraction of the size, rounded up, which is much cheaper.
        name: for messages.

    Raises:
        ValueError: the bytes are no image, or one of another size, both as it is stored and upright.
    """
    flag = {1: cv2.IMREAD_COLOR_RGB, 2: cv2.IMREAD_REDUCED_COLOR_2, 4: cv2.IMREAD_REDUCED_COLOR_4}[reduce]
    try:
        read = cv2.imdecode(np.frombuffer(content, np.uint8), flag | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error as error:
        if "MAX_IMAGE" in error.err:
            pixels = os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"]  # as `lhrnet` or the user set it
            raise ValueError(f"{name} says it has more than {pixels} pixels, or {MAX_SIDE} to a side") from None
        read = None
    if read is None:
        raise ValueError(f"{name} is {_why_not(content)}")
    decoded = np.asarray(read if reduce == 1 else cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8)
    number = orientation(content)
    image = _the_right_way_up(decoded, number, content, size, reduce)
    if size is not None and image.shape[:2] != (-(-size[1] // reduce), -(-size[0] // reduce)):
        seen = f"{image.shape[1]}x{image.shape[0]}" + (f" at 1/{reduce}" if reduce > 1 else "")
        way = f" (turned as its orientation {number} says)" if number >= SIDEWAYS else ""
        raise ValueError(f"the image is {seen}{way} and its annotation says {size[0]}x{size[1]}")
    return image


def _the_right_way_up(pixels: Image, number: int, content: bytes, size: tuple[int, int] | None, reduce: int) -> Image:
    if number == 1:
        return pixels
    is_turned = content[:4] in TIFF  # OpenCV turns TIFFs by itself, whatever the flag says
    if number >= SIDEWAYS and size is not None and size[0] != size[1]:
        height, width = pixels.shape[1::-1] if is_turned else pixels.shape[:2]
        if size == ((width, height) if reduce == 1 else jpeg_size(content)):
            return turned_back(pixels, number) if is_turned else pixels
    return pixels if is_turned else turned(pixels, number)


def _why_not(content: bytes) -> str:
    if content[4:8] == b"ftyp" and content[8:12] in HEIC:
        return "a HEIC picture, which cannot be decoded here: save it as JPEG or PNG"
    if not content:
        return "empty: 0 bytes, and no image"
    return f"not an image that can be decoded, or it is damaged ({len(content)} bytes)"
