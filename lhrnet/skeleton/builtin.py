"""The skeletons that are built in, by name, each with its source."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final

from lhrnet.coco import FLIP_INDEX, GROUPING_ORDER, KEYPOINTS, OKS_SIGMAS
from lhrnet.coco import SKELETON as COCO_LIMBS
from lhrnet.skeleton.skeleton import Side, Skeleton, side_of

_BY_NAME: Final[Mapping[str, float]] = {
    **{side_of(name)[1]: sigma for name, sigma in zip(KEYPOINTS, OKS_SIGMAS, strict=True)},
    "head": 0.079,
    "head top": 0.079,
    "neck": 0.079,
    "upper neck": 0.079,
    "thorax": 0.079,
    "pelvis": 0.107,
}
"""OKS sigmas by a keypoint's name without its side: COCO's, and for head and neck those of CrowdPose's evaluation. The
thorax is taken for a neck and the pelvis for a hip."""


def _coco_colour(a: int, b: int) -> Side:
    """Arms and legs have their side's colour, face and trunk the person's; ears are not tied to shoulders."""
    if (a, b) in ((3, 5), (4, 6)):
        return "hidden"
    if a < 5 or b < 5 or a % 2 != b % 2 or {a, b} in ({5, 11}, {6, 12}):
        return "own"
    return "left" if a % 2 else "right"


COCO: Final = Skeleton(
    name="coco",
    category="person",
    keypoints=KEYPOINTS,
    limbs=COCO_LIMBS,
    flip=FLIP_INDEX,
    sigmas=OKS_SIGMAS,
    order=GROUPING_ORDER,
    colours=tuple(_coco_colour(a, b) for a, b in COCO_LIMBS),
)
"""COCO's 17 keypoints of people (Lin and others 2014): the default wherever nothing else is said."""


def _skeleton(
    name: str,
    keypoints: Sequence[str],
    limbs: str,
    *,
    category: str = "person",
    sigmas: Sequence[float] | None = None,
    order: Sequence[int] | None = None,
) -> Skeleton:
    """A skeleton from chains of limbs ("a-b-c d-e" by place), with pairs from the names."""
    chains = [[int(place) for place in chain.split("-")] for chain in limbs.split()]
    pairs = tuple(pair for chain in chains for pair in pairwise(chain))
    places = {side_of(keypoint): k for k, keypoint in enumerate(keypoints)}
    swap = {"left": "right", "right": "left", "": ""}
    flip = tuple(places[swap[side_of(k)[0]], side_of(k)[1]] for k in keypoints)  # type: ignore[index]
    sides = [side_of(keypoint)[0] or "own" for keypoint in keypoints]

    def colour(a: int, b: int) -> Side:
        both: set[Side] = {sides[a], sides[b]}
        return both.pop() if len(both) == 1 else "own"

    return Skeleton(
        name=name,
        category=category,
        keypoints=tuple(keypoints),
        limbs=pairs,
        flip=flip,
        sigmas=tuple(sigmas or [_BY_NAME[side_of(keypoint)[1]] for keypoint in keypoints]),
        order=tuple(order or range(len(keypoints))),
        colours=tuple(colour(a, b) for a, b in pairs),
    )


def _paired(*names: str) -> list[str]:
    return [f"{side}_{name}" for name in names for side in ("left", "right")]


_FINGERS: Final = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_HAND_SIGMAS: Final = (
    0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026, 0.017, 0.021, 0.021,
    0.032, 0.02, 0.019, 0.022, 0.031,
)  # fmt: skip
_FEET_SIGMAS: Final = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
_FACE_SIGMAS: Final = (
    0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043, 0.041,
    0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015, 0.009, 0.007, 0.007, 0.007, 0.012,
    0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034,
    0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008,
    0.008, 0.008, 0.01, 0.008,
)  # fmt: skip
_FACE_MIRROR: Final = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip
"""The place of each of the 68 face points (iBUG's numbers) in a mirrored face."""


def _hand(root: str, prefix: str = "") -> list[str]:
    return [prefix + root, *(f"{prefix}{finger}{n}" for finger in _FINGERS for n in (1, 2, 3, 4))]


def _fingers(first: int) -> str:
    """Limbs of a hand whose root is keypoint `first`: from the root along each finger."""
    return " ".join("-".join(map(str, (first, *range(first + n, first + n + 4)))) for n in (1, 5, 9, 13, 17))


CROWDPOSE: Final = _skeleton(
    "crowdpose",
    [*_paired("shoulder", "elbow", "wrist", "hip", "knee", "ankle"), "head", "neck"],
    "12-13 13-0-2-4 13-1-3-5 0-6-8-10 1-7-9-11 6-7",
    order=(12, 13, 0, 1, 6, 7, 2, 3, 4, 5, 8, 9, 10, 11),
)
"""CrowdPose's 14 (Li and others, CVPR 2019); sigmas of its own evaluation, order of HigherHRNet's code."""

LSP: Final = _skeleton(
    "lsp",
    [
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
        *("neck", "head_top"),
    ],
    "0-1-2-3-4-5 6-7-8 9-10-11 8-12-9 12-13 2-8 3-9",
    order=(12, 13, 8, 9, 2, 3, 7, 10, 6, 11, 1, 4, 0, 5),
)
"""Leeds Sports Pose's 14 (Johnson and Everingham, BMVC 2010). It is scored by PCK and names no sigmas: COCO's."""

MPII: Final = _skeleton(
    "mpii",
    [
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "upper_neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    ],
    "0-1-2-6-3-4-5 6-7-8-9 10-11-12-7-13-14-15",
    order=(7, 8, 9, 6, 12, 13, 2, 3, 11, 14, 10, 15, 1, 4, 0, 5),
)
"""MPII's 16 (Andriluka and others, CVPR 2014). It is scored by PCKh and names no sigmas: COCO's."""

AP10K: Final = _skeleton(
    "ap10k",
    [
        *("left_eye", "right_eye", "nose", "neck", "root_of_tail"),
        *("left_shoulder", "left_elbow", "left_front_paw", "right_shoulder", "right_elbow", "right_front_paw"),
        *("left_hip", "left_knee", "left_back_paw", "right_hip", "right_knee", "right_back_paw"),
    ],
    "0-1 0-2-1 2-3-4 3-5-6-7 3-8-9-10 4-11-12-13 4-14-15-16",
    category="animal",
    sigmas=(*OKS_SIGMAS[1:3], OKS_SIGMAS[0], *OKS_SIGMAS[3:]),
    order=(3, 2, 0, 1, 4, 5, 8, 11, 14, 6, 9, 12, 15, 7, 10, 13, 16),
)
"""AP-10K's 17 of animals (Yu and others, NeurIPS 2021); its evaluation's sigmas, which are COCO's by place."""

HAND: Final = _skeleton("hand", _hand("wrist"), _fingers(0), category="hand", sigmas=_HAND_SIGMAS)
"""A hand's 21: wrist, then four points of each finger from the palm to the tip; COCO-WholeBody's sigmas of hands."""


def _wholebody() -> Skeleton:
    names = [
        *KEYPOINTS,
        *(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")),
        *(f"face-{n}" for n in range(68)),
        *_hand("hand_root", "left_"),
        *_hand("hand_root", "right_"),
    ]
    feet = ((15, 17), (15, 18), (15, 19), (16, 20), (16, 21), (16, 22))
    hands = [
        (91 + 21 * hand + (finger * 4 + step if step else 0), 91 + 21 * hand + finger * 4 + step + 1)
        for hand in (0, 1)
        for finger in range(5)
        for step in range(4)
    ]
    wrists = ((9, 91), (10, 112))
    limbs = (*COCO_LIMBS, *feet, *wrists, *hands)
    sides: list[Side] = [side_of(name)[0] or "own" for name in names]
    flip = [*FLIP_INDEX, 20, 21, 22, 17, 18, 19, *(23 + k for k in _FACE_MIRROR)]
    flip += [*range(112, 133), *range(91, 112)]
    return Skeleton(
        name="coco-wholebody",
        category="person",
        keypoints=tuple(names),
        limbs=limbs,
        flip=tuple(flip),
        sigmas=(*OKS_SIGMAS, *_FEET_SIGMAS, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS),
        order=(*GROUPING_ORDER, *range(17, 133)),
        colours=(*COCO.colours, *(sides[b] for _, b in limbs[len(COCO_LIMBS) :])),
    )


WHOLEBODY: Final = _wholebody()
"""COCO-WholeBody's 133: body, feet, face, hands (Jin and others, ECCV 2020); sigmas of its own evaluation."""

SKELETONS: Final[Mapping[str, Skeleton]] = {
    skeleton.name: skeleton for skeleton in (COCO, CROWDPOSE, LSP, MPII, AP10K, HAND, WHOLEBODY)
}
"""The built-in skeletons by name."""
