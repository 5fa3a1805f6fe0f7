"""One category of an annotation file is taken, whatever its number, name and keypoints; what is assumed is said."""

import json
from typing import Any

import pytest

from lhrnet.skeleton import COCO, SKELETONS
from pipeline.sharding.annotations import parse
from pipeline.sharding.category import Choice, choose_category

LSP = SKELETONS["lsp"]
PERSON = {"id": 1, "name": "person", "keypoints": list(COCO.keypoints)}
PLAYER = {"id": 7, "name": "player", "keypoints": list(LSP.keypoints)}
BALL = {"id": 2, "name": "ball"}
PALLET: dict[str, Any] = {
    "id": 3,
    "name": "pallet",
    "keypoints": ["front_left", "front_right", "back_right", "back_left"],
}


def test_cocos_own_category_stays_as_it_is() -> None:
    chosen = choose_category([PERSON, BALL], "x.json", Choice())
    assert (chosen.number, chosen.skeleton, chosen.kept, chosen.notes) == (1, COCO, [PERSON, BALL], ())


def test_another_number_becomes_one_and_is_said() -> None:
    chosen = choose_category([BALL, PLAYER], "x.json", Choice())
    assert (chosen.number, chosen.skeleton) == (7, LSP)
    assert chosen.others == {2}
    assert chosen.kept[0]["id"] == 1
    assert "category 7, 'player', has the number 1" in chosen.notes[-1]


def test_of_two_categories_with_keypoints_one_must_be_chosen() -> None:
    with pytest.raises(ValueError, match=r"x\.json has 2 categories with keypoints, 'person' and 'pallet': choose one"):
        choose_category([PERSON, PALLET, BALL], "x.json", Choice())
    chosen = choose_category([PERSON, PALLET, BALL], "x.json", Choice(category="Pallet"))
    assert chosen.skeleton.keypoints == tuple(PALLET["keypoints"])
    assert chosen.skeleton.flip == (1, 0, 3, 2)
    assert [category["name"] for category in chosen.kept] == ["pallet"]
    person = choose_category([PERSON, PALLET, BALL], "x.json", Choice(category="person"))
    assert [category["name"] for category in person.kept] == ["person"], "only one category with keypoints is kept"


@pytest.mark.parametrize(
    ("categories", "choice", "told"),
    [
        ([BALL], Choice(), "no category that lists keypoints (its categories: 'ball')"),
        ([PERSON], Choice(category="horse"), "no category 'horse'"),
        ([], Choice(), "its categories: none"),
        ([5, None], Choice(), "its categories: none"),
        ([{**PLAYER, "id": "seven"}], Choice(), "has the id 'seven'"),
        ([{**PLAYER, "id": True}], Choice(), "has the id True"),
        ([PLAYER, {**BALL, "id": 7}], Choice(), "two categories of the id 7"),
        ([{**PLAYER, "keypoints": ["a", "a"]}], Choice(), "'a' twice"),
        ([PLAYER], Choice(skeleton=COCO), "they must be the same"),
    ],
)
def test_what_cannot_be_taken_is_named(categories: list[Any], choice: Choice, told: str) -> None:
    with pytest.raises(ValueError, match=r"x\.json") as error:
        choose_category(categories, "x.json", choice)
    assert told in str(error.value)


def test_a_skeleton_is_taken_for_a_category_that_names_no_keypoints() -> None:
    chosen = choose_category([{"id": 1, "name": "person"}], "x.json", Choice(skeleton=LSP))
    assert chosen.skeleton == LSP


def tree(category: dict[str, Any], *annotations: dict[str, Any]) -> bytes:
    image = {"id": 1, "file_name": "1.jpg", "width": 50, "height": 50}
    return json.dumps({"images": [image], "annotations": annotations, "categories": [category, BALL]}).encode()


def annotation(number: int, category: int, keypoints: list[float]) -> dict[str, Any]:
    return {
        "id": number, "image_id": 1, "category_id": category, "bbox": [1, 1, 9, 9], "area": 50, "keypoints": keypoints,
    }  # fmt: skip


def test_annotations_of_the_chosen_category_are_numbered_one_and_others_left_away() -> None:
    labelled = annotation(1, 7, [5, 5, 2] * 14)
    file = parse(tree(PLAYER, labelled, annotation(2, 2, [])), "x.json", labelled=True)
    assert [(a["id"], a["category_id"], a["num_keypoints"]) for a in file.records[0].annotations] == [(1, 1, 14)]
    assert file.skeleton == LSP


def test_an_unlabelled_object_gets_as_many_zeros_as_the_skeleton_has_keypoints() -> None:
    file = parse(tree(PALLET, annotation(1, 3, [])), "x.json", labelled=True)
    assert file.records[0].annotations[0]["keypoints"] == [0] * 12
