"""What COCO fixes about people: names, symmetry, skeleton, tolerances. The one place that knows them.

Keypoint order is COCO's: index 0 is the nose, then left before right, from the head to the ankles.
"""

from typing import Final

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
"""Most people an image that training and grouping keep (the reference code's max_num_people)."""

MAX_DETECTIONS: Final = 20
"""Most people an image that COCO's keypoint evaluation counts."""

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

OKS_SIGMAS: Final = (
    0.026,
    0.025,
    0.025,
    0.035,
    0.035,
    0.079,
    0.079,
    0.072,
    0.072,
    0.062,
    0.062,
    0.107,
    0.107,
    0.087,
    0.087,
    0.089,
    0.089,
)
"""Per-keypoint spread of human annotators relative to the person's scale (COCO's keypoint evaluation)."""
