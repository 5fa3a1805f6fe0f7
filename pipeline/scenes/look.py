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


def choose_look(rng: np.random.Generator) -> Look:
    """Draw a person's colours and clothes."""

    def cloth() -> Colour:
        hue, grey, light = rng.random() * 6.0, rng.uniform(0.0, 0.75), rng.uniform(95.0, 235.0)
        wheel = [min(1.0, max(0.0, abs((hue + shift) % 6.0 - 3.0) - 1.0)) for shift in (0.0, 4.0, 2.0)]
        r, g, b = ((grey + (1.0 - grey) * w) * light for w in wheel)
        return r, g, b

    chance = rng.random(2)
    return Look(
        skin=tint(_SKIN[rng.integers(len(_SKIN))], rng.uniform(0.95, 1.04)),
        hair=tint(_HAIR[rng.integers(len(_HAIR))], rng.uniform(0.85, 1.15)),
        shirt=cloth(),
        trousers=cloth(),
        shoes=_SHOES[rng.integers(len(_SHOES))],
        hair_style=int(rng.integers(HAIR_STYLES)),
        long_sleeves=bool(chance[0] < 0.55),
        long_trousers=bool(chance[1] < 0.75),
        pattern=int(rng.integers(4)),
    )
