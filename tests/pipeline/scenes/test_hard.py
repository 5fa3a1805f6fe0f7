"""Hard scenes: many people, small, cut and crossing, and annotations that say what is left of them to see."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.scenes.drawing import draw_scene
from pipeline.scenes.scene_config import HARD, SceneConfig

Scenes = list[tuple[NDArray[np.uint8], list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def hard() -> Scenes:
    return [draw_scene((11, i), HARD) for i in range(60)]


def labelled(scenes: Scenes) -> list[list[dict[str, Any]]]:
    return [[a for a in annotations if a["num_keypoints"]] for _, annotations in scenes]


def test_hard_scenes_hold_up_to_twelve_people_of_many_sizes(hard: Scenes) -> None:
    people = labelled(hard)
    assert 8 < max(map(len, people)) <= 12
    tall = [a["bbox"][3] / image.shape[0] for (image, _), found in zip(hard, people, strict=True) for a in found]
    assert np.quantile(tall, 0.1) < 0.2
    assert np.quantile(tall, 0.9) > 0.5
    within = [max(t) / min(t) for found in people if len(t := [a["bbox"][3] for a in found]) > 3]
    assert np.median(within) > 1.8, "near and far in one scene"


def test_bodies_cross_more_than_in_the_plain_scenes(hard: Scenes) -> None:
    plain = [draw_scene((11, i)) for i in range(60)]
    flags = [np.array([a["keypoints"][2::3] for found in labelled(s) for a in found]) for s in (hard, plain)]
    covered = [(v == 1).sum() / (v > 0).sum() for v in flags]
    assert covered[0] > 1.3 * covered[1]


def test_whoever_has_keypoints_shows_some_of_them_and_who_hardly_shows_has_none(hard: Scenes) -> None:
    bare = 0
    for _, annotations in hard:
        for annotation in annotations:
            assert annotation["area"] > 0
            visible = annotation["keypoints"][2::3].count(2)
            assert visible >= 3 or annotation["num_keypoints"] == 0
            bare += annotation["num_keypoints"] == 0
    assert bare > 5


PLAIN = SceneConfig(people=1, occluder=0.0, empty=0.0, crowd=0.0, unlabelled=0.0)


@pytest.mark.parametrize("config", [replace(PLAIN, blur=1.0), replace(PLAIN, lighting=1.0)], ids=["blur", "lighting"])
def test_what_the_camera_does_changes_the_picture_and_no_body(config: SceneConfig) -> None:
    pairs = [(draw_scene((4, i), PLAIN), draw_scene((4, i), config)) for i in range(12)]
    assert all(before[1] == after[1] for before, after in pairs)
    assert sum(not np.array_equal(before[0], after[0]) for before, after in pairs) > 7


def test_hard_hands_can_be_drawn_too() -> None:
    scenes = [draw_scene((12, i), HARD, "hand") for i in range(12)]
    assert max(map(len, labelled(scenes))) > 5
