"""Pictures to look at: people found in an image, heatmaps, tag maps, and many pictures on one sheet.

Left limbs are orange, right limbs blue; trunk and head have a colour of the person's own. Everything is RGB, uint8.
"""

import math
from collections.abc import Sequence
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from lhrnet.person import Person
from lhrnet.skeleton import COCO, Skeleton
from lhrnet.skeleton.skeleton import Side

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

LEFT: Final[Colour] = (255, 148, 32)
RIGHT: Final[Colour] = (40, 150, 255)
PEOPLE: Final[tuple[Colour, ...]] = (
    (120, 230, 90),
    (245, 90, 200),
    (250, 225, 60),
    (150, 110, 255),
    (60, 225, 215),
    (255, 105, 95),
    (205, 245, 150),
    (255, 180, 205),
)
"""Colours of trunks and heads, by the person's place in the list."""

FINE: Final = 0.05
"""Keypoints with a smaller OKS sigma, those of face and fingers, are drawn smaller."""
MIN_SCORE: Final = 0.2
"""People below are not drawn where a network brings no threshold of its own."""
_LEGIBLE: Final = 384
_SUBPIXELS: Final = 4


def draw_people(
    image: Image,
    people: Sequence[Person],
    skeleton: Skeleton = COCO,
    *,
    scale: int | None = None,
    scores: bool = True,
    min_score: float = 0.0,
    min_keypoint: float = 0.15,
) -> Image:
    """Draw skeletons over an image.

    Args:
        image: (H, W, 3) RGB uint8; not changed.
        people: in the image's pixels.
        skeleton: whose keypoints they have.
        scale: whole factor by which the picture is enlarged; None: as much as makes its short side 384 or more.
        scores: write each person's score beside the head.
        min_score: people below are left out. COCO counts everybody found; see `Predictor.min_score`.
        min_keypoint: keypoints with a score of this or less are left out, and their limbs.

    Returns:
        (H · scale, W · scale, 3) RGB uint8.

    Raises:
        ValueError: the image is not RGB of bytes, or a person has other keypoints than the skeleton.
    """
    _check(image)
    if people and len(people[0].keypoints) != skeleton.count:
        raise ValueError(
            f"people of {len(people[0].keypoints)} keypoints do not fit {skeleton.name}'s {skeleton.count}"
        )
    factor = scale or max(1, math.ceil(_LEGIBLE / min(image.shape[:2])))
    h, w = image.shape[:2]
    canvas = np.array(cv2.resize(image, (w * factor, h * factor), interpolation=cv2.INTER_CUBIC))
    drawn = [(i, person) for i, person in enumerate(people) if person.score >= min_score]
    for i, person in reversed(drawn):
        _person(canvas, person, skeleton, factor, PEOPLE[i % len(PEOPLE)], min_keypoint)
    if scores:
        for i, person in reversed(drawn):
            _score(canvas, person, factor, PEOPLE[i % len(PEOPLE)], min_keypoint)
    return canvas


def side_colour(side: Side, own: Colour) -> Colour:
    """Colour of a limb or keypoint of this side; `own` where it is on none."""
    return {"left": LEFT, "right": RIGHT}.get(side, own)


def _person(canvas: Image, person: Person, skeleton: Skeleton, factor: int, own: Colour, least: float) -> None:
    points = person.keypoints[:, :2] * factor
    shown = person.keypoints[:, 2] > least
    if not shown.any():
        return
    extent = float(np.ptp(points[shown], axis=0).max())
    width = max(2, round(extent / 70))
    sides = zip(skeleton.limbs, skeleton.colours, strict=True)
    limbs = [(a, b, side) for (a, b), side in sides if side != "hidden" and shown[a] and shown[b]]
    for a, b, _ in limbs:
        cv2.line(canvas, _fixed(points[a]), _fixed(points[b]), (20, 20, 20), width + 2, cv2.LINE_AA, _SUBPIXELS)
    for a, b, side in limbs:
        colour = side_colour(side, own)
        cv2.line(canvas, _fixed(points[a]), _fixed(points[b]), colour, width, cv2.LINE_AA, _SUBPIXELS)
    for k in np.flatnonzero(shown):
        colour = side_colour(skeleton.sides[k], own)
        radius = max(2, round(0.8 * width)) if skeleton.sigmas[k] < FINE else width
        cv2.circle(canvas, _fixed(points[k]), (radius + 1) << _SUBPIXELS, (20, 20, 20), -1, cv2.LINE_AA, _SUBPIXELS)
        cv2.circle(canvas, _fixed(points[k]), radius << _SUBPIXELS, colour, -1, cv2.LINE_AA, _SUBPIXELS)


def _score(canvas: Image, person: Person, factor: int, own: Colour, least: float) -> None:
    points = person.keypoints[person.keypoints[:, 2] > least, :2] * factor
    if not len(points):
        return
    top = points[points[:, 1].argmin()]
    _text(canvas, f"{person.score:.2f}", (int(top[0]) - 16, int(top[1]) - 14), 0.5, own)


def _text(canvas: Image, text: str, corner: tuple[int, int], size: float, colour: Colour) -> None:
    """Outlined text whose lower left corner is moved inside the picture."""
    (b, c), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, 1)
    h, w = canvas.shape[:2]
    at = (max(2, min(corner[0], w - b - 2)), max(c + 3, min(corner[1], h - 4)))
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, (15, 15, 15), 3, cv2.LINE_AA)
    cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)


def _fixed(point: NDArray[np.floating]) -> tuple[int, int]:
    """Corner coordinates as the fixed-point pixel centres of OpenCV's drawing."""
    x, y = (round((float(v) - 0.5) * (1 << _SUBPIXELS)) for v in point)
    return x, y


def draw_heatmaps(
    image: Image, heat_Khw: NDArray[np.floating], skeleton: Skeleton = COCO, *, gain: float = 1.0
) -> Image:
    """Lay heatmaps over a dimmed image: left keypoints orange, right ones blue, those in the middle white.

    Args:
        image: (H, W, 3) RGB uint8.
        heat_Khw: (K, h, w), of the image's proportions; values below 0 count as 0, above 1 as 1.
        skeleton: whose K keypoints they are.
        gain: factor on the heatmaps.
    """
    _check(image)
    h, w = image.shape[:2]
    heat = np.clip(np.asarray(heat_Khw, np.float32) * gain, 0.0, 1.0)
    layers = np.stack([heat[_at(skeleton, side)].max(0, initial=0.0) for side in ("left", "right", "own")], -1)
    layers = cv2.resize(layers, (w, h), interpolation=cv2.INTER_LINEAR)
    share = layers**2 / np.maximum((layers**2).sum(-1, keepdims=True), 1e-9)
    colours = share @ np.array((LEFT, RIGHT, (255, 255, 255)), np.float32)
    alpha = layers.max(-1, keepdims=True)
    picture = image * 0.4 * (1 - alpha) + colours * alpha
    return np.asarray(picture.round(), np.uint8)


def _at(skeleton: Skeleton, side: Side) -> list[int]:
    return [k for k, its in enumerate(skeleton.sides) if its == side]


def draw_tags(
    image: Image,
    heat_Khw: NDArray[np.floating],
    tags_Khw: NDArray[np.floating],
    *,
    limits: tuple[float, float] | None = None,
) -> Image:
    """Show tags as hue where there are keypoints: one colour a person if the tags do their work.

    Args:
        image: (H, W, 3) RGB uint8.
        heat_Khw: (K, h, w): where tags count, and how brightly they are shown.
        tags_Khw: (K, h, w).
        limits: tags shown as red and as violet; None: the least and the greatest tag on a heatmap above 0.2.
    """
    _check(image)
    h, w = image.shape[:2]
    heat = np.clip(np.asarray(heat_Khw, np.float32), 0.0, 1.0)
    strongest = heat.argmax(0)[None]
    tag = np.take_along_axis(np.asarray(tags_Khw, np.float32), strongest, 0)[0]
    height = heat.max(0)
    if limits is None:
        there = tag[height > 0.2]
        limits = (float(there.min()), float(there.max())) if there.size else (0.0, 1.0)
    low, high = limits
    hue = np.clip((tag - low) / max(high - low, 1e-6), 0.0, 1.0) * 140
    hsv = np.stack([hue, np.full_like(hue, 255), np.full_like(hue, 255)], -1).astype(np.uint8)
    colours = cv2.resize(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), (w, h), interpolation=cv2.INTER_NEAREST)
    alpha = cv2.resize(np.clip(1.5 * height, 0.0, 1.0), (w, h), interpolation=cv2.INTER_LINEAR)[..., None]
    return np.asarray((image * 0.35 * (1 - alpha) + colours * alpha).round(), np.uint8)


def contact_sheet(
    images: Sequence[Image], *, columns: int | None = None, captions: Sequence[str] = (), gap: int = 6
) -> Image:
    """Put pictures of any sizes on one sheet, row by row, each centred in a cell of the largest one's size.

    Args:
        images: (H, W, 3) RGB uint8 each.
        columns: pictures a row; None: about as many columns as rows.
        captions: a line above each picture, or none at all.
        gap: pixels between pictures.

    Raises:
        ValueError: no images, or captions for some of them only.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    if captions and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} images; give one each, or none")
    for image in images:
        _check(image)
    columns = columns or math.ceil(math.sqrt(len(images)))
    title = 20 if captions else 0
    cell_h, cell_w = (max(image.shape[axis] for image in images) for axis in (0, 1))
    step_h, step_w = cell_h + title + gap, cell_w + gap
    rows = math.ceil(len(images) / columns)
    sheet = np.full((rows * step_h + gap, columns * step_w + gap, 3), 24, np.uint8)
    for i, image in enumerate(images):
        y, x = gap + i // columns * step_h, gap + i % columns * step_w
        h, w = image.shape[:2]
        top, left = y + title + (cell_h - h) // 2, x + (cell_w - w) // 2
        sheet[top : top + h, left : left + w] = image
        if captions:
            _text(sheet[y : y + title, x : x + cell_w], captions[i], (2, 14), 0.45, (230, 230, 230))
    return sheet


def _check(image: Image) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"the image is {image.dtype} {image.shape}; it must be uint8 RGB of shape (H, W, 3)")
