"""The camera's part: grain, light and blur leave a picture a picture."""

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.scenes.camera import finish, light_up, smear


def test_the_camera_keeps_size_and_scene_and_adds_grain() -> None:
    image = np.full((90, 120, 3), 120, np.uint8)
    image[:, 60:] = 200
    for seed in range(10):
        seen = finish(np.random.default_rng(seed), image)
        assert seen.shape == image.shape
        assert seen.dtype == np.uint8
        assert np.abs(np.diff(seen[:, :50].astype(int), axis=0)).mean() > 0.8
        assert seen[:, 70:].mean() > seen[:, :50].mean() + 30


def square() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    image, mask = np.full((80, 80, 3), 40, np.uint8), np.zeros((80, 80), np.uint8)
    mask[30:50, 30:50] = 1
    image[mask > 0] = 220
    return image, mask


def test_who_moves_is_smeared_over_the_surroundings_and_nothing_else_changes() -> None:
    for seed in range(10):
        image, mask = square()
        smear(np.random.default_rng(seed), image, mask, 11.0)
        assert (image[:20] == 40).all()
        assert (image[38:42, 38:42] == 220).all()
        changed = (image[..., 0] != 40) & (mask == 0)
        assert 20 < changed.sum() < 500
        assert (image >= 40).all(), "no shadow about it"
        assert (image <= 220).all(), "no glare either"


def test_who_hardly_moves_or_is_not_there_stays_sharp() -> None:
    image, mask = square()
    smear(np.random.default_rng(0), image, mask, 1.9)
    smear(np.random.default_rng(0), image, np.zeros_like(mask), 11.0)
    assert np.array_equal(image, square()[0])


def test_a_moving_camera_blurs_the_whole_picture_to_its_borders() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 60, 3), np.uint8)
    seen = image.copy()
    smear(np.random.default_rng(1), seen, np.ones((60, 60), np.uint8), 9.0)
    assert seen.std() < 0.6 * image.std()
    assert seen.mean() == pytest.approx(image.mean(), abs=4)
    assert seen[:3].mean() == pytest.approx(image.mean(), abs=25), "no dark border"


def test_lights_differ_and_leave_something_to_see() -> None:
    image, _ = square()
    seen = [light_up(np.random.default_rng(seed), image, 1.0) for seed in range(30)]
    assert {picture.shape for picture in seen} == {image.shape}
    means = [float(picture.mean()) for picture in seen]
    assert min(means) < 0.75 * image.mean()
    assert max(means) > 1.5 * image.mean()
    assert min(np.ptp(picture.astype(float)) for picture in seen) > 25
    faint = [light_up(np.random.default_rng(seed), image, 0.05).mean() for seed in range(30)]
    assert np.std(faint) < 0.5 * np.std(means), "strength is how strange the light is"
