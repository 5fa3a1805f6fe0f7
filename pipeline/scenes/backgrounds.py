"""Where the drawn people stand: rooms, fields, streets and plain textures, with clutter that is not a person."""

from collections.abc import Callable
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Scenery = Callable[[np.random.Generator, int, int], Image]


def _colour(rng: np.random.Generator, low: float = 40.0, high: float = 225.0, grey: float = 0.5) -> tuple[float, ...]:
    """A colour, drawn towards its own grey."""
    rgb = rng.uniform(low, high, 3)
    return tuple(float(c) for c in rgb * (1.0 - grey) + rgb.mean() * grey)


def _mix(a: tuple[float, ...], b: tuple[float, ...], t: float) -> tuple[float, ...]:
    return tuple(x * (1.0 - t) + y * t for x, y in zip(a, b, strict=True))


def _gradient(rows: int, width: int, top: tuple[float, ...], bottom: tuple[float, ...]) -> Image:
    t = np.linspace(0.0, 1.0, max(rows, 1))[:, None]
    column = (np.array(top) * (1.0 - t) + np.array(bottom) * t).astype(np.uint8)
    return np.repeat(column[:, None], width, 1)


def _split(rng: np.random.Generator, h: int, w: int, low: float, high: float) -> tuple[Image, int]:
    """An upper and a lower part, each with a gradient, and the row where they meet."""
    row = int(h * rng.uniform(low, high))
    upper, lower = _colour(rng), _colour(rng)
    image = np.empty((h, w, 3), np.uint8)
    image[:row] = _gradient(row, w, upper, _mix(upper, (255.0,) * 3, 0.15))
    image[row:] = _gradient(h - row, w, _mix(lower, (0.0,) * 3, 0.25), lower)
    return image, row


def _room(rng: np.random.Generator, h: int, w: int) -> Image:
    image, row = _split(rng, h, w, 0.5, 0.8)
    wall = tuple(float(c) for c in image[0, 0])
    if rng.random() < 0.4:
        step = int(rng.integers(h // 14, h // 6))
        for x in range(int(rng.integers(step)), w, step):
            cv2.line(image, (x, 0), (x, row), _mix(wall, (255.0,) * 3, 0.2), max(1, step // 4))
    for _ in range(int(rng.integers(0, 3))):
        x, y = int(rng.uniform(0, 0.8) * w), int(rng.uniform(0, 0.5) * row)
        b, c = int(rng.uniform(0.12, 0.35) * w), int(rng.uniform(0.2, 0.5) * row)
        cv2.rectangle(image, (x, y), (x + b, y + c), _mix(wall, (0.0,) * 3, 0.5), -1)
        cv2.rectangle(image, (x + 5, y + 5), (x + b - 5, y + c - 5), _colour(rng, 90.0, 250.0), -1)
    cv2.rectangle(image, (0, row - h // 50), (w, row), _mix(wall, (0.0,) * 3, 0.35), -1)
    for i in range(1, 5):
        y = row + int((h - row) * (i / 5) ** 1.5)
        cv2.line(image, (0, y), (w, y), tuple(float(c) * 0.86 for c in image[min(y, h - 1), 0]), 2)
    return image


def _field(rng: np.random.Generator, h: int, w: int) -> Image:
    row = int(h * rng.uniform(0.35, 0.65))
    sky, ground = (rng.uniform(110, 190), rng.uniform(160, 215), rng.uniform(200, 250)), _colour(rng, 60, 180, 0.2)
    if rng.random() < 0.5:
        ground = (rng.uniform(70, 130), rng.uniform(120, 180), rng.uniform(50, 100))
    image = np.empty((h, w, 3), np.uint8)
    image[:row] = _gradient(row, w, sky, _mix(sky, (255.0,) * 3, 0.6))
    image[row:] = _gradient(h - row, w, _mix(ground, (0.0,) * 3, 0.2), ground)
    x = np.arange(0, w + 8, 8)
    for i in range(int(rng.integers(1, 4))):
        wave = row - h * (0.12 - 0.04 * i) * (0.6 + 0.4 * np.sin(x / w * rng.uniform(3, 9) + rng.uniform(0, 6)))
        hill = np.concatenate([np.stack([x, wave], 1), [(w, row), (0, row)]]).astype(np.int32)
        cv2.fillPoly(image, [hill], _mix(ground, sky, 0.55 - 0.2 * i))
    for _ in range(int(rng.integers(0, 5))):
        foot, size = np.array([rng.uniform(0, w), row + rng.uniform(0, 0.1) * h]), h * rng.uniform(0.1, 0.3)
        top = (int(foot[0]), int(foot[1] - size))
        cv2.line(image, (int(foot[0]), int(foot[1])), top, _colour(rng, 50, 110, 0.4), max(2, int(size / 8)))
        leaf = _mix(ground, _colour(rng, 30, 140), 0.4)
        for shift in rng.normal(0, size / 5, (4, 2)):
            cv2.circle(image, (int(top[0] + shift[0]), int(top[1] + shift[1])), int(size / 3.5), leaf, -1)
            leaf = tuple(min(255.0, c * 1.07) for c in leaf)
    return image


def _street(rng: np.random.Generator, h: int, w: int) -> Image:
    image, row = _split(rng, h, w, 0.55, 0.75)
    x = -int(rng.integers(0, w // 4))
    while x < w:
        b, top = int(rng.uniform(0.18, 0.45) * w), int(rng.uniform(-0.1, 0.6) * row)
        wall = _colour(rng, 60, 210, 0.6)
        cv2.rectangle(image, (x, top), (x + b, row), wall, -1)
        pane, step = _mix(wall, _colour(rng, 20, 250), 0.5), int(rng.integers(h // 16, h // 9))
        for wy in range(max(top, 0) + step // 2, row - step, step):
            for wx in range(x + step // 3, x + b - step // 2, step):
                cv2.rectangle(image, (wx, wy), (wx + step // 2, wy + int(step * 0.6)), pane, -1)
        x += b
    if rng.random() < 0.6:
        y, stripe = int(row + (h - row) * rng.uniform(0.3, 0.8)), _colour(rng, 180, 240, 0.9)
        for wx in range(int(rng.integers(0, 60)), w, 90):
            cv2.rectangle(image, (wx, y), (wx + 50, y + h // 60), stripe, -1)
    return image


def _cloud(rng: np.random.Generator, h: int, w: int) -> Image:
    n = int(rng.integers(2, 7))
    coarse = np.array([_colour(rng, 20, 235, 0.35) for _ in range(n * n)]).reshape(n, n, 3)
    base = np.array(_colour(rng))
    coarse = coarse * rng.uniform(0.35, 1.0) + base * 0.2
    return np.asarray(cv2.resize(np.clip(coarse, 0, 255).astype(np.uint8), (w, h), interpolation=cv2.INTER_CUBIC))


def _tiles(rng: np.random.Generator, h: int, w: int) -> Image:
    n = int(rng.integers(3, 10))
    a, b = np.array(_colour(rng)), np.array(_colour(rng))
    board = np.where(((np.arange(n)[:, None] + np.arange(n)) % 2)[..., None] > 0, a, a * 0.6 + b * 0.4)
    board = np.clip(board + rng.normal(0, 8, (n, n, 1)), 0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(board, (w, h), interpolation=cv2.INTER_NEAREST))


SCENERY: Final[tuple[Scenery, ...]] = (_room, _field, _street, _cloud, _tiles)


def paint_background(rng: np.random.Generator, h: int, w: int) -> Image:
    """(h, w, 3) uint8 RGB: a place without people."""
    return SCENERY[int(rng.integers(len(SCENERY)))](rng, h, w)


def paint_clutter(rng: np.random.Generator, image: Image, pieces: int) -> None:
    """Put up to `pieces` balls, boxes, poles and flags on an image, in place."""
    h, w = image.shape[:2]
    for _ in range(int(rng.integers(0, pieces + 1))):
        colour, kind = _colour(rng, 10, 250, 0.25), int(rng.integers(4))
        x, y = int(rng.uniform(-0.05, 1.05) * w), int(rng.uniform(0.05, 1.05) * h)
        shade = tuple(c * 0.55 for c in colour)
        if kind == 0:
            r = int(rng.uniform(0.02, 0.08) * h)
            cv2.circle(image, (x, y), r + 2, shade, -1)
            cv2.circle(image, (x, y), r, colour, -1)
            cv2.circle(image, (x - r // 3, y - r // 3), max(1, r // 3), tuple(min(255.0, c * 1.25) for c in colour), -1)
        elif kind == 1:
            b, c = (rng.uniform(0.04, 0.2, 2) * h).astype(int)
            cv2.rectangle(image, (x, y), (x + int(b), y + int(c)), shade, -1)
            cv2.rectangle(image, (x + 2, y + 2), (x + int(b) - 2, y + int(c) - int(c) // 3), colour, -1)
        elif kind == 2:
            dx, dy = rng.uniform(-0.4, 0.4, 2) * h
            cv2.line(image, (x, y), (int(x + dx), int(y + dy)), shade, int(rng.integers(5, max(6, h // 20))))
            cv2.line(image, (x, y), (int(x + dx), int(y + dy)), colour, int(rng.integers(2, 5)))
        else:
            corners = (np.array([x, y]) + rng.uniform(-0.12, 0.12, (3, 2)) * h).astype(np.int32)
            cv2.fillConvexPoly(image, corners, colour)
