"""Places and clutter: pictures of the asked size that stay pictures."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.scenes.backgrounds import SCENERY, paint_background, paint_clutter


@pytest.mark.parametrize("scenery", SCENERY, ids=lambda scenery: scenery.__name__.strip("_"))
@pytest.mark.parametrize(("h", "w"), [(96, 128), (384, 288), (400, 400)])
def test_every_place_fills_its_picture(
    scenery: Callable[[np.random.Generator, int, int], NDArray[np.uint8]], h: int, w: int
) -> None:
    for seed in range(8):
        image = scenery(np.random.default_rng(seed), h, w)
        assert image.shape == (h, w, 3)
        assert image.dtype == np.uint8
        assert image.std() > 1


def test_places_take_turns() -> None:
    pictures = [paint_background(np.random.default_rng(seed), 96, 96) for seed in range(12)]
    assert len({picture.tobytes() for picture in pictures}) == 12


def test_clutter_changes_a_picture_and_none_changes_nothing() -> None:
    image = np.full((128, 128, 3), 100, np.uint8)
    paint_clutter(np.random.default_rng(0), image, 0)
    assert (image == 100).all()
    paint_clutter(np.random.default_rng(0), image, 12)
    assert (image != 100).any()
