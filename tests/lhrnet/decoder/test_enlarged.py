"""Reading small maps as if they were enlarged gives what enlarging them gives, to the last bit."""

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lhrnet.coco import K
from lhrnet.decoder.enlarged import BLOCK, FACTORS, MARGIN, Enlarged, Floats
from lhrnet.decoder.grouping import GroupingConfig, group
from tests.reference.parser import WITHOUT_QUIRKS


def bilinear(maps: NDArray[Any], size: tuple[int, int]) -> Floats:
    """torch's enlarging in double precision, rounded once."""
    maps_BNhw = torch.from_numpy(np.ascontiguousarray(maps)).double().flatten(0, -3)[None]
    large = torch.nn.functional.interpolate(maps_BNhw, size=size, mode="bilinear", align_corners=False)
    return large[0].float().view(*maps.shape[:-2], *size).numpy()


def noise(seed: int, *shape: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("factor", FACTORS)
def test_pixels_are_those_of_the_enlarged_map(factor: int) -> None:
    small = noise(factor, 3, 7, 10)
    maps = Enlarged(small, factor)
    wanted = bilinear(small, (7 * factor, 10 * factor))
    assert maps.shape == wanted.shape
    np.testing.assert_array_equal(maps.at(*np.indices(wanted.shape)), wanted)
    for number in range(3):
        np.testing.assert_array_equal(maps.whole(number), wanted[number])
    around = np.array(maps.around(np.arange(small.size))).reshape(factor + 2, factor + 2, 3, 7, 10)
    framed = np.pad(wanted, ((0, 0), (1, 1), (1, 1)), mode="edge")
    for i in range(factor + 2):
        for j in range(factor + 2):
            seen = framed[:, i : i + 7 * factor : factor, j : j + 10 * factor : factor]
            np.testing.assert_array_equal(around[i, j], seen[:, :7, :10])


@pytest.mark.parametrize("factor", FACTORS)
def test_no_pixel_is_beyond_the_bounds_of_its_block(factor: int) -> None:
    small = noise(5 + factor, 4, 9, 13)
    small[3] = np.round(small[3])
    maps = Enlarged(small, factor)
    large = bilinear(small, maps.shape[1:])
    high, low = maps.highest_of_blocks(np.arange(4)), maps.lowest_of_blocks(np.arange(4))
    ys, xs = np.indices(maps.shape[1:])
    block = ((ys + MARGIN) // BLOCK, (xs + MARGIN) // BLOCK)
    assert (large <= high[:, *block]).all()
    assert (large >= low[:, *block]).all()
    assert high.shape[1:] == (block[0].max() + 1, block[1].max() + 1)


def kinds_of_maps() -> dict[str, tuple[Floats, Floats]]:
    """Heatmaps (17, h, w) and tags (17, T, h, w) of the same size."""
    flat, tags = np.zeros((K, 16, 24), np.float32), noise(1, K, 1, 16, 24)
    blurred = bilinear(noise(2, K, 8, 12), (16, 24))
    spots = np.where(blurred > 0.9, blurred, 0).astype(np.float32)
    lonely = flat.copy()
    lonely[0, 3, 4] = lonely[5, 15, 23] = 1
    return {
        "noise": (0.3 * noise(3, K, 16, 24), 3 * noise(4, K, 2, 16, 24)),
        "smooth": (blurred, np.round(3 * bilinear(noise(5, K, 1, 4, 6), (16, 24)))),
        "spots on nothing": (spots, np.round(tags)),
        "equal heights": (np.round(blurred, 1), np.round(tags)),
        "one of a kind": (lonely, tags),
        "below zero": (np.minimum(blurred, 0) + lonely, np.round(3 * tags)),
        "nothing": (flat, tags),
        "flat": (flat + np.float32(0.9), tags),
        "hidden in noise": (lonely + 0.02 * noise(6, K, 16, 24), 0.3 * noise(7, K, 2, 16, 24)),
    }


@pytest.mark.parametrize("name", kinds_of_maps())
@pytest.mark.parametrize(("heat_times", "tag_times"), [(1, 4), (2, 2), (2, 4), (4, 4)])
def test_people_are_those_of_the_enlarged_maps(name: str, heat_times: int, tag_times: int) -> None:
    heat, tags = kinds_of_maps()[name]
    size = (heat.shape[1] * heat_times, heat.shape[2] * heat_times)
    step = tag_times // heat_times
    tags = tags[:, :, ::step, ::step]
    large_heat, large_tags = bilinear(heat, size), np.moveaxis(bilinear(tags, size), 1, -1)
    for config in (GroupingConfig(), GroupingConfig(nms_kernel=3, max_people=4, detection_threshold=0.3)):
        found = group(heat, np.moveaxis(tags, 1, -1), config, size=size)
        plain = dataclasses.replace(WITHOUT_QUIRKS, **dataclasses.asdict(config))(large_heat, large_tags)
        np.testing.assert_array_equal(found.keypoints, plain.keypoints)
        np.testing.assert_array_equal(found.scores, plain.scores)
        np.testing.assert_allclose(found.tags, plain.tags, atol=1e-5)
    if name not in ("nothing", "flat"):
        assert len(found.scores) > 0


def test_a_size_that_is_no_multiple_of_the_maps_is_refused() -> None:
    heat, tags = np.zeros((K, 8, 8)), np.zeros((K, 4, 4, 1))
    with pytest.raises(ValueError, match=r"\(16, 17\) pixels must be 1 or 2 or 4 times"):
        group(heat, tags, size=(16, 17))
    with pytest.raises(ValueError, match="grouping needs"):
        group(heat, tags[:, :3])
