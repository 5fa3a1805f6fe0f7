import re
from dataclasses import replace
from typing import Any

import pytest

from lhrnet.skeleton import COCO, SKELETONS, Skeleton
from lhrnet.skeleton.infer import category_of, estimated_sigmas, flip_of, from_category, of_truth, order_of

HORSE: dict[str, Any] = {
    "id": 3,
    "name": "horse",
    "keypoints": ["L_ear", "R_ear", "withers", "leftHoof", "rightHoof", "tail"],
    "skeleton": [[1, 3], [2, 3], [3, 4], [3, 5], [3, 6]],
}


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=list(SKELETONS))
def test_a_skeleton_is_read_back_from_the_category_it_gives(skeleton: Skeleton) -> None:
    read, notes = from_category(category_of(skeleton, 1))
    assert read == skeleton
    assert not notes


def test_cocos_category_is_cocos_own() -> None:
    category = category_of(COCO, 1)
    assert set(category) == {"id", "name", "keypoints", "skeleton"}
    assert category["skeleton"][0] == [16, 14]


def test_a_built_in_skeleton_is_recognised_in_another_spelling_and_said() -> None:
    spelt = [name.replace("_", " ").title() for name in COCO.keypoints]
    read, notes = from_category({"name": "player", "keypoints": spelt})
    assert read == COCO
    assert "'Nose' is read as 'nose'" in notes[0]
    assert from_category({"name": "person", "keypoints": list(SKELETONS["lsp"].keypoints)})[0] == SKELETONS["lsp"]


def test_what_a_file_does_not_say_is_worked_out_and_said() -> None:
    horse, notes = from_category(HORSE)
    assert horse.flip == (1, 0, 2, 4, 3, 5)
    assert horse.order[0] == 2  # the withers, from which all limbs go
    assert horse.colours == ("left", "right", "left", "right", "own")
    assert horse.sigmas[:2] == COCO.sigmas[3:5]
    text = "\n".join(notes)
    assert "L_ear/R_ear, leftHoof/rightHoof" in text
    assert "2 of 6 are COCO's" in text
    assert "order of grouping" in text


def test_what_a_file_says_is_taken() -> None:
    horse, notes = from_category({**HORSE, "flip_index": [0, 1, 2, 3, 4, 5], "sigmas": [0.1] * 6})
    assert horse.flip == (0, 1, 2, 3, 4, 5)
    assert horse.sigmas == (0.1,) * 6
    assert not any("sigmas" in note or "flip" in note for note in notes)


def test_cocos_names_with_sigmas_of_the_files_own_are_not_coco() -> None:
    own, _ = from_category({**category_of(COCO, 1), "sigmas": [0.05] * 17})
    assert own != COCO
    assert own.keypoints == COCO.keypoints


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"keypoints": []}, "1 to 256"),
        ({"keypoints": ["x"] * 257}, "1 to 256"),
        ({"keypoints": ["a", "a"]}, "'a' twice"),
        ({"keypoints": "nose"}, "1 to 256"),
        ({"skeleton": [[1, 7]]}, "pairs of 1 to 6"),
        ({"skeleton": [[1]]}, "pairs of 1 to 6"),
        ({"skeleton": 5}, "pairs of 1 to 6"),
        ({"flip_index": [1, 0]}, "flip is"),
        ({"flip_index": "10"}, "flip_index is"),
        ({"sigmas": [0.1]}, "1 sigmas for 6"),
        ({"sigmas": [0.1, 0.1, 0, 0.1, 0.1, 0.1]}, "sigma of withers is 0"),
        ({"lhrnet": {"name": "x"}}, "has the keys"),
        ({"lhrnet": SKELETONS["lsp"].tree()}, "differ"),
    ],
)
def test_a_category_that_contradicts_itself_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        from_category({**HORSE, **change})


def test_limbs_counted_from_0_or_doubled_are_said() -> None:
    horse, notes = from_category({**HORSE, "skeleton": [[0, 2], [0, 2], [5, 5]]})
    assert horse.limbs == ((0, 2),)
    assert "count from 0" in "\n".join(notes)
    assert "2 limbs" in "\n".join(notes)


def test_a_side_without_a_partner_is_said() -> None:
    notes: list[str] = []
    assert flip_of(["left_eye", "nose"], notes) == (0, 1)
    assert "left_eye" in notes[1]


def test_grouping_starts_in_the_middle_of_the_largest_part() -> None:
    assert order_of(5, [(0, 1), (1, 2), (3, 4)], []) == (1, 0, 2, 3, 4)
    assert order_of(3, [], []) == (0, 1, 2)


def test_sigmas_of_unknown_names_are_cocos_mean() -> None:
    assert estimated_sigmas(["r_knee", "wheel"], []) == (0.087, 0.067)


def test_a_truth_says_which_keypoints_it_has() -> None:
    lsp = SKELETONS["lsp"]
    other = {"id": 2, "name": "ball"}
    assert of_truth({"categories": [other, category_of(replace(lsp, sigmas=(0.1,) * 14), 1)]}).sigmas == (0.1,) * 14
    assert of_truth({"categories": [other]}) == COCO
    assert of_truth({}) == COCO
