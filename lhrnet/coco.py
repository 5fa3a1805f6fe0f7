"""What COCO fixes about people: names, symmetry, skeleton, tolerances. The one place that knows them.

Keypoint order is COCO's: index 0 is the nose, then left before right, from the head to the ankles.
"""

from collections.abc import Mapping
from typing import Any, Final

KEYPOINTS: Final = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
)
K: Final = len(KEYPOINTS)
"""Keypoints a person has (17)."""

PERSON: Final = 1
"""COCO's category id of people."""

MAX_PEOPLE: Final = 30
"""Maximum people per image in training and grouping (the reference code's max_num_people)."""

MAX_DETECTIONS: Final = 20
"""Maximum detections per image that COCO's keypoint evaluation counts."""

FLIP_INDEX: Final = (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15)
"""`flipped[k] = original[FLIP_INDEX[k]]`: left and right change places in a mirrored image."""

GROUPING_ORDER: Final = (0, 1, 2, 3, 4, 5, 6, 11, 12, 7, 8, 9, 10, 13, 14, 15, 16)
"""Order in which grouping visits keypoints: head, shoulders and hips before limbs."""

SKELETON: Final = (
    (15, 13),
    (13, 11),
    (16, 14),
    (14, 12),
    (11, 12),
    (5, 11),
    (6, 12),
    (5, 6),
    (5, 7),
    (6, 8),
    (7, 9),
    (8, 10),
    (1, 2),
    (0, 1),
    (0, 2),
    (1, 3),
    (2, 4),
    (3, 5),
    (4, 6),
)
"""Pairs of keypoints joined by a limb, counted from 0 (COCO's own list counts from 1)."""

OKS_SIGMAS: Final = tuple(
    tenths / 10  # as pycocotools computes them: 0.26 / 10 is not 0.026 to the last bit
    for tenths in (
        0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89
    )
)  # fmt: skip
"""Per-keypoint spread of human annotators relative to the person's scale (COCO's keypoint evaluation)."""


def labelled_keypoints(annotation: Mapping[str, Any]) -> int:
    """How many keypoints of a person in COCO's form are labelled (visible or hidden): `num_keypoints`, or counted."""
    if "num_keypoints" in annotation:
        return int(annotation["num_keypoints"])
    return sum(flag > 0 for flag in annotation.get("keypoints", ())[2::3])


def labelled(annotation: Mapping[str, Any]) -> bool:
    """Whether an annotation is one person with a labelled keypoint: who is learnt from and has to be found."""
    return not annotation.get("iscrowd") and labelled_keypoints(annotation) > 0
