import re
from dataclasses import replace
from typing import Any

import pytest

from lhrnet.coco import FLIP_INDEX
from lhrnet.skeleton import COCO, SKELETONS, Skeleton
from lhrnet.skeleton.skeleton import same_keypoints, side_of


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_a_built_in_skeleton_is_read_back_from_its_form_by_names(skeleton: Skeleton) -> None:
    assert Skeleton.from_tree(skeleton.tree()) == skeleton


def test_the_built_in_skeletons_have_the_published_counts() -> None:
    counts = {name: skeleton.count for name, skeleton in SKELETONS.items()}
    assert counts == {
        "coco": 17,
        "crowdpose": 14,
        "lsp": 14,
        "mpii": 16,
        "ap10k": 17,
        "hand": 21,
        "coco-wholebody": 133,
    }


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_mirroring_keeps_the_limbs_of_a_built_in_skeleton(skeleton: Skeleton) -> None:
    limbs = {frozenset(limb) for limb in skeleton.limbs}
    assert {frozenset((skeleton.flip[a], skeleton.flip[b])) for a, b in skeleton.limbs} == limbs


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_mirrored_keypoints_of_a_built_in_skeleton_have_one_tolerance(skeleton: Skeleton) -> None:
    body = range(23) if skeleton.name == "coco-wholebody" else range(skeleton.count)  # its face was measured by point
    pairs = [(k, skeleton.flip[k]) for k in body]
    assert all(abs(skeleton.sigmas[a] - skeleton.sigmas[b]) <= 0.03 for a, b in pairs)
    if skeleton.name not in ("ap10k", "coco-wholebody"):  # AP-10K's own evaluation took COCO's by place
        assert all(skeleton.sigmas[a] == skeleton.sigmas[b] for a, b in pairs)


def test_the_default_is_coco() -> None:
    assert COCO.flip == FLIP_INDEX
    assert COCO.sides[:5] == ("own", "left", "right", "left", "right")


@pytest.mark.parametrize(
    "name", ["left_eye", "Left Eye", "l_eye", "eye_L", "LEye", "leftEye", "eyeL", "eye.left", "LEFT-EYE", "lefteye"]
)
def test_common_spellings_of_a_side_are_one(name: str) -> None:
    assert side_of(name) == ("left", "eye")


@pytest.mark.parametrize("name", ["rear", "leg", "lower_lip", "Lip", "ring", "kp_1", "nose", "L"])
def test_a_name_without_a_side_has_none(name: str) -> None:
    assert side_of(name)[0] == ""


def test_lists_of_other_keypoints_are_not_the_same() -> None:
    assert same_keypoints(["l_eye", "Right Eye"], ["left_eye", "right_eye"])
    assert not same_keypoints(["right_eye", "left_eye"], ["left_eye", "right_eye"])
    assert not same_keypoints(["left_eye"], ["left_eye", "right_eye"])


def test_one_keypoint_and_no_limb_are_allowed() -> None:
    one = Skeleton(
        name="ball",
        category="ball",
        keypoints=("centre",),
        limbs=(),
        flip=(0,),
        sigmas=(0.1,),
        order=(0,),
        colours=(),
    )
    assert one.count == 1


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keypoints": ()}, "0 keypoints"),
        ({"keypoints": tuple(f"p{n}" for n in range(257))}, "257 keypoints"),
        ({"keypoints": ("nose", *COCO.keypoints[:-1])}, "'nose' twice"),
        ({"keypoints": ("\x1b]0;pwn\x07", *COCO.keypoints[1:])}, "printable"),
        ({"limbs": ((0, 17),)}, "limb (0, 17)"),
        ({"limbs": ((3, 3),)}, "limb (3, 3)"),
        ({"flip": (1, 2, 0, *range(3, 17))}, "name it in turn"),
        ({"flip": tuple(range(16))}, "flip is"),
        ({"sigmas": COCO.sigmas[:-1]}, "16 sigmas for 17"),
        ({"sigmas": (0.0, *COCO.sigmas[1:])}, "sigma of nose is 0.0"),
        ({"sigmas": (float("nan"), *COCO.sigmas[1:])}, "sigma of nose is nan"),
        ({"order": (0, *range(16))}, "order is"),
        ({"colours": ("green",) * 19}, "colours are"),
        ({"name": ""}, "name is ''"),
        ({"category": "a\nb"}, "category is"),
    ],
)
def test_parts_that_do_not_fit_are_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        replace(COCO, **change)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("flip", [["left_eye", "right_ear"], ["left_eye", "right_eye"]], "'left_eye'"),
        ("flip", [["left_eye", "left_horn"]], "'left_horn'"),
        ("limbs", [["nose"]], "pairs"),
        ("limbs", "nose", "must be a list"),
        ("sigmas", {"nose": 0.1}, "one number for each"),
        ("sigmas", {**dict.fromkeys(COCO.keypoints, 0.1), "nose": "big"}, "sigma of nose is 'big'"),
        ("sigmas", {**dict.fromkeys(COCO.keypoints, 0.1), "nose": True}, "sigma of nose is True"),
        ("order", ["nose", {}], "order names"),
    ],
)
def test_a_form_by_names_that_does_not_fit_is_named(key: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        Skeleton.from_tree({**COCO.tree(), key: value})


def test_a_form_with_other_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="has the keys"):
        Skeleton.from_tree({**COCO.tree(), "sigma": []})
    with pytest.raises(ValueError, match="a list"):
        Skeleton.from_tree([])  # type: ignore[arg-type]
