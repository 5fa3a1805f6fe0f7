"""What maps between image, input and maps promise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lhrnet import geometry


@pytest.fixture(scope="module")
def vectors(golden: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads((golden / "targets.json").read_text())
    return found


def test_affine_equals_the_reference_matrices(vectors: dict[str, list[dict[str, Any]]]) -> None:
    assert len(vectors["affine"]) == 24
    for case in vectors["affine"]:
        matrix = geometry.affine(
            tuple(case["center"]), case["res"] / (200 * case["scale"]), (case["res"], case["res"]), case["rot"]
        )
        np.testing.assert_allclose(matrix, np.array(case["matrix"])[:2], atol=1e-9)


def test_input_sizes_and_their_maps_equal_the_reference(vectors: dict[str, list[dict[str, Any]]]) -> None:
    even = 0
    for case in vectors["inference_size"]:
        scales = {"scale": case["current_scale"], "min_scale": case["min_scale"]}
        size = geometry.input_size(case["w"], case["h"], case["input_size"], **scales)
        assert list(size) == case["size_resized"]
        matrix = geometry.fit(case["w"], case["h"], size)
        if case["center"] == [case["w"] / 2, case["h"] / 2]:
            np.testing.assert_allclose(matrix, case["trans"], atol=1e-4)
            np.testing.assert_allclose(geometry.inverse(matrix), case["inv"], atol=1e-4)
            even += 1
    assert even >= 48


def test_the_input_is_rounded_up_to_64() -> None:
    assert geometry.input_size(640, 480, 480) == (704, 512)
    assert geometry.input_size(480, 640, 128) == (128, 192)
    assert geometry.input_size(640, 480, 448, scale=0.5, min_scale=0.5) == (384, 256)
    assert geometry.input_size(640, 480, 448, scale=2, min_scale=0.5) == (1536, 1024)


def test_a_very_long_image_still_fits_as_a_whole() -> None:
    size = geometry.input_size(3000, 1, 128)
    assert size == (1024, 128)
    corners = geometry.apply(geometry.fit(3000, 1, size), [[0, 0], [3000, 1]])
    np.testing.assert_allclose(corners.mean(axis=0), [512, 64])
    np.testing.assert_allclose(corners[:, 0], [0, 1024], atol=1e-9)
    assert geometry.input_size(100, 800, 64) == (64, 512)
    assert geometry.input_size(100, 801, 64) == (64, 512)


def test_an_image_without_area_is_refused() -> None:
    with pytest.raises(ValueError, match="0x480"):
        geometry.input_size(0, 480, 448)


def test_inverse_brings_points_back_and_refuses_a_flat_map() -> None:
    matrix = geometry.affine((31.5, 80.0), 0.7, (128, 192), 25)
    points = np.random.default_rng(0).uniform(-50, 300, (7, 3, 2))
    np.testing.assert_allclose(geometry.apply(geometry.inverse(matrix), geometry.apply(matrix, points)), points)
    np.testing.assert_allclose(geometry.compose(matrix, geometry.inverse(matrix)), np.eye(3)[:2], atol=1e-9)
    with pytest.raises(ValueError, match="cannot be undone"):
        geometry.inverse(np.zeros((2, 3)))


@pytest.mark.parametrize("scale", [0.25, 0.5, 0.83, 1.0, 3.0])
def test_warp_keeps_a_linear_ramp_at_its_coordinates(scale: float) -> None:
    """A ramp holds its own coordinate, x at pixel centre i + 0.5: the output must hold what the map back says."""
    height, width = 300, 400
    ramp = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).astype(np.float32)
    matrix = geometry.affine((213.3, 140.7), scale, (64, 48), 0.0)
    found = geometry.warp(ramp, matrix, (64, 48))
    centres = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(48) + 0.5), axis=-1)
    wanted = geometry.apply(geometry.inverse(matrix), centres)
    inside = ((wanted > 3) & (wanted < (width - 3, height - 3))).all(axis=-1)
    assert inside.sum() > 500
    np.testing.assert_allclose(found[inside], wanted[inside], atol=0.02)  # OpenCV counts in 32nds of a pixel


@pytest.mark.parametrize(("width", "height"), [(640, 427), (361, 640), (53, 50), (1500, 1111)])
def test_warping_a_mirrored_image_mirrors_the_result(width: int, height: int) -> None:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    size = geometry.input_size(width, height, 256)
    matrix = geometry.fit(width, height, size)
    plain = geometry.warp(image, matrix, size)
    mirrored = geometry.warp(np.ascontiguousarray(image[:, ::-1]), matrix, size)[:, ::-1]
    assert np.abs(plain.astype(int) - mirrored).max() <= 1, "only rounding to bytes may differ"
    assert (plain != mirrored).mean() < 0.01
    both = geometry.compose(matrix, geometry.mirror(width))
    np.testing.assert_allclose(both, geometry.compose(geometry.mirror(size[0]), matrix), atol=1e-9)


def test_warp_averages_before_it_shrinks() -> None:
    """A checkerboard of single pixels becomes grey, not a moiré of black and white."""
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    matrix = geometry.fit(512, 512, (64, 64))
    assert np.ptp(geometry.warp(board, matrix, (64, 64)).astype(int)) <= 2
    assert set(np.unique(geometry.warp(board, matrix, (64, 64), interpolation=0))) <= {0, 255}
