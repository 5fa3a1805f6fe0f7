"""Whether an image file is whole, and ignore masks as pixels. Images: `lhrnet.image_file.decode`."""

from typing import Final

import cv2
import numpy as np
import simplejpeg

import lhrnet
from lhrnet.image_file import Image
from lhrnet.orientation import JPEG

MAX_PIXELS: Final = lhrnet.MAX_PIXELS
"""Pixels of an image at most; what a header claims is read before the memory for it is taken."""


def check_whole(jpeg: bytes) -> None:
    """Check that a JPEG is complete. OpenCV decodes a damaged one to an image that is partly grey, without a warning.

    Raises:
        ValueError: a JPEG that lacks its end marker or whose data are damaged. Extraneous bytes before a marker, which
            some cameras write, are allowed, and so are those after the image, such as a motion photo's video.
    """
    if not jpeg.startswith(JPEG):
        return
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(jpeg)
        if height * width > MAX_PIXELS:
            raise OverflowError(f"the JPEG says it is {width}x{height}, more than {MAX_PIXELS:,} pixels")
        simplejpeg.decode_jpeg(jpeg, "CMYK" if space in ("CMYK", "YCCK") else "RGB")
    except OverflowError as error:
        raise ValueError(str(error)) from None
    except ValueError as error:
        if "Premature end of JPEG file" in str(error):
            raise ValueError(f"the JPEG is cut after {len(jpeg)} bytes: it has no end marker") from error
        if "extraneous bytes before marker" not in str(error):
            raise ValueError(f"the JPEG is damaged within: {error}") from error


def decode_ignored(png: bytes, width: int, height: int) -> Image:
    """Decode an ignore mask to (H, W), 255 where the loss is not counted.

    Raises:
        ValueError: the bytes are no image of that size.
    """
    ignored = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE) if png else None
    if ignored is None or ignored.shape != (height, width):
        raise ValueError(f"the ignore mask does not decode to {width}x{height}")
    return np.asarray(ignored, np.uint8)
