"""The articulated people of the drawn scenes: a skeleton in three dimensions, posed, turned and projected.

Lengths are fractions of the standing height. The body's own frame has x towards the person's left, y down and z away
from the viewer, so that an unturned person looks at the viewer; the origin is the middle of the hips.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from lhrnet.coco import FLIP_INDEX, K
from pipeline.scenes.canvas import Points

NECK: Final = K
HEAD: Final = K + 1
HANDS: Final = (K + 2, K + 3)
TOES: Final = (K + 4, K + 5)
PELVIS: Final = K + 6
N_POINTS: Final = K + 7
"""Points of a figure: the 17 keypoints, then neck, head's centre, hands and toes (left, right) and pelvis."""

_MIRROR: Final = np.array([*FLIP_INDEX, NECK, HEAD, HANDS[1], HANDS[0], TOES[1], TOES[0], PELVIS])

Limb = tuple[float, float]
"""A limb's direction: forwards and outwards, in radians from hanging straight down."""


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Directions of the eight limbs; arms and legs are (left, right) pairs of (upper, lower)."""

    arms: tuple[tuple[Limb, Limb], tuple[Limb, Limb]]
    legs: tuple[tuple[Limb, Limb], tuple[Limb, Limb]]
    lean: float = 0.0


_HANGING: Final = ((0.0, 0.18), (0.18, 0.08))
_STRAIGHT: Final = ((0.0, 0.07), (-0.04, 0.03))
_APART: Final = ((0.0, 0.32), (0.0, 0.26))

POSES: Final[dict[str, tuple[float, Pose]]] = {
    "stand": (2.0, Pose(arms=(_HANGING, _HANGING), legs=(_STRAIGHT, _STRAIGHT))),
    "wide": (1.0, Pose(arms=(((0.0, 0.5), (0.1, 0.35)), _HANGING), legs=(_APART, _APART))),
    "walk": (
        2.0,
        Pose(
            arms=(((-0.5, 0.12), (-0.1, 0.05)), ((0.5, 0.12), (0.9, 0.0))),
            legs=(((0.5, 0.04), (0.2, 0.02)), ((-0.3, 0.04), (-0.75, 0.02))),
            lean=0.04,
        ),
    ),
    "run": (
        1.5,
        Pose(
            arms=(((-0.9, 0.2), (0.5, 0.1)), ((0.6, 0.2), (1.9, 0.0))),
            legs=(((1.0, 0.06), (-0.2, 0.04)), ((-0.45, 0.06), (-1.35, 0.03))),
            lean=0.2,
        ),
    ),
    "wave": (1.5, Pose(arms=(((0.1, 1.9), (0.2, 2.9)), _HANGING), legs=(_STRAIGHT, _STRAIGHT))),
    "cheer": (1.0, Pose(arms=(((0.1, 2.3), (0.1, 2.8)), ((0.1, 2.3), (0.1, 2.8))), legs=(_APART, _APART))),
    "akimbo": (1.0, Pose(arms=(((-0.2, 0.8), (0.35, -0.85)), ((-0.2, 0.8), (0.35, -0.85))), legs=(_APART, _STRAIGHT))),
    "star": (1.0, Pose(arms=(((0.0, 1.45), (0.0, 1.6)), ((0.0, 1.45), (0.0, 1.6))), legs=(_APART, _APART))),
    "point": (1.0, Pose(arms=(((0.5, 1.3), (0.5, 1.45)), _HANGING), legs=(_STRAIGHT, _APART))),
    "hold": (1.0, Pose(arms=(((0.2, 0.25), (1.4, -0.45)), ((0.2, 0.25), (1.4, -0.45))), legs=(_STRAIGHT, _STRAIGHT))),
    "kick": (
        0.8,
        Pose(arms=(((-0.3, 0.7), (0.1, 0.8)), ((0.3, 0.9), (0.4, 0.9))), legs=(((1.1, 0.2), (0.8, 0.2)), _STRAIGHT)),
    ),
    "lunge": (
        0.8,
        Pose(
            arms=(((0.3, 0.3), (1.0, 0.0)), ((-0.3, 0.3), (0.1, 0.2))),
            legs=(((0.9, 0.1), (0.0, 0.05)), ((-0.5, 0.1), (-0.9, 0.05))),
        ),
    ),
    "squat": (
        0.5,
        Pose(
            arms=(((1.0, 0.3), (1.4, 0.1)), ((1.0, 0.3), (1.4, 0.1))),
            legs=(((1.2, 0.45), (-0.4, 0.25)), ((1.2, 0.45), (-0.4, 0.25))),
            lean=0.25,
        ),
    ),
    "sit": (
        0.8,
        Pose(
            arms=(((0.5, 0.2), (1.1, 0.0)), ((0.5, 0.2), (1.1, 0.0))),
            legs=(((1.35, 0.2), (0.0, 0.08)), ((1.35, 0.2), (0.0, 0.08))),
        ),
    ),
}
"""What people do, and how often relative to one another. Half of all people mirror the pose."""

_CHANCES: Final = np.cumsum([weight for weight, _ in POSES.values()]) / sum(weight for weight, _ in POSES.values())
_KINDS: Final = tuple(pose for _, pose in POSES.values())

_UPPER_ARM, _LOWER_ARM, _HAND = 0.165, 0.145, 0.03
_THIGH, _SHIN, _FOOT = 0.24, 0.235, 0.055


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A posed person, seen along z.

    points: (24, 3): x right, y down and z away from the viewer, in heights; the first 17 are COCO's keypoints.
    facing: how far the face points towards the viewer: 1 front, 0 profile, −1 from behind.
    head_scale: size of the head relative to an adult's.
    girth: thickness of limbs and trunk relative to the average.
    """

    points: Points
    facing: float
    head_scale: float
    girth: float

    def unseen(self) -> NDArray[np.bool_]:
        """(17,): face keypoints on the side of the head turned away from the viewer."""
        hidden = np.zeros(K, bool)
        depth = (self.points[:5, 2] - self.points[HEAD, 2]) / self.head_scale
        hidden[:3] = depth[:3] > -0.012
        hidden[3:5] = depth[3:] > 0.028
        return hidden


def _direction(limb: Limb, side: float, noise: Points) -> Points:
    forwards, outwards = limb[0] + noise[0], limb[1] + noise[1]
    down = math.cos(outwards)
    return np.array([side * math.sin(outwards), down * math.cos(forwards), -down * math.sin(forwards)])


def rotate(points: Points, angle: float, first: int, second: int) -> None:
    """Rotate points (N, 3) in place in the plane of two axes."""
    cosine, sine = math.cos(angle), math.sin(angle)
    a, b = points[:, first].copy(), points[:, second].copy()
    points[:, first] = a * cosine - b * sine
    points[:, second] = a * sine + b * cosine


def _head(neck: Points, scale: float, nod: float, turn: float) -> Points:
    """(6, 3): nose, eyes, ears (left, right), and the head's centre last."""
    face = np.array(
        [
            (0.0, 0.014, -0.080),
            (0.030, -0.012, -0.066),
            (-0.030, -0.012, -0.066),
            (0.063, 0.0, 0.004),
            (-0.063, 0.0, 0.004),
            (0.0, 0.0, 0.0),
        ]
    )
    rotate(face, nod, 1, 2)
    rotate(face, turn, 2, 0)
    centre: Points = neck + np.array([0.0, -0.035 - 0.07 * scale, -0.012])
    return face * scale + centre


def _facing(rng: np.random.Generator) -> float:
    """The body's turn about the vertical: mostly towards the viewer, sometimes away, sometimes any."""
    draw = rng.random()
    if draw < 0.62:
        return float(rng.normal(0.0, 0.42))
    if draw < 0.8:
        return float(math.pi + rng.normal(0.0, 0.42))
    return float(rng.uniform(0.0, 2.0 * math.pi))


def pose_figure(rng: np.random.Generator, *, variety: float = 1.0) -> Figure:
    """Draw one person's pose, build and viewing direction.

    Args:
        variety: how far limbs stray from their pose: 0 none, 1 natural, 2 contorted.
    """
    pose = _KINDS[int(np.searchsorted(_CHANCES, rng.random()))]
    noise = rng.normal(0.0, 0.16 * variety, (8, 2))
    points = np.zeros((N_POINTS, 3))
    points[NECK] = (0.0, -0.305, 0.0)
    for i, side in enumerate((1.0, -1.0)):
        (upper, lower), (thigh, shin) = pose.arms[i], pose.legs[i]
        points[5 + i] = (side * 0.108, -0.288, 0.0)
        points[7 + i] = points[5 + i] + _direction(upper, side, noise[i]) * _UPPER_ARM
        forearm = _direction(lower, side, noise[2 + i])
        points[9 + i] = points[7 + i] + forearm * _LOWER_ARM
        points[HANDS[i]] = points[9 + i] + forearm * _HAND
        points[11 + i] = (side * 0.062, 0.0, 0.0)
        points[13 + i] = points[11 + i] + _direction(thigh, side, 0.7 * noise[4 + i]) * _THIGH
        calf = _direction(shin, side, 0.7 * noise[6 + i])
        points[15 + i] = points[13 + i] + calf * _SHIN
        points[TOES[i]] = points[15 + i] + np.array([side * 0.25, 0.35, -1.0 - calf[2]]) * _FOOT
    trunk = np.array([*range(5, 11), NECK, *HANDS])
    upper_body = points[trunk]
    rotate(upper_body, pose.lean + rng.normal(0.0, 0.06 * variety), 1, 2)
    rotate(upper_body, rng.normal(0.0, 0.08 * variety), 0, 1)
    points[trunk] = upper_body
    head_scale = float(rng.uniform(0.95, 1.12) if rng.random() < 0.75 else rng.uniform(1.15, 1.4))
    looks = float(np.clip(rng.normal(0.0, 0.3), -0.8, 0.8))
    head = _head(points[NECK], head_scale, float(rng.normal(0.0, 0.1)), looks)
    points[[0, 1, 2, 3, 4, HEAD]] = head
    if rng.random() < 0.5:
        points = points[_MIRROR] * np.array([-1.0, 1.0, 1.0])
    rotate(points, _facing(rng), 2, 0)
    rotate(points, rng.normal(0.0, 0.05 * variety), 0, 1)
    nose, centre = points[0], points[HEAD]
    facing = float((centre[2] - nose[2]) / np.linalg.norm(nose - centre))
    return Figure(points=points, facing=facing, head_scale=head_scale, girth=float(rng.uniform(0.88, 1.2)))
