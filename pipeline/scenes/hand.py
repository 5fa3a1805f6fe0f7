"""The posed hands of the drawn scenes: 21 points in three dimensions, bent, turned and seen along z.

Lengths are fractions of a straight hand's, from the wrist to the tip of the middle finger. The hand's own frame has x
towards the thumb, y down and z away from the viewer, so that an unturned hand shows its palm with the fingers upwards;
the origin is half way from the wrist to that tip.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.scenes.canvas import Points
from pipeline.scenes.figure import rotate

FINGERS: Final = 5
"""Thumb, forefinger, middle, ring and little finger; point 1 + 4 f + j is joint j of finger f, point 0 the wrist."""

_ROOTS: Final = ((0.14, -0.13), (0.15, -0.49), (0.04, -0.51), (-0.07, -0.48), (-0.17, -0.42))
"""Where each finger's first joint lies from the wrist: the thumb's at its base, the others' at their knuckles."""
_BONES: Final = (
    (0.21, 0.17, 0.14),
    (0.21, 0.14, 0.12),
    (0.23, 0.14, 0.12),
    (0.21, 0.14, 0.12),
    (0.17, 0.11, 0.10),
)
"""From joint to joint of each finger, out to the tip."""
_FAN: Final = (0.0, 0.24, 0.03, -0.18, -0.42)
"""How far a finger of a spread hand leans towards the thumb, in radians; the thumb has a motion of its own."""
_FLEX: Final = (1.3, 1.7, 0.9)
"""Radians by which each joint of a wholly bent finger is bent."""

GESTURES: Final[dict[str, tuple[float, tuple[float, ...], float]]] = {
    "open": (3.0, (0.0, 0.0, 0.0, 0.0, 0.0), 1.0),
    "flat": (1.0, (0.15, 0.02, 0.0, 0.0, 0.02), 0.3),
    "relaxed": (1.5, (0.25, 0.18, 0.22, 0.26, 0.3), 0.5),
    "claw": (0.6, (0.2, 0.4, 0.4, 0.4, 0.4), 1.0),
    "point": (1.0, (0.7, 0.0, 0.9, 0.95, 0.95), 0.4),
    "victory": (1.0, (0.9, 0.0, 0.0, 0.9, 0.95), 1.2),
    "three": (0.8, (0.0, 0.0, 0.0, 0.9, 0.95), 0.9),
    "four": (0.8, (1.0, 0.0, 0.0, 0.0, 0.0), 0.9),
    "call": (0.8, (0.0, 0.9, 0.95, 0.9, 0.0), 0.9),
    "thumb up": (0.6, (0.0, 0.95, 1.0, 1.0, 0.95), 0.2),
    "ring": (0.8, (0.45, 0.48, 0.1, 0.05, 0.0), 0.9),
    "fist": (0.3, (0.8, 0.95, 1.0, 1.0, 0.95), 0.1),
}
"""What hands do: how often relative to one another, how far each finger is bent, 0 to 1, and how far they spread."""

_CHANCES: Final = np.cumsum([weight for weight, _, _ in GESTURES.values()])
_KINDS: Final = tuple((bends, spread) for _, bends, spread in GESTURES.values())


@dataclass(frozen=True, kw_only=True)
class HandFigure:
    """A posed hand.

    points: (21, 3): x right, y down and z away from the viewer, in lengths of a hand.
    backs: (5, 3): for each finger the direction in which its nail looks.
    facing: how far the palm points towards the viewer: 1 the palm, 0 an edge, −1 the back of the hand.
    arm: (3,): direction of the forearm from the wrist.
    girth: thickness of fingers and palm relative to the average.
    """

    points: Points
    backs: Points
    facing: float
    arm: Points
    girth: float


def _finger(f: int, bend: float, spread: float) -> tuple[Points, Points]:
    """The four joints of a finger (4, 3) from the wrist, and the direction in which its nail looks (3,)."""
    joints, back = [np.array([*_ROOTS[f], 0.0])], np.zeros(3)
    bent = 0.0
    for j, length in enumerate(_BONES[f]):
        if f == 0:  # the thumb swings from its side across the palm, and a little forwards
            lean = (0.55 + 0.4 * spread) - bend * (0.35, 1.1, 2.1)[j] - 0.12 * j
            bent = 0.2 + 0.45 * bend
        else:
            lean = _FAN[f] * spread
            bent += bend * _FLEX[j]
        flat, forwards = math.cos(bent), math.sin(bent)
        joints.append(joints[-1] + length * np.array([math.sin(lean) * flat, -math.cos(lean) * flat, -forwards]))
        back = np.array([math.sin(lean) * forwards, -math.cos(lean) * forwards, flat])
    return np.array(joints), back


def pose_hand(rng: np.random.Generator, *, variety: float = 1.0) -> HandFigure:
    """Draw one hand, left or right, its gesture and how it is seen.

    Args:
        variety: how far fingers stray from their gesture and the hand from upright: 0 not at all, 1 naturally.
    """
    bends, spread = _KINDS[int(np.searchsorted(_CHANCES, rng.random() * _CHANCES[-1]))]
    strays = rng.normal(0.0, 0.06 * variety, FINGERS)
    spread = max(0.0, spread + float(rng.normal(0.0, 0.15 * variety)))
    fingers = [_finger(f, min(1.0, max(0.0, bends[f] + float(strays[f]))), spread) for f in range(FINGERS)]
    points = np.concatenate([np.zeros((1, 3)), *(joints for joints, _ in fingers)])
    points[:, 1] += 0.5
    backs = np.array([back for _, back in fingers])
    arm = np.array([[rng.normal(0.0, 0.2 * variety), 1.0, abs(rng.normal(0.0, 0.2 * variety))]])
    palm = np.array([[0.0, 0.0, -1.0]])
    side = rng.choice([-1.0, 1.0])
    yaw = rng.normal(0.0, 0.4) + (math.pi if rng.random() < 0.45 else 0.0)
    pitch, roll = rng.normal(0.0, 0.22), rng.normal(0.0, 0.3 * variety)
    for vectors in (points, backs, arm, palm):
        vectors[:, 0] *= side
        rotate(vectors, yaw, 2, 0)
        rotate(vectors, pitch, 1, 2)
        rotate(vectors, roll, 0, 1)
    return HandFigure(
        points=points, backs=backs, facing=float(-palm[0, 2]), arm=arm[0], girth=float(rng.uniform(0.9, 1.15))
    )
