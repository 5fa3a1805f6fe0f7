"""From a sample's bytes to a training input: one decode, one warp, joints and mask by the same matrix.

The random numbers depend on (seed, epoch, image id) alone, so that a sample is the same on every worker. The affine
transform is the reference recipe's: about the image's centre, relative to its short side.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveFloat
from pydantic.dataclasses import dataclass as section

from lhrnet import geometry
from lhrnet.coco import MAX_PEOPLE, labelled
from lhrnet.image_file import Image, decode
from lhrnet.orientation import JPEG
from lhrnet.skeleton import COCO, Skeleton
from pipeline import SECTION, Share
from pipeline.data.decode import decode_ignored

ONES: Final = np.ones((64, 64), np.uint8)
"""Stands in for an all-ones image of any size: scaled to it, and warped at OpenCV's precision of 1/1024 pixel."""


@section(frozen=True, kw_only=True, config=SECTION)
class AugmentConfig:
    """How a training image is changed at random."""

    min_scale: PositiveFloat = 0.75
    """At least this part of the image's short side fills the input: below 1 the image is enlarged."""
    max_scale: PositiveFloat = 1.5
    """At most this part of the short side fills the input: above 1 the image is shrunk and its surroundings shown."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 30.0
    """Degrees to either side."""
    translation: NonNegativeFloat = 40.0
    """Pixels to either side where the part that fills the input is 200 pixels wide (the reference's unit)."""
    flip: Share = 0.5
    """Share of images that are mirrored."""
    brightness: Share = 0.0
    """Brightness changes by at most this, as a share of full brightness."""
    contrast: Share = 0.0
    """Contrast changes by at most this, as a share."""
    saturation: Share = 0.0
    """Saturation changes by at most this, as a share; -1 would be grey."""
    count_outside: bool = False
    """Whether the loss counts outside of the image, so that the network finds nobody there; the reference does not."""
    reduced_decode: bool = True
    """Decode a JPEG at 1/2 or 1/4 of its size where the warp shrinks it by more."""

    def __post_init__(self) -> None:
        if self.min_scale > self.max_scale:
            raise ValueError(f"min_scale is {self.min_scale}; allowed: at most max_scale ({self.max_scale})")


NONE = AugmentConfig(min_scale=1, max_scale=1, rotation=0, translation=0, flip=0)
"""The image as it stands, its short side on the input's side."""


@dataclass(frozen=True, eq=False)
class TrainingSample:
    """One image as the network sees it."""

    image: Image
    """(S, S, 3) RGB."""
    joints: NDArray[np.float32]
    """(30, K, 3) x, y in input pixels and COCO's visibility; padded with zeros."""
    mask: Image
    """(S/2, S/2) 1 where the loss counts; 0 in ignored regions and, without `count_outside`, outside of the image."""


def draw_matrix(
    rng: np.random.Generator, width: int, height: int, size: int, config: AugmentConfig
) -> tuple[geometry.Matrix, bool]:
    """Draw a random transform from an image of `width` x `height` to the input of `size`, and whether it mirrors."""
    scale, rotation, dx, dy, flip = rng.random(5)
    side = min(width, height)
    part = config.min_scale + scale * (config.max_scale - config.min_scale)
    shift = config.translation * side * part / 200
    centre = (width / 2 + (2 * dx - 1) * shift, height / 2 + (2 * dy - 1) * shift)
    matrix = geometry.affine(centre, size / (side * part), (size, size), (2 * rotation - 1) * config.rotation)
    mirrored = bool(flip < config.flip)
    return (geometry.compose(matrix, geometry.mirror(width)) if mirrored else matrix), mirrored


def joints_of(
    annotations: Sequence[dict[str, Any]], skeleton: Skeleton, matrix: geometry.Matrix, mirrored: bool
) -> NDArray[np.float32]:
    """(30, K, 3): the labelled people's joints, transformed; of more than 30 people those with the most labels."""
    people = [a["keypoints"] for a in annotations if labelled(a)]
    if len(people) > MAX_PEOPLE:
        people = sorted(people, key=lambda points: -sum(v > 0 for v in points[2::3]))[:MAX_PEOPLE]
    joints = np.zeros((MAX_PEOPLE, skeleton.count, 3), np.float32)
    if people:
        source = np.asarray(people, np.float64).reshape(-1, skeleton.count, 3)
        joints[: len(people), :, :2] = geometry.apply(matrix, source[..., :2])
        joints[: len(people), :, 2] = source[..., 2]
        joints *= joints[..., 2:] > 0
        if mirrored:
            joints = joints[:, list(skeleton.flip)]
    return joints


def prepare(
    jpeg: bytes,
    ignore_png: bytes | None,
    annotations: Sequence[dict[str, Any]],
    skeleton: Skeleton = COCO,
    *,
    width: int,
    height: int,
    size: int,
    config: AugmentConfig,
    key: tuple[int, int, int],
    out: Image | None = None,
) -> TrainingSample:
    """Make a sample ready for training.

    Args:
        jpeg: the image's file.
        ignore_png: 8 bit, 255 where the loss is not counted; None: it counts everywhere.
        annotations: in COCO's form, of people or other objects.
        skeleton: whose keypoints they have.
        width: image pixels.
        height: image pixels.
        size: side of the network's input.
        config: the ranges of the random changes.
        key: (seed, epoch, image id), the seed of this sample.
        out: (size, size, 3), contiguous, where the image is written; None: into a new array.

    Raises:
        ValueError: the image or the mask does not decode, or has another size than the annotation says.
    """
    rng = np.random.default_rng(key)
    matrix, mirrored = draw_matrix(rng, width, height, size, config)
    image = _warped(jpeg, matrix, width, height, size, config.reduced_decode, out)
    _jitter(image, rng, config)
    mask = _mask(ignore_png, matrix / 2, width, height, size // 2, config.count_outside)
    return TrainingSample(image, joints_of(annotations, skeleton, matrix, mirrored), mask)


def _warped(
    jpeg: bytes, matrix: geometry.Matrix, width: int, height: int, size: int, reduced: bool, out: Image | None
) -> Image:
    scale = geometry.enlargement(matrix)
    reduce = 4 if scale <= 0.25 else 2 if scale <= 0.5 else 1
    # other formats are decoded whole all the same, and rounded down instead of up
    reduce = reduce if reduced and jpeg.startswith(JPEG) else 1
    image = decode(jpeg, (width, height), reduce=reduce)
    if reduce > 1:
        matrix = geometry.compose(matrix, np.diag([reduce, reduce, 0])[:2])
    return geometry.warp(image, matrix, (size, size), out=out)


def _mask(
    ignore_png: bytes | None, matrix: geometry.Matrix, width: int, height: int, size: int, outside: bool
) -> Image:
    if ignore_png is None:
        return np.ones((size, size), np.uint8) if outside else _inside(matrix, width, height, size)
    ignored = decode_ignored(ignore_png, width, height)
    border = 0 if outside else 255
    warped = geometry.warp(ignored, matrix, (size, size), interpolation=cv2.INTER_NEAREST, border=border)
    return np.asarray((warped & 1) ^ 1, np.uint8)


def _inside(matrix: geometry.Matrix, width: int, height: int, size: int) -> Image:
    """(S, S) 1 where a pixel's centre lies in the image: a warp of ones, for which a small array of them is enough."""
    (a, b, x), (c, d, y) = matrix.tolist()
    across, down = width / len(ONES), height / len(ONES)
    stretched = np.array([[a * across, b * down, x], [c * across, d * down, y]])  # `compose` adds a third to the time
    return geometry.warp(ONES, stretched, (size, size), interpolation=cv2.INTER_NEAREST)


def _jitter(image: Image, rng: np.random.Generator, config: AugmentConfig) -> None:
    """Change the image's colours in place."""
    if not (config.brightness or config.contrast or config.saturation):
        return
    shift, contrast, saturation = (2 * rng.random(3) - 1) * (config.brightness, config.contrast, config.saturation)
    levels = (np.arange(256) - 127.5) * (1 + contrast) + 127.5 + 255 * shift
    cv2.LUT(image, np.clip(np.rint(levels), 0, 255).astype(np.uint8), dst=image)
    if saturation:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        cv2.addWeighted(image, 1 + saturation, grey, -saturation, 0, dst=image)
