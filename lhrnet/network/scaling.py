"""Compound scaling: input side and channels as functions of the scale r (the paper's equations 1 to 3)."""

import math
from typing import Final

MIN_R: Final = -4
MAX_R: Final = 0

_EFFICIENTNET_B0_WIDTHS: Final = (16, 24, 40, 80, 112, 192, 320)


def check_r(r: int) -> None:
    """Refuse a scale for which the equations are not defined.

    Raises:
        ValueError: r is not an integer from -4 to 0.
    """
    if type(r) is not int or not MIN_R <= r <= MAX_R:
        raise ValueError(f"r={r!r} is out of range; r must be an integer from {MIN_R} to {MAX_R}")


def input_side(r: int) -> int:
    """Side of the square input in pixels: 512 + 32 r (equation 1)."""
    check_r(r)
    return 512 + 32 * r


def round_width(width: float) -> int:
    """Nearest multiple of 8, at least 8 and at least 90 % of `width` (EfficientNet's rule)."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def backbone_widths(r: int) -> tuple[int, ...]:
    """Channels of the seven backbone rows: EfficientNet-B0's times 1.1^r, rounded to multiples of 8 (equation 2)."""
    check_r(r)
    return tuple(round_width(width * 1.1**r) for width in _EFFICIENTNET_B0_WIDTHS)


def tapped_widths(r: int) -> tuple[int, int, int, int]:
    """Channels of A1..A4, the backbone's feature maps at 1/4, 1/8, 1/16 and 1/32 that feed the branches."""
    widths = backbone_widths(r)
    return widths[1], widths[2], widths[4], widths[6]


def branch_widths(r: int) -> tuple[int, int, int, int]:
    """Channels of the four branches: 32, 64, 128, 256 times 1.2455^r, rounded up (equation 3)."""
    check_r(r)
    first, second, third, fourth = (math.ceil(width * 1.2455**r) for width in (32, 64, 128, 256))
    return first, second, third, fourth
