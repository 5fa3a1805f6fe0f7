"""A canvas that keeps, beside the colours, which part of whom every pixel shows.

The label map makes annotations exact: a keypoint is visible where its pixel still shows a part that the keypoint
belongs to after everything has been painted, and an object's mask is the pixels that still show the object.
"""

import math
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Colour = tuple[float, float, float]

PARTS: Final = 32
"""Parts that the label map can tell apart on one object, counted from 1; 0 is the scenery."""

_SUBPIXELS: Final = 4
"""Binary digits of a pixel that OpenCV's drawing takes as fraction."""
_ENDS: Final = np.concatenate([np.linspace(0.0, math.pi, 8), np.linspace(math.pi, 2.0 * math.pi, 8)])
_ROUND: Final = np.stack([np.cos(_ENDS), np.sin(_ENDS)], 1)
_FULL: Final = np.stack([np.cos(np.linspace(0, 2 * math.pi, 20)), np.sin(np.linspace(0, 2 * math.pi, 20))], 1)


def tint(colour: Colour, factor: float, plus: float = 0.0) -> Colour:
    """A colour made lighter or darker, kept within 0 to 255."""
    r, g, b = colour
    return (
        min(255.0, max(0.0, r * factor + plus)),
        min(255.0, max(0.0, g * factor + plus)),
        min(255.0, max(0.0, b * factor + plus)),
    )


class Canvas:
    """An RGB picture and its label map, both at twice the final resolution.

    Coordinates are the project's: continuous, in final pixels, x right and y down, pixel i covering [i, i + 1).

    Attributes:
        image: (2H, 2W, 3) uint8.
        labels: (2H, 2W) uint16: (object + 1) · PARTS + part; below PARTS where no object shows.
    """

    FINE: Final = 2

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self.image = image
        self.labels = np.zeros(image.shape[:2], np.uint16)

    def polygon(self, outline: Points, colour: Colour, label: int | None) -> None:
        """Fill a polygon (N, 2), convex or nearly so; without a label only the colours change."""
        fixed = np.rint((outline * self.FINE - 0.5) * (1 << _SUBPIXELS)).astype(np.int32)
        cv2.fillConvexPoly(self.image, fixed, colour, cv2.LINE_8, _SUBPIXELS)
        if label is not None:
            cv2.fillConvexPoly(self.labels, fixed, label, cv2.LINE_8, _SUBPIXELS)

    def capsule(self, a: Points, b: Points, ra: float, rb: float, colour: Colour, label: int | None) -> None:
        """A rod with round ends, from `a` with radius `ra` to `b` with radius `rb`."""
        x, y = float(b[0] - a[0]), float(b[1] - a[1])
        length = math.hypot(x, y)
        x, y = (x / length, y / length) if length > 1e-6 else (0.0, 1.0)
        outline = _ROUND @ np.array([[-y, x], [x, y]])
        half = len(outline) // 2
        outline[:half] *= rb
        outline[:half] += b
        outline[half:] *= ra
        outline[half:] += a
        self.polygon(outline, colour, label)

    def ellipse(
        self, centre: Points, radii: tuple[float, float], angle: float, colour: Colour, label: int | None
    ) -> None:
        """An ellipse turned by `angle` radians clockwise."""
        cosine, sine = math.cos(angle), math.sin(angle)
        axes = np.array([[radii[0] * cosine, radii[0] * sine], [-radii[1] * sine, radii[1] * cosine]])
        self.polygon(centre + _FULL @ axes, colour, label)

    def shadow(self, centre: Points, radius: float) -> None:
        """Darken an ellipse on the ground, four times as wide as high, towards its middle."""
        fine, (h, w) = self.FINE, self.image.shape[:2]
        x0, x1 = (int(np.clip((centre[0] + s * radius) * fine, 0, w)) for s in (-1, 1))
        y0, y1 = (int(np.clip((centre[1] + s * radius * 0.25) * fine, 0, h)) for s in (-1, 1))
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        region = self.image[y0:y1, x0:x1]
        x = (np.arange(x0, x1) / fine - centre[0]) / radius
        y = (np.arange(y0, y1) / fine - centre[1]) / (radius * 0.25)
        dark = 1.0 - 0.4 * np.clip(1.2 - x**2 - y[:, None] ** 2, 0.0, 1.0, dtype=np.float32)
        region[:] = (region * dark[..., None]).astype(np.uint8)
