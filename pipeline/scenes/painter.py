"""How a posed figure is painted: limbs, trunk and head, the far ones first."""

import math
from typing import Final

import numpy as np

from pipeline.scenes.canvas import PARTS, Canvas, Colour, Points, tint
from pipeline.scenes.figure import HANDS, HEAD, NECK, TOES, Figure
from pipeline.scenes.look import Look, lit

ARM, LEG, TRUNK, SKULL = (1, 2), (3, 4), (5, 6), 7
"""Parts a label names; arms, legs and the trunk's halves as (left, right). The skull has the neck with it."""
SKULL_RADIUS: Final = 0.08
"""From the middle of the head to its top, of the standing height, on an adult's head."""


def paint_person(
    canvas: Canvas, figure: Figure, look: Look, *, height: float, hips: Points, person: int, contrast: float = 1.0
) -> Points:
    """Paint a figure, its far parts first.

    Args:
        height: the person's standing height in final pixels.
        hips: (2,): where the middle of the hips lies.
        person: the person's place in the label map, from 0.
        contrast: how far clothes and skin are lighter on the person's left than on the right; 0: alike.

    Returns:
        The figure's 24 points (24, 2) in final pixels, whether or not they can be seen.
    """
    painter = _Painter(canvas, figure, look, height, hips, person, contrast)
    painter.paint()
    return painter.xy


class _Painter:
    def __init__(
        self, canvas: Canvas, figure: Figure, look: Look, height: float, hips: Points, person: int, contrast: float
    ) -> None:
        self.canvas, self.figure, self.look, self.height = canvas, figure, look, height
        self.label = (person + 1) * PARTS
        self.xy = figure.points[:, :2] * height + hips
        self.depth = figure.points[:, 2]
        self.line = max(0.35, 0.007 * height)
        self.width = figure.girth * height
        self.contrast = contrast

    def paint(self) -> None:
        depth, parts = self.depth, []
        trunk = float(depth[[5, 6, 11, 12]].mean())
        for side in (0, 1):
            reach = float(depth[[7 + side, 9 + side]].mean())
            parts.append((reach - (0.03 if reach < trunk + 0.02 else -0.03), ("arm", side)))
            parts.append((float(depth[[11 + side, 13 + side, 15 + side]].mean()) + 0.012, ("leg", side)))
            parts.append((trunk + 0.05 * float(depth[5 + side] + depth[11 + side] - 2 * trunk), ("trunk", side)))
        parts.append((min(float(depth[HEAD]), trunk) - 0.01, ("head", 0)))
        for _, (part, side) in sorted(parts, key=lambda entry: -entry[0]):
            getattr(self, "_" + part)(side)

    def _sided(self, colour: Colour, side: int, strength: float = 1.0) -> Colour:
        """The person's left as if in the sun, the right as if in the shade."""
        return lit(colour, (0.34 if side == 0 else -0.58) * (strength * self.contrast))

    def _limb(
        self,
        joints: tuple[int, int, int],
        radii: tuple[float, float, float, float],
        upper: Colour,
        lower: Colour,
        part: int,
    ) -> None:
        """Two rods with one dark outline around both, so that folded limbs stand out from what is behind."""
        a, b, c = (self.xy[joint] for joint in joints)
        r = [radius * self.width for radius in radii]
        label, o = self.label + part, self.line
        self.canvas.capsule(a, b, r[0] + o, r[1] + o, tint(upper, 0.42), label)
        self.canvas.capsule(b, c, r[2] + o, r[3] + o, tint(lower, 0.42), label)
        light = np.array([-0.28, -0.2])
        for start, end, ra, rb, colour in ((a, b, r[0], r[1], upper), (b, c, r[2], r[3], lower)):
            self.canvas.capsule(start, end, ra, rb, colour, None)
            self.canvas.capsule(start + light * ra, end + light * rb, 0.5 * ra, 0.5 * rb, tint(colour, 1.1, 8), None)

    def _arm(self, side: int) -> None:
        skin = self._sided(self.look.skin, side, 0.85)
        sleeve = self._sided(self.look.shirt, side)
        part = ARM[side]
        hand = self.xy[HANDS[side]] * 0.5 + self.xy[9 + side] * 0.5
        o = self.line
        self.canvas.capsule(
            self.xy[9 + side], hand, 0.025 * self.width + o, 0.026 * self.width + o, tint(skin, 0.45), self.label + part
        )
        self.canvas.capsule(self.xy[9 + side], hand, 0.025 * self.width, 0.026 * self.width, skin, None)
        lower = sleeve if self.look.long_sleeves else skin
        self._limb((5 + side, 7 + side, 9 + side), (0.038, 0.031, 0.029, 0.021), sleeve, lower, part)

    def _leg(self, side: int) -> None:
        cloth = self._sided(self.look.trousers, side)
        lower = cloth if self.look.long_trousers else self._sided(self.look.skin, side, 0.85)
        part = LEG[side]
        shoe = self._sided(self.look.shoes, side)
        ankle, toe = self.xy[15 + side] + np.array([0.0, 0.012 * self.height]), self.xy[TOES[side]]
        self.canvas.capsule(
            ankle,
            toe,
            0.028 * self.width + self.line,
            0.024 * self.width + self.line,
            tint(shoe, 0.4),
            self.label + part,
        )
        self.canvas.capsule(ankle, toe, 0.028 * self.width, 0.024 * self.width, shoe, None)
        self._limb((11 + side, 13 + side, 15 + side), (0.055, 0.043, 0.04, 0.027), cloth, lower, part)

    def _trunk(self, side: int) -> None:
        """One half of the trunk, from the spine to the flank."""
        neck, shoulder, hip = self.xy[NECK], self.xy[5 + side], self.xy[11 + side]
        pelvis = (self.xy[11] + self.xy[12]) / 2
        colour = self._sided(self.look.shirt, side, 0.85)
        label = self.label + TRUNK[side]
        o, w = self.line, self.width
        flank = hip * 0.75 + shoulder * 0.25
        inner = np.array([neck, shoulder, hip, pelvis])
        self.canvas.capsule(shoulder, hip, 0.042 * w + o, 0.05 * w + o, tint(colour, 0.42), label)
        self.canvas.polygon(inner, colour, label)
        self.canvas.capsule(shoulder, hip, 0.042 * w, 0.05 * w, colour, None)
        self.canvas.capsule(neck, shoulder, 0.03 * w, 0.042 * w, colour, label)
        self.canvas.capsule(pelvis, hip, 0.046 * w, 0.05 * w, self._sided(self.look.trousers, side), label)
        if self.look.pattern == 0:
            for t in (0.3, 0.6):
                self.canvas.capsule(
                    neck * (1 - t) + pelvis * t,
                    shoulder * (1 - t) + flank * t,
                    0.012 * w,
                    0.012 * w,
                    tint(colour, 0.62),
                    None,
                )
        elif self.look.pattern == 1 and self.figure.facing > 0:
            self.canvas.capsule(neck, pelvis, 0.012 * w, 0.012 * w, tint(colour, 0.5), None)
        elif self.look.pattern == 2 and side == 0:
            chest = (neck * 0.7 + pelvis * 0.3) * 0.6 + (shoulder * 0.8 + hip * 0.2) * 0.4
            self.canvas.ellipse(chest, (0.022 * w, 0.022 * w), 0.0, tint(colour, 0.6, 60), None)

    def _head(self, _: int) -> None:
        canvas, look, figure, xy = self.canvas, self.look, self.figure, self.xy
        size = self.height * figure.head_scale
        centre, neck, label, o = xy[HEAD], xy[NECK], self.label + SKULL, self.line
        up = centre - neck
        up = up / max(1e-6, float(np.hypot(*up)))
        angle = math.atan2(up[0], -up[1])
        front = figure.facing > 0.05
        scalp = tint(look.skin, 0.9) if look.hair_style == 3 else look.hair
        painted = ("hair", "neck") if front else ("neck", "hair")
        for piece in painted:
            if piece == "neck":
                r = 0.031 * self.width
                canvas.capsule(neck, centre, r + o, r + o, tint(look.skin, 0.5), label)
                canvas.capsule(neck, centre, r, r, tint(look.skin, 0.86), None)
            elif look.hair_style == 1:
                low = centre - up * 0.085 * size
                canvas.capsule(centre - up * 0.01 * size, low, 0.074 * size, 0.06 * size, tint(look.hair, 0.7), label)
        if look.hair_style == 2:
            canvas.ellipse(centre + up * 0.085 * size, (0.034 * size, 0.03 * size), angle, tint(look.hair, 0.9), label)
        behind = self.depth[[3, 4]] > self.depth[HEAD]
        ears = [side for side in (0, 1) if not figure.unseen()[3 + side]]
        for side in ears:
            if behind[side]:
                self._ear(side, size, label)
        radii = ((0.062 + 0.012 * math.sqrt(1.0 - min(1.0, figure.facing**2))) * size, SKULL_RADIUS * size)
        canvas.ellipse(centre, (radii[0] + o, radii[1] + o), angle, tint(look.skin, 0.42), label)
        canvas.ellipse(centre, radii, angle, look.skin if front else scalp, None)
        if front:
            self._face(size, angle, up, scalp, label)
        for side in ears:
            if not behind[side]:
                self._ear(side, size, label)

    def _face(self, size: float, angle: float, up: Points, scalp: Colour, label: int) -> None:
        canvas, xy, look = self.canvas, self.xy, self.look
        eyes = (xy[1] + xy[2]) / 2
        away = xy[HEAD] - eyes
        nose = max(0.4, 0.0125 * size)
        canvas.capsule(xy[HEAD], xy[0], 1.6 * nose + self.line, nose + self.line, tint(look.skin, 0.45), label)
        canvas.ellipse(xy[HEAD] + (xy[0] - xy[HEAD]) * 0.3, (0.05 * size, 0.066 * size), angle, look.skin, None)
        canvas.capsule(xy[HEAD], xy[0], 1.6 * nose, nose, look.skin, None)
        if look.hair_style != 3:
            crown = xy[HEAD] + up * 0.047 * size + np.array([0.35 * away[0], 0.0])
            canvas.ellipse(crown, (0.06 * size, 0.04 * size), angle, scalp, None)
        if look.hair_style == 4:
            brim = xy[HEAD] + up * 0.035 * size
            peak = brim - np.array([1.2 * away[0], 0.0])
            canvas.capsule(brim, peak, 0.02 * size, 0.016 * size, tint(scalp, 0.6), None)
        hidden = self.figure.unseen()
        r = max(0.45, 0.0165 * size)
        for eye in (1, 2):
            if not hidden[eye]:
                canvas.ellipse(xy[eye], (r, r), 0.0, (250.0, 250.0, 250.0), label)
                canvas.ellipse(xy[eye], (0.55 * r, 0.6 * r), 0.0, (25.0, 25.0, 35.0), None)
        mouth = xy[0] + (xy[0] - eyes) * 0.9 + np.array([0.3 * away[0], 0.0])
        canvas.ellipse(mouth, (max(0.5, 0.018 * size), max(0.3, 0.008 * size)), angle, (168.0, 58.0, 58.0), None)
        if not hidden[0]:
            canvas.ellipse(xy[0], (nose, 1.2 * nose), angle, tint(look.skin, 0.68), None)

    def _ear(self, side: int, size: float, label: int) -> None:
        r = 0.018 * size
        skin = self._sided(self.look.skin, side, 0.85)
        self.canvas.ellipse(self.xy[3 + side], (r + self.line, 1.3 * r + self.line), 0.0, tint(skin, 0.5), label)
        self.canvas.ellipse(self.xy[3 + side], (r, 1.3 * r), 0.0, skin, None)
