"""What a scene needs to know of the objects that stand in it: how one is painted, and which parts show a keypoint."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lhrnet.skeleton import Skeleton
from pipeline.scenes.canvas import Canvas, Points


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How the objects of a scene are drawn."""

    variety: float
    """How far limbs stray from a typical pose: 0 not at all, 1 naturally."""
    sides: float
    """How much lighter one side of an object is than the other, 0 (alike) to 1."""


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One object as it was painted."""

    points: Points
    """(K, 2): the keypoints in final pixels, wherever they lie."""
    unlabelled: NDArray[np.bool_]
    """(K,): keypoints on a side that is turned away, which nobody would label."""


class Subject(Protocol):
    """A kind of object that can be drawn."""

    @property
    def skeleton(self) -> Skeleton:
        """Its K keypoints."""

    @property
    def shown_by(self) -> tuple[tuple[int, ...], ...]:
        """For each keypoint, the parts of the label map that show it."""

    def paint(
        self, rng: np.random.Generator, canvas: Canvas, *, height: float, middle: Points, number: int, manner: Manner
    ) -> Drawn:
        """Paint one in a pose and a look of its own.

        Args:
            height: its typical height in final pixels; half of it lies above and below `middle`.
            middle: (2,): where its middle lies.
            number: its place in the label map, from 0.
        """
