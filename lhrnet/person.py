"""A detected person, and its form in COCO's results."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from lhrnet.coco import PERSON
from lhrnet.geometry import Matrix, apply


@dataclass(frozen=True, kw_only=True, eq=False)
class Person:
    """One person's keypoints."""

    keypoints: NDArray[np.float32]
    """(K, 3) x, y in image pixels (corner coordinates) and score; a keypoint that was not found has score 0."""
    score: float
    """Confidence; grouping gives the mean of the K keypoints' scores (see `lhrnet.decoder.grouping.Groups`)."""
    tag: NDArray[np.float32] | None = None
    """(T,) mean tag by which the keypoints were grouped; None if unknown."""

    def __post_init__(self) -> None:
        if self.keypoints.ndim != 2 or self.keypoints.shape[1] != 3 or not len(self.keypoints):
            raise ValueError(f"keypoints must have shape (K, 3), K at least 1, not {self.keypoints.shape}")

    @property
    def found(self) -> NDArray[np.bool_]:
        """(K,) which keypoints were found."""
        return self.keypoints[:, 2] > 0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """x, y, width, height around the keypoints that were found; zeros when none was."""
        points = self.keypoints[self.found, :2]
        if not len(points):
            return 0.0, 0.0, 0.0, 0.0
        (x, y), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return x, y, right - x, bottom - y

    def moved(self, matrix: Matrix) -> Self:
        """The person in other coordinates.

        Args:
            matrix: (2, 3), the present coordinates to the new ones.
        """
        keypoints = self.keypoints.copy()
        keypoints[:, :2] = np.where(self.found[:, None], apply(matrix, keypoints[:, :2]), 0)
        return type(self)(keypoints=keypoints, score=self.score, tag=self.tag)

    def to_coco(self, image_id: int) -> dict[str, Any]:
        """The person as one entry of COCO's results format, to thousandths.

        The third number of each keypoint is its score, 0 if not found: COCO's evaluation ignores it, drawings use it.
        """
        scores = np.where(self.found, self.keypoints[:, 2].clip(0.001, 1), 0).astype(np.float64)
        triplets = np.column_stack([self.keypoints[:, :2].astype(np.float64) * self.found[:, None], scores])
        numbers = [int(v) if v.is_integer() else v for v in np.round(triplets, 3).ravel().tolist()]
        return {"image_id": int(image_id), "category_id": PERSON, "keypoints": numbers, "score": float(self.score)}

    @classmethod
    def from_coco(cls, entry: Mapping[str, Any]) -> Self:
        """A person from an entry of COCO's results, or of its annotations, whose labelled keypoints get score 1.

        Raises:
            ValueError: the entry does not hold triplets.
        """
        numbers = np.asarray(entry.get("keypoints", ()), dtype=np.float32)
        if not numbers.size or numbers.size % 3:
            raise ValueError(f"a person needs three numbers a keypoint under 'keypoints'; this one has {numbers.size}")
        keypoints = numbers.reshape(-1, 3).copy()
        keypoints[:, 2] = keypoints[:, 2].clip(0, 1)
        return cls(keypoints=keypoints, score=float(entry.get("score", 1.0)))
