"""Where pixels lie: affine maps between an image, the network's input and its maps.

Coordinates are continuous corner coordinates everywhere: x to the right, y down, pixel i covers [i, i + 1) and has its
centre at i + 0.5. A map of stride s holds the point x at x / s, mirroring an image of width W takes x to W - x, and
neither needs a correction. OpenCV counts from pixel centres: `warp` is the one place that shifts by half a pixel.
"""

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Matrix = NDArray[np.float64]
"""(2, 3): a linear part and a translation, taking column vectors (x, y, 1)."""

STEP = 64
"""Input sides at test time are multiples of this many pixels (the reference code's choice)."""

LONGEST = 8
"""Maximum aspect ratio of the input: a strip of 3000x1 pixels would otherwise need one of 384,000 x 128."""


def affine(centre: tuple[float, float], scale: float, size: tuple[int, int], rotation: float = 0.0) -> Matrix:
    """The map that rotates and scales an image about a point and moves that point to the middle of the output.

    Args:
        centre: (x, y) in image pixels that lands on the middle of the output.
        scale: output pixels per image pixel. The reference code's scale s with resolution res is `res / (200 * s)`.
        size: (width, height) of the output.
        rotation: degrees, counter-clockwise on the screen.

    Returns:
        (2, 3) float64, image pixels to output pixels.
    """
    radians = math.radians(rotation)
    cos, sin = scale * math.cos(radians), scale * math.sin(radians)
    x, y = centre
    return np.array([[cos, sin, size[0] / 2 - cos * x - sin * y], [-sin, cos, size[1] / 2 + sin * x - cos * y]])


def mirror(width: float) -> Matrix:
    """(2, 3): x to `width` - x."""
    return np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0]])


def compose(second: Matrix, first: Matrix) -> Matrix:
    """(2, 3): the map that does `first`, then `second`."""
    composed = second[:, :2] @ first
    composed[:, 2] += second[:, 2]
    return composed


def enlargement(matrix: Matrix) -> float:
    """How many output pixels long an image pixel becomes, by the area that it fills."""
    (a, b, _), (c, d, _) = matrix.tolist()  # numpy's determinant takes as long as a small warp
    return math.sqrt(abs(a * d - b * c))


def inverse(matrix: Matrix) -> Matrix:
    """(2, 3): the map back.

    Raises:
        ValueError: the map flattens the plane and has no way back.
    """
    (a, b, x), (c, d, y) = matrix.tolist()
    area = a * d - b * c
    if not np.isfinite(matrix).all() or abs(area) < 1e-12:
        raise ValueError(f"the affine map {matrix.tolist()} cannot be undone; its scale must not be zero")
    return np.array([[d / area, -b / area, (b * y - d * x) / area], [-c / area, a / area, (c * x - a * y) / area]])


def apply(matrix: Matrix, points: ArrayLike) -> NDArray[np.float64]:
    """Move points.

    Args:
        matrix: (2, 3).
        points: (..., 2) x, y.

    Returns:
        (..., 2) float64.
    """
    return np.asarray(points, dtype=np.float64) @ matrix[:, :2].T + matrix[:, 2]


def warp(
    image: NDArray[Any],
    matrix: Matrix,
    size: tuple[int, int],
    *,
    interpolation: int = cv2.INTER_LINEAR,
    border: float = 0,
    shrink: bool = True,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Warp an image by an affine map: what lies at x in the image lies at `apply(matrix, x)` in the output.

    Args:
        image: (H, W) or (H, W, C), uint8 or float32.
        matrix: (2, 3), image pixels to output pixels.
        size: (width, height) of the output.
        interpolation: OpenCV's flag.
        border: value of what lies outside the image.
        shrink: average pixels first when the map makes the image less than half as large, because four neighbours
            would then skip pixels in between. Not done under INTER_NEAREST.
        out: contiguous array for the result, of its shape and type; None: a new one.

    Returns:
        (height, width) or (height, width, C), of the image's type.
    """
    scale = enlargement(matrix)
    if shrink and scale < 0.5 and interpolation != cv2.INTER_NEAREST:
        height, width = image.shape[:2]
        smaller = max(1, round(2 * scale * width)), max(1, round(2 * scale * height))
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
        matrix = compose(matrix, np.diag([width / smaller[0], height / smaller[1], 0.0])[:2])
    (a, b, x), (c, d, y) = matrix.tolist()  # on two rows, arithmetic by array costs as much as the warp of a mask
    centres = np.array([[a, b, x + (a + b) / 2 - 0.5], [c, d, y + (c + d) / 2 - 0.5]])
    return np.asarray(cv2.warpAffine(image, centres, size, dst=out, flags=interpolation, borderValue=(border,) * 4))


def input_size(width: int, height: int, size: int, *, scale: float = 1, min_scale: float = 1) -> tuple[int, int]:
    """The network's input for one image: the short side at `size`, the long side in proportion, both rounded up.

    The sides are rounded up to a multiple of 64 at the smallest scale and then multiplied (480 is tested at 512, and
    448 with a smallest scale of 0.5 at 256, 512 and 1024): the reference code's rule. Images that are longer than 8:1
    get an input of 8:1.

    Args:
        width: image pixels.
        height: image pixels.
        size: the short side asked for.
        scale: one of the scales tested.
        min_scale: the smallest of them.

    Returns:
        (width, height).
    """
    if min(width, height, size) < 1:
        raise ValueError(f"an image of {width}x{height} cannot be resized to {size}; every side must be at least 1")
    short = int((min_scale * size + STEP - 1) // STEP) * STEP
    long = int((short / min(width, height) * max(width, height) + STEP - 1) // STEP) * STEP
    long = min(long, LONGEST * short)
    sides = int(short * scale / min_scale), int(long * scale / min_scale)
    return sides if width < height else sides[::-1]


def fit(width: int, height: int, size: tuple[int, int]) -> Matrix:
    """The map that makes an image as large as an input holds, the image's middle on the input's middle.

    The aspect ratio is kept, and the padding (along the long side, which `input_size` rounds up) is split between both
    ends. The reference code rounds the image's middle to a whole pixel, which shifts the flip of an image with odd
    sides: not done here.

    Args:
        width: image pixels.
        height: image pixels.
        size: (width, height) of the input, as `input_size` gives it.

    Returns:
        (2, 3) float64, image pixels to input pixels.
    """
    return affine((width / 2, height / 2), min(size[0] / width, size[1] / height), size)
