"""What can be set about drawn scenes, and the settings of the hard ones."""

from typing import Annotated, Final

from pydantic import Field
from pydantic.dataclasses import dataclass as section

from pipeline import SECTION, Share


@section(frozen=True, kw_only=True, config=SECTION)
class SceneConfig:
    """What the scenes are like. The defaults are the demo's: learnable in minutes, far from solved by then."""

    size: Annotated[int, Field(ge=64, le=1024)] = 192
    """Pixels of an image's long side, 64 to 1024; the short side is 3/4 to all of it."""
    people: Annotated[int, Field(ge=1, le=12)] = 3
    """At most this many labelled people in a scene, 1 to 12."""
    smallest: Annotated[float, Field(ge=0.1, le=1.5)] = 0.55
    """A labelled person's standing height is at least this, as a fraction of the image's height."""
    largest: Annotated[float, Field(ge=0.1, le=1.5)] = 1.0
    """Greatest standing height of a labelled person, as a fraction of the image's height; 1.5 at most."""
    variety: Annotated[float, Field(ge=0, le=2)] = 0.7
    """How far limbs stray from a typical pose: 0 not at all, 1 naturally, 2 at most."""
    sides: Share = 1.0
    """How much lighter a person's left is than the right, 0 (alike) to 1."""
    clutter: Annotated[int, Field(ge=0, le=100)] = 5
    """At most this many pieces of clutter behind the people."""
    cut: Share = 0.1
    """Chance that a person is cut by the image's border."""
    occluder: Share = 0.2
    """Chance that something stands in front of the people."""
    crowd: Share = 0.06
    """Chance of a distant group, annotated as one crowd region."""
    unlabelled: Share = 0.08
    """Chance of a distant person annotated without keypoints."""
    empty: Share = 0.02
    """Chance of a scene without anybody."""
    depth: Share = 0.0
    """How far people are near and far in one scene, 0 (all about as tall) to 1; the far ones stand higher up."""
    crossing: Share = 0.0
    """Chance that a person stands so close to another that their bodies cross. Above 0, who shows fewer than 3
    keypoints is annotated without any, and who does not show at all is not annotated."""
    blur: Share = 0.0
    """Chance that a person moves and is blurred, and half that chance that the camera moves."""
    lighting: Share = 0.0
    """How strange the light may be, 0 to 1: night, fog, coloured lamps, a sun low behind or beside the people."""
    quality: Annotated[int, Field(ge=1, le=100)] = 92
    """JPEG quality of the files, 1 to 100."""

    def __post_init__(self) -> None:
        if self.smallest > self.largest:
            raise ValueError(f"smallest is {self.smallest}; allowed: at most largest ({self.largest})")


HARD: Final = SceneConfig(
    people=12,
    smallest=0.18,
    largest=1.1,
    variety=1.0,
    sides=0.5,
    clutter=9,
    cut=0.2,
    occluder=0.5,
    crowd=0.1,
    unlabelled=0.15,
    depth=1.0,
    crossing=0.4,
    blur=0.3,
    lighting=1.0,
    quality=80,
)
"""Scenes that stay hard after an hour: crowds that cross, cut and small bodies, motion blur, bad light."""
