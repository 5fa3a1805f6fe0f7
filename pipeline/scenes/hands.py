"""How a posed hand is painted: forearm, palm and the bones of the fingers, the far ones first.

Hands have no left and right within them: a mirrored right hand is a left hand, and no keypoints change places.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from lhrnet.skeleton import SKELETONS
from pipeline.scenes.canvas import PARTS, Canvas, Colour, Points, tint
from pipeline.scenes.hand import FINGERS, HandFigure, pose_hand
from pipeline.scenes.look import choose_cloth, choose_skin, lit
from pipeline.scenes.subject import Drawn, Manner

PALM: Final = 1
_BONES: Final = 3
_RADII: Final = (
    (0.066, 0.050, 0.045, 0.036),
    (0.045, 0.042, 0.038, 0.032),
    (0.046, 0.043, 0.039, 0.033),
    (0.044, 0.041, 0.037, 0.031),
    (0.039, 0.036, 0.032, 0.027),
)
"""Half the thickness of each finger at its joints, in lengths of a hand."""
_THUMB_LIGHT, _LITTLE_LIGHT = 0.38, -0.5
"""How far the outer fingers stand in the sun and in the shade; those between them, in between."""
_NAIL: Final = (250.0, 215.0, 212.0)


def bone(finger: int, joint: int) -> int:
    """The part that a finger is from this joint (0 to 2) to the next."""
    return PALM + 1 + finger * _BONES + joint


@dataclass(frozen=True, kw_only=True)
class HandLook:
    """Colours of a hand (RGB, 0 to 255), and whether it wears a glove."""

    skin: Colour
    sleeve: Colour
    glove: bool


class Hands:
    """Drawn hands, left and right ones, from the palm and from the back."""

    skeleton = SKELETONS["hand"]
    shown_by = (
        (PALM,),
        *(
            tuple(bone(f, b) for b in (j - 1, j) if 0 <= b < _BONES) + ((PALM,) if j == 0 else ())
            for f in range(FINGERS)
            for j in range(_BONES + 1)
        ),
    )

    def paint(
        self, rng: np.random.Generator, canvas: Canvas, *, height: float, middle: Points, number: int, manner: Manner
    ) -> Drawn:
        """Paint a hand of the length `height` about its middle."""
        figure = pose_hand(rng, variety=manner.variety)
        glove = bool(rng.random() < 0.3)
        look = HandLook(skin=choose_cloth(rng) if glove else choose_skin(rng), sleeve=choose_cloth(rng), glove=glove)
        points = figure.points[:, :2] * height + middle
        _Painter(canvas, figure, look, points, height, (number + 1) * PARTS, manner.sides).paint()
        return Drawn(points=points, unlabelled=np.zeros(self.skeleton.count, bool))


class _Painter:
    def __init__(
        self,
        canvas: Canvas,
        figure: HandFigure,
        look: HandLook,
        points: Points,
        length: float,
        label: int,
        contrast: float,
    ) -> None:
        self.canvas, self.figure, self.look, self.xy, self.length = canvas, figure, look, points, length
        self.label, self.contrast = label, contrast
        self.line = max(0.35, 0.008 * length)
        self.width = figure.girth * length

    def paint(self) -> None:
        """The forearm hides what is behind it and belongs to no hand: its pixels are scenery."""
        self._forearm()
        depth = self.figure.points[:, 2]
        palm = float(depth[[0, 5, 9, 13, 17]].mean())
        parts = [(palm, -1, 0), (palm + 1e-6, 0, 0)]  # the thumb grows out from under the palm
        parts += [
            (float(depth[[1 + 4 * f + b, 2 + 4 * f + b]].mean()), f, b)
            for f in range(FINGERS)
            for b in range(_BONES)
            if (f, b) != (0, 0)
        ]
        for _, f, b in sorted(parts, key=lambda part: -part[0]):
            if f < 0:
                self._palm()
            else:
                self._bone(f, b)

    def _forearm(self) -> None:
        wrist, along = self.xy[0], self.figure.arm[:2] * self.length
        near, w, o = wrist + 0.1 * along, self.width, self.line
        for a, b, r, colour in (
            (wrist, near, 0.085 * w, self.look.skin),
            (near, wrist + 0.8 * along, 0.12 * w, self.look.sleeve),
        ):
            self.canvas.capsule(a, b, r + o, 1.15 * r + o, tint(colour, 0.42), 0)
            self.canvas.capsule(a, b, r, 1.15 * r, tint(colour, 0.92), 0)

    def _palm(self) -> None:
        canvas, label, w, o = self.canvas, self.label + PALM, self.width, self.line
        skin = self.look.skin
        wrist, knuckles = self.xy[0], self.xy[[1, 5, 9, 13, 17]]
        radii = (0.066, 0.055, 0.055, 0.053, 0.05)
        for more, colour in ((o, tint(skin, 0.42)), (0.0, tint(skin, 0.97))):
            for knuckle, r in zip(knuckles, radii, strict=True):
                canvas.capsule(wrist, knuckle, 0.075 * w + more, r * w + more, colour, label)
            for a, b in ((0, 1), (1, 2), (2, 3), (3, 4)):
                canvas.polygon(np.array([wrist, knuckles[a], knuckles[b]]), colour, label)
                canvas.capsule(knuckles[a], knuckles[b], radii[a] * w + more, radii[b] * w + more, colour, label)
        if self.figure.facing > 0:
            for share, (a, b) in ((0.72, (1, 4)), (0.5, (1, 3))):
                ends = [wrist + (knuckles[k] - wrist) * share for k in (a, b)]
                canvas.capsule(ends[0], ends[1], 0.006 * w, 0.006 * w, tint(skin, 0.62), None)
        else:
            for knuckle in knuckles[1:]:
                canvas.ellipse(knuckle, (0.024 * w, 0.018 * w), 0.0, tint(skin, 0.8), None)

    def _bone(self, f: int, j: int) -> None:
        """One bone with its flesh; the outline at its upper end stays, a fold where the finger is bent."""
        canvas, w, o = self.canvas, self.width, self.line
        start, end = self.xy[1 + 4 * f + j], self.xy[2 + 4 * f + j]
        ra, rb = (r * w for r in _RADII[f][j : j + 2])
        light = _THUMB_LIGHT + (_LITTLE_LIGHT - _THUMB_LIGHT) * f / (FINGERS - 1)
        colour = lit(self.look.skin, light * self.contrast)
        canvas.capsule(start, end, ra + o, rb + o, tint(colour, 0.45), self.label + bone(f, j))
        canvas.capsule(start, end, ra, rb, colour, None)
        shine = np.array([-0.28, -0.2])
        canvas.capsule(start + shine * ra, end + shine * rb, 0.45 * ra, 0.45 * rb, tint(colour, 1.1, 8), None)
        if j == _BONES - 1 and not self.look.glove and self.figure.backs[f, 2] < -0.3:
            up = (end - start) / max(1e-6, float(np.hypot(*(end - start))))
            angle = float(np.arctan2(up[0], -up[1]))
            r, g, b = (0.45 * c + 0.55 * n for c, n in zip(colour, _NAIL, strict=True))
            canvas.ellipse(end, (0.62 * rb, 0.85 * rb), angle, (r, g, b), None)
