"""Sizes of images whose annotations do not say them."""

from lhrnet.image_file import decode
from lhrnet.orientation import JPEG, SIDEWAYS, jpeg_size, orientation


def upright_size(content: bytes) -> tuple[int, int]:
    """(width, height) of an image file turned upright as it says, which is how annotation tools show it.

    Of a JPEG only the header is looked at.

    Raises:
        ValueError: the bytes are no image, or one of too many pixels.
    """
    size = jpeg_size(content) if content.startswith(JPEG) else (0, 0)
    if not all(size):
        height, width = decode(content).shape[:2]
        return width, height
    return size[::-1] if orientation(content) >= SIDEWAYS else size
