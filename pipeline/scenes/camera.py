"""What a camera makes of a painted scene: grain, blur, and the light that it was taken in."""

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


@lru_cache(maxsize=1)
def _grain() -> NDArray[np.int16]:
    """One large field of film grain: mostly fine, a little of it coarser; scenes cut their own piece of it."""
    rng = np.random.default_rng(0)
    fine = rng.normal(0.0, 1.0, (1024, 1024, 3)).astype(np.float32)
    coarse = cv2.resize(rng.normal(0.0, 1.0, (256, 256, 1)).astype(np.float32), (1024, 1024))
    return np.asarray((fine * 9.0 + coarse[..., None] * 3.0).astype(np.int16))


def finish(rng: np.random.Generator, image: Image) -> Image:
    """What a camera does: light from one side, blur, grain and contrast; (h, w, 3) uint8 in and out."""
    h, w = image.shape[:2]
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (3, 3), float(rng.uniform(0.4, 0.9))))
    corners = rng.uniform(0.78, 1.12, (2, 2)).astype(np.float32)
    light = cv2.resize(corners, (w, h))[..., None]
    y, x = (int(v) for v in rng.integers(0, 1024 - np.array([h, w])))
    grain = _grain()[y : y + h, x : x + w] * np.float32(rng.uniform(0.15, 0.9))
    contrast = np.float32(rng.uniform(0.82, 1.12))
    lit = (image * light + grain - 120.0) * contrast + np.float32(120.0 + rng.uniform(-12.0, 12.0))
    finished: Image = np.clip(lit, 0.0, 255.0).astype(np.uint8)
    return finished


def smear(rng: np.random.Generator, image: Image, mask: Image, length: float) -> None:
    """Blur what the mask shows along a line, as if it had moved while the picture was taken; in place.

    Args:
        image: (H, W, 3).
        mask: (H, W), 1 where the moving thing shows; its surroundings shine through at its borders.
        length: of the movement in pixels; below 2 nothing is done.
    """
    size = 2 * int(length / 2) + 1
    x, y, b, c = cv2.boundingRect(mask)
    if size < 3 or not b:
        return
    x0, y0, x1, y1 = max(0, x - size), max(0, y - size), x + b + size, y + c + size
    angle = float(rng.uniform(0.0, math.pi))
    reach = np.array([math.cos(angle), math.sin(angle)]) * (size - 1) / 2
    start, end = (tuple(round(size // 2 + s * float(v)) for v in reach) for s in (-1, 1))
    kernel = np.zeros((size, size), np.float32)
    cv2.line(kernel, start, end, 1.0)
    kernel /= kernel.sum()
    region, inside = image[y0:y1, x0:x1], mask[y0:y1, x0:x1, None].astype(np.float32)
    share = cv2.filter2D(inside, -1, kernel, borderType=cv2.BORDER_REPLICATE)[..., None]
    moving = cv2.filter2D(region * inside, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    region[:] = np.clip(np.rint(moving + region * (1.0 - share)), 0.0, 255.0).astype(np.uint8)


def light_up(rng: np.random.Generator, image: Image, strength: float) -> Image:
    """Put a scene (h, w, 3) into a light that is seldom good: lamp, low sun, fog, night, or one of many colours.

    Args:
        strength: 0 is ordinary light, 1 may leave little to see.
    """
    h, w = image.shape[:2]
    kind, scene = int(rng.integers(5)), image.astype(np.float32)
    colour = 1.0 + strength * rng.uniform(-0.35, 0.35, 3).astype(np.float32)
    if kind == 0:  # a lamp on one place, the rest in the dark
        x, y = rng.uniform(0.1, 0.9) * w, rng.uniform(0.1, 0.7) * h
        far = np.hypot((np.arange(w) - x) / w, ((np.arange(h) - y) / h)[:, None]).astype(np.float32)
        scene *= (1.0 - strength * np.clip(1.5 * far - 0.2, 0.0, 0.8))[..., None] * colour
    elif kind == 1:  # a low sun from one side that dazzles
        side = np.linspace(*((1.0, 0.0) if rng.random() < 0.5 else (0.0, 1.0)), w, dtype=np.float32)[:, None]
        scene = scene * (1.0 - 0.3 * strength) + side**2 * strength * 0.6 * np.array([255.0, 235.0, 190.0], np.float32)
    elif kind == 2:  # fog, thicker above
        thick = np.linspace(rng.uniform(0.4, 0.75), 0.2, h, dtype=np.float32)[:, None, None] * strength
        scene = scene * (1.0 - thick) + thick * np.float32(rng.uniform(150, 225))
    elif kind == 3:  # night: dark, blue and grainy
        noise = rng.normal(0.0, 7.0 * strength, (h, w, 1)).astype(np.float32)
        scene = scene * (1.0 - strength * (1.0 - np.array([0.3, 0.36, 0.5], np.float32))) + noise
    else:  # lamps of one colour
        scene *= colour * np.float32(rng.uniform(0.7, 1.15))
    lit: Image = np.clip(scene, 0.0, 255.0).astype(np.uint8)
    return lit
