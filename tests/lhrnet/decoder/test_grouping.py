"""What grouping promises: the reference parser's people but for its quirks, and sane answers to bad maps."""

import dataclasses
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lhrnet.coco import GROUPING_ORDER, K
from lhrnet.decoder.enlarged import Floats
from lhrnet.decoder.grouping import GroupingConfig, Groups, group, group_batch
from tests.reference.parser import REFERENCE, WITHOUT_QUIRKS, Parser


def cases(golden: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((golden / "grouping" / "index.json").read_text())
    assert len(found) == 31
    return found


def maps(golden: Path, case: dict[str, Any]) -> tuple[Floats, Floats, dict[str, Floats]]:
    vectors = np.load(golden / case["file"])
    return vectors["det"].astype(np.float32), vectors["tag"].astype(np.float32), vectors


def parser(case: dict[str, Any], base: Parser = REFERENCE) -> Parser:
    assert tuple(case["joint_order"]) == GROUPING_ORDER
    return dataclasses.replace(
        base,
        max_people=case["max_num_people"],
        detection_threshold=case["detection_threshold"],
        tag_threshold=case["tag_threshold"],
        nms_kernel=case["nms_kernel"],
        use_detection_val=case["use_detection_val"],
        overflow="stop" if case["ignore_too_much"] else "grow",
    )


def test_the_plain_parser_finds_the_reference_code_s_people(golden: Path) -> None:
    """On every scene, also where many assignments cost the same."""
    exact = 0
    for case in cases(golden):
        heat, tags, vectors = maps(golden, case)
        found = parser(case)(heat, tags)
        assert len(found.scores) == case["n_out"], case["file"]
        if not case["n_out"]:
            continue
        np.testing.assert_allclose(found.scores, vectors["scores"], atol=1e-6, err_msg=case["file"])
        np.testing.assert_allclose(found.keypoints, vectors["people"][..., :3], atol=1e-5, err_msg=case["file"])
        bare = dataclasses.replace(parser(case), refine=False)(heat, tags)
        np.testing.assert_allclose(bare.keypoints, vectors["people_adjust"][..., :3], atol=1e-5, err_msg=case["file"])
        exact += 1
    assert exact == 30


def test_grouping_finds_the_people_of_the_plain_parser_without_quirks(golden: Path) -> None:
    """With every setting, on every scene and on crowds of noise with plateaus and equal heights."""
    scenes = [maps(golden, case)[:2] for case in cases(golden)]
    scenes += [crowd(seed) for seed in range(4)]
    configs = [
        GroupingConfig(),
        GroupingConfig(max_people=4, nms_kernel=3, tag_threshold=0.5, detection_threshold=0.3),
        GroupingConfig(refine=False),
    ]
    for config in configs:
        plain = dataclasses.replace(WITHOUT_QUIRKS, **dataclasses.asdict(config))
        for number, (heat, tags) in enumerate(scenes):
            found, wanted = group(heat, tags, config), plain(heat, tags)
            np.testing.assert_array_equal(found.keypoints, wanted.keypoints, err_msg=f"scene {number}, {config}")
            np.testing.assert_array_equal(found.scores, wanted.scores)
            np.testing.assert_allclose(found.tags, wanted.tags, atol=1e-5)


def crowd(seed: int) -> tuple[Floats, Floats]:
    """(17, 24, 32) of coarse noise, where heights are often equal, and tags (17, 24, 32, 2)."""
    random = np.random.default_rng(seed)
    heat = random.uniform(0, 1, (K, 12, 16)).repeat(2, axis=1).repeat(2, axis=2)[:, : 24 - seed, : 32 - seed]
    heat = np.where(random.uniform(0, 1, heat.shape) < 0.5, np.round(heat, 1), heat)
    return heat.astype(np.float32), (2 * random.standard_normal((*heat.shape, 2))).astype(np.float32)


def test_without_its_quirks_the_reference_keeps_its_people_on_clear_scenes(golden: Path) -> None:
    compared = 0
    for case in cases(golden):
        usual = case["use_detection_val"] and not case["ignore_too_much"]
        if usual and case["assignment_unique"] and case["n_out"]:
            heat, tags, vectors = maps(golden, case)
            config = GroupingConfig(
                max_people=case["max_num_people"],
                detection_threshold=case["detection_threshold"],
                tag_threshold=case["tag_threshold"],
                nms_kernel=case["nms_kernel"],
            )
            found = group(heat, tags, config)
            np.testing.assert_allclose(found.keypoints, vectors["people"][..., :3], atol=1e-5, err_msg=case["file"])
            compared += 1
    assert compared == 13


def scene(people: int = 3, side: int = 64, seed: int = 0, noise: float = 0.0) -> tuple[Floats, Floats, Floats]:
    """Maps of people standing apart, each with a tag of its own, and their joints (P, 17, 2)."""
    random = np.random.default_rng(seed)
    joints = random.uniform(6, side - 6, (people, K, 2)).astype(np.float32)
    ys, xs = np.mgrid[:side, :side].astype(np.float32) + 0.5
    squares = (xs - joints[:, :, 0, None, None]) ** 2 + (ys - joints[:, :, 1, None, None]) ** 2
    heat = np.exp(-squares / 8).max(axis=0)
    tags = 3.0 * squares.argmin(axis=0)[..., None].astype(np.float32)
    return heat + noise * random.standard_normal(heat.shape).astype(np.float32), tags, joints


def nobody(found: Groups, dimensions: int = 1) -> bool:
    return (found.keypoints.shape, found.tags.shape, found.scores.shape) == ((0, K, 3), (0, dimensions), (0,))


@pytest.mark.parametrize(
    "damage",
    [
        lambda heat, tags: heat.fill(0),
        lambda heat, tags: heat.fill(-1),
        lambda heat, tags: heat.fill(np.nan),
        lambda heat, tags: heat.fill(np.inf),
        lambda heat, tags: heat.fill(0.9),
        lambda heat, tags: (heat.fill(0), heat[:, 10:50, 5:40].fill(0.7)),
        lambda heat, tags: heat[3, 5].fill(np.nan),
        lambda heat, tags: tags.fill(np.nan),
        lambda heat, tags: tags[0, 0].fill(-np.inf),
    ],
    ids=["zero", "negative", "nan", "inf", "flat", "plateau", "some nan", "nan tags", "inf tags"],
)
def test_bad_maps_hold_nobody(damage: Any) -> None:
    heat, tags, _ = scene()
    assert len(group(heat, tags).scores) == 3
    damage(heat, tags)
    assert nobody(group(heat, tags))


def test_an_empty_map_holds_nobody() -> None:
    assert nobody(group(np.zeros((K, 0, 8), np.float32), np.zeros((K, 0, 8, 2), np.float32)), 2)


def test_maps_that_do_not_fit_are_refused() -> None:
    heat, tags, _ = scene()
    with pytest.raises(ValueError, match=r"\(17, 32, 64\)"):
        group(heat[:, :32], tags)
    with pytest.raises(ValueError, match=r"\(16, 64, 64\)"):
        group(heat[:16], tags[:16])


def test_types_and_layouts_make_no_difference() -> None:
    heat, tags, _ = scene(noise=0.02)
    tags = np.concatenate([tags, tags + 0.1], axis=-1)
    wanted = group(heat, tags)
    planar = np.moveaxis(np.ascontiguousarray(np.moveaxis(tags, -1, 1)), 1, -1)
    for other_heat, other_tags in ((heat, planar), (heat.astype(np.float64), tags), (np.asfortranarray(heat), tags)):
        found = group(other_heat, other_tags)
        np.testing.assert_array_equal(found.keypoints, wanted.keypoints)
        np.testing.assert_array_equal(found.tags, wanted.tags)


def test_people_of_a_clean_scene_come_back_with_their_joints() -> None:
    heat, tags, joints = scene(people=4, side=96, seed=2)
    found = group(heat, tags, GroupingConfig(refine=False))
    people = np.rint(found.tags[:, 0] / 3).astype(int)
    assert sorted(people.tolist()) == [0, 1, 2, 3]
    seen = found.keypoints[..., 2] > 0
    assert seen.mean() > 0.95
    assert np.abs(found.keypoints[..., :2] - joints[people])[seen].max() < 1.5
    assert np.median(np.abs(found.keypoints[..., :2] - joints[people])[seen]) < 0.15


def test_one_peak_a_plateau_but_for_the_reference() -> None:
    heat, tags = np.zeros((K, 40, 40), np.float32), np.zeros((K, 40, 40, 1), np.float32)
    heat[0, 10:12, 10:12] = 0.8
    assert len(group(heat, tags).scores) == 1
    assert len(Parser(share_equal_tags=False)(heat, tags).scores) == 4


def test_equal_first_tags_are_one_person_only_for_the_reference() -> None:
    heat, tags = np.zeros((K, 40, 40), np.float32), np.zeros((K, 40, 40, 1), np.float32)
    heat[0, 10, 10], heat[0, 10, 30] = 0.8, 0.6
    assert len(group(heat, tags).scores) == 2
    assert len(REFERENCE(heat, tags).scores) == 1


def test_beyond_the_most_people_others_are_started_that_nothing_joins() -> None:
    """Two noses, then two left eyes of which one belongs to a nose, then a right eye near the other left one."""
    heat, tags = np.zeros((K, 40, 40), np.float32), np.zeros((K, 40, 40, 1), np.float32)
    for keypoint, x, tag in ((0, 5, 0.0), (0, 15, 10.0), (1, 5, 0.0), (1, 35, 30.0), (2, 35, 30.0)):
        heat[keypoint, 10, x], tags[keypoint, 10, x] = 0.5, tag
    found = group(heat, tags, GroupingConfig(max_people=2, refine=False))
    assert (found.keypoints[..., 2] > 0).sum(axis=1).tolist() == [2, 1, 1, 1]


def test_a_score_counts_what_peaks_gave_and_refining_fills_in_the_rest() -> None:
    heat, tags, _ = scene(people=1)
    heat[5] *= 0.05
    found, bare = group(heat, tags), group(heat, tags, GroupingConfig(refine=False))
    assert bare.keypoints[0, 5].tolist() == [0, 0, 0]
    assert found.keypoints[0, 5, 2] == pytest.approx(heat[5].max())
    assert found.scores[0] == bare.scores[0] == pytest.approx(bare.keypoints[0, :, 2].mean())


def test_a_pool_of_threads_gives_the_same_people_in_the_same_order() -> None:
    scenes = [scene(people=n % 4 + 1, seed=n, noise=0.01) for n in range(8)]
    heats, tags = np.stack([s[0] for s in scenes]), np.stack([s[1] for s in scenes])
    with ThreadPoolExecutor(3) as pool:
        together = group_batch(heats, tags, pool=pool)
    for one, other in zip(together, group_batch(heats, tags), strict=True):
        np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_as_many_heatmaps_as_tags() -> None:
    with pytest.raises(ValueError, match="heatmaps of 3 images and tags of 2"):
        group_batch(np.zeros((3, K, 8, 8)), np.zeros((2, K, 8, 8, 1)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_people", 0),
        ("nms_kernel", 4),
        ("nms_kernel", 1),
        ("detection_threshold", 1.5),
        ("tag_threshold", 0.0),
    ],
)
def test_a_setting_out_of_range_is_named(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=key):
        GroupingConfig(**{key: value})
