"""What moving between pixels and filling in promise."""

import numpy as np
import pytest

from lhrnet.decoder.enlarged import Enlarged, Floats
from lhrnet.decoder.refinement import best_for_tags, between_pixels


def best(heat: Floats, tags_hwT: Floats, means_PT: Floats) -> list[int]:
    """In one keypoint's maps of the size at which they are read."""
    tags = np.ascontiguousarray(np.moveaxis(tags_hwT, -1, 0))
    found = best_for_tags(Enlarged(heat[None]), Enlarged(tags), np.zeros(len(means_PT), int), means_PT)
    return [int(index) for index in found]


def everywhere(heat: Floats, tags: Floats, mean: Floats) -> int:
    """The plain form: every pixel, one person."""
    distance = ((tags - mean) ** 2).sum(axis=2) ** 0.5
    return int((heat - np.round(distance)).argmax())


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("background", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("spread", [0.3, 2.0, 8.0])
def test_the_short_way_finds_what_looking_everywhere_finds(dimensions: int, background: float, spread: float) -> None:
    random = np.random.default_rng(int(100 * background + 10 * spread) + dimensions)
    heat = (background * random.standard_normal((31, 45))).astype(np.float32)
    heat[random.integers(0, 31, 40), random.integers(0, 45, 40)] = random.uniform(0, 1, 40)
    tags = (spread * random.standard_normal((31, 45, dimensions))).astype(np.float32)
    means = (spread * random.standard_normal((25, dimensions))).astype(np.float32)
    wanted = [everywhere(heat, tags, mean) for mean in means]
    assert best(heat, tags, means) == wanted


def test_a_map_without_anything_high_still_has_an_answer() -> None:
    heat, tags = np.full((8, 8), -0.5, np.float32), np.zeros((8, 8, 1), np.float32)
    assert best(heat, tags, np.zeros((2, 1), np.float32)) == [0, 0]


def bump(x: float, y: float, sigma: float = 2.0, size: tuple[int, int] = (24, 32)) -> Floats:
    ys, xs = np.mgrid[: size[0], : size[1]] + 0.5
    return np.asarray(np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / (2 * sigma**2)), dtype=np.float32)[None]


def test_it_comes_nearer_than_the_pixel_s_centre() -> None:
    for x, y in np.random.default_rng(0).uniform(8, 16, (50, 2)):
        heat = bump(x, y)
        (found,) = between_pixels(Enlarged(heat), np.array([0]), np.array([heat.argmax()]))
        assert np.abs(found - (x, y)).max() <= 0.25 + 1e-3


@pytest.mark.parametrize("x", [7.5, 8.2, 0.5, 31.5])
def test_a_mirrored_map_moves_the_mirrored_way(x: float) -> None:
    heat = bump(x, 11.1)
    (found,) = between_pixels(Enlarged(heat), np.array([0]), np.array([heat.argmax()]))
    mirrored = np.ascontiguousarray(heat[..., ::-1])
    (back,) = between_pixels(Enlarged(mirrored), np.array([0]), np.array([mirrored.argmax()]))
    assert back[0] == pytest.approx(32 - found[0], abs=1e-4)
    assert back[1] == found[1]


def test_between_equal_neighbours_it_is_the_centre() -> None:
    heat = bump(8.5, 11.5)
    assert between_pixels(Enlarged(heat), np.array([0]), np.array([heat.argmax()])).tolist() == [[8.5, 11.5]]
