"""What the drawn people look like: skin, hair and clothes."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.scenes.canvas import Colour, tint


@dataclass(frozen=True, kw_only=True)
class Look:
    """How a person looks: colours (RGB, 0 to 255), hair and clothes."""

    skin: Colour
    hair: Colour
    shirt: Colour
    trousers: Colour
    shoes: Colour
    hair_style: int
    long_sleeves: bool
    long_trousers: bool
    pattern: int


_SKIN: Final = ((244, 214, 190), (229, 184, 150), (205, 155, 115), (165, 115, 80), (118, 80, 55), (86, 58, 42))
_HAIR: Final = ((32, 26, 22), (74, 48, 28), (156, 114, 64), (206, 176, 116), (120, 116, 112), (140, 62, 34))
_SHOES: Final = ((45, 42, 48), (190, 190, 195), (150, 60, 50), (70, 80, 130))
HAIR_STYLES: Final = 5
"""Short, long, bun, bald, cap."""


_SUN, _SHADE = (255.0, 244.0, 205.0), (16.0, 22.0, 66.0)


def lit(colour: Colour, light: float) -> Colour:
    """A colour in the sun (`light` above 0, 1 at most) or in the shade (below, -1 at least)."""
    towards, share = (_SUN, light) if light > 0 else (_SHADE, -light)
    r, g, b = (c * (1.0 - share) + t * share for c, t in zip(colour, towards, strict=True))
    return r, g, b


def choose_skin(rng: np.random.Generator) -> Colour:
    """Draw a colour of skin."""
    return tint(_SKIN[rng.integers(len(_SKIN))], rng.uniform(0.95, 1.04))


def choose_cloth(rng: np.random.Generator) -> Colour:
    """Draw a colour of cloth: any hue, none of them dark."""
    hue, grey, light = rng.random() * 6.0, rng.uniform(0.0, 0.75), rng.uniform(95.0, 235.0)
    wheel = [min(1.0, max(0.0, abs((hue + shift) % 6.0 - 3.0) - 1.0)) for shift in (0.0, 4.0, 2.0)]
    r, g, b = ((grey + (1.0 - grey) * w) * light for w in wheel)
    return r, g, b


def choose_look(rng: np.random.Generator) -> Look:
    """Draw a person's colours and clothes."""
    chance = rng.random(2)
    return Look(
        skin=choose_skin(rng),
        hair=tint(_HAIR[rng.integers(len(_HAIR))], rng.uniform(0.85, 1.15)),
        shirt=choose_cloth(rng),
        trousers=choose_cloth(rng),
        shoes=_SHOES[rng.integers(len(_SHOES))],
        hair_style=int(rng.integers(HAIR_STYLES)),
        long_sleeves=bool(chance[0] < 0.55),
        long_trousers=bool(chance[1] < 0.75),
        pattern=int(rng.integers(4)),
    )
