"""Grouping on the device finds the people that grouping of one image finds."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lhrnet.coco import K
from lhrnet.decoder.device_grouping import group_on_device
from lhrnet.decoder.enlarged import Floats
from lhrnet.decoder.grouping import GroupingConfig, Groups, group


def same(ours: Groups, wanted: Groups, name: str = "") -> None:
    assert ours.keypoints.shape == wanted.keypoints.shape, name
    np.testing.assert_allclose(ours.keypoints, wanted.keypoints, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(ours.tags, wanted.tags, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(ours.scores, wanted.scores, atol=1e-6, err_msg=name)


def crowd(images: int, dimensions: int = 2, seed: int = 0) -> tuple[Floats, Floats]:
    """(B, 17, 24, 32) and (B, 17, T, 24, 32) of blurred noise: peaks and tags everywhere."""
    random = torch.Generator().manual_seed(seed)
    heat = torch.rand((images, K, 24, 32), generator=random) ** 3
    tags = torch.randn((images, K * dimensions, 24, 32), generator=random) * 6
    blur = torch.nn.functional.avg_pool2d
    return blur(heat, 3, 1, 1).numpy(), blur(tags, 5, 1, 2).view(images, K, dimensions, 24, 32).numpy()


def on_device(heat: Floats, tags: Floats, config: GroupingConfig | None = None, **more: Any) -> list[Groups]:
    return group_on_device(torch.from_numpy(heat), torch.from_numpy(tags), config, **more)


CONFIGS = [
    GroupingConfig(),
    GroupingConfig(detection_threshold=0.2, tag_threshold=0.5, nms_kernel=3),
    GroupingConfig(refine=False, max_people=4),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_batch_gives_the_people_of_its_images(config: GroupingConfig) -> None:
    heat, tags = crowd(3)
    with ThreadPoolExecutor(2) as pool:
        found = on_device(heat, tags, config, pool=pool)
    for i, groups in enumerate(found):
        assert len(groups.scores) > 3
        same(groups, group(heat[i], np.moveaxis(tags[i], 1, -1), config))


def test_reference_scenes_hold_the_same_people(golden: Path) -> None:
    for case in json.loads((golden / "grouping" / "index.json").read_text()):
        vectors = np.load(golden / case["file"])
        heat, tags = vectors["det"].astype(np.float32), vectors["tag"].astype(np.float32)
        (found,) = on_device(heat[None], np.ascontiguousarray(np.moveaxis(tags, -1, 1))[None])
        same(found, group(heat, tags), case["file"])


def test_bad_maps_hold_nobody_and_spoil_no_other() -> None:
    heat, tags = crowd(7, dimensions=1)
    wanted = group(heat[0], np.moveaxis(tags[0], 1, -1))
    heat[1], heat[2], heat[3, 2, 5, 5], tags[4, 0, 0, 0, 0] = 0.9, 0.0, np.nan, np.inf
    heat[5] = np.where(np.arange(32) < 12, 0.7, 0.0)
    heat[6, 3] = 0.9
    found = on_device(heat, tags)
    same(found[0], wanted)
    assert [len(groups.scores) for groups in found[1:6]] == [0] * 5
    same(found[6], group(heat[6], np.moveaxis(tags[6], 1, -1)))


def test_small_plateaus_are_one_peak() -> None:
    heat, tags = np.zeros((1, K, 32, 32), np.float32), np.zeros((1, K, 1, 32, 32), np.float32)
    heat[0, 0, 4:6, 4:7] = 0.5
    heat[0, 0, 0, 31] = 0.5
    heat[0, 1, [20, 21, 20], [4, 5, 6]] = 0.5  # a V
    tags[0, 0, 0, :, 20:] = 9
    tags[0, 1, 0, 20:, 6] = 50
    (found,) = on_device(heat, tags)
    assert len(found.scores) == 2
    same(found, group(heat[0], np.moveaxis(tags[0], 1, -1)))


@pytest.mark.parametrize(
    ("heat", "tags"),
    [((2, K, 8, 8), (2, K, 8, 8)), ((2, K - 1, 8, 8), (2, K - 1, 1, 8, 8)), ((2, K, 8, 8), (1, K, 1, 8, 8))],
)
def test_maps_that_do_not_fit_are_refused(heat: tuple[int, ...], tags: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="grouping needs"):
        group_on_device(torch.zeros(heat), torch.zeros(tags))


def test_no_images_hold_nobody() -> None:
    assert group_on_device(torch.zeros(0, K, 8, 8), torch.zeros(0, K, 1, 8, 8)) == []
