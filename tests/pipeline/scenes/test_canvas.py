"""The canvas: corner coordinates, and a label map that follows the colours."""

import numpy as np
import pytest

from pipeline.scenes.canvas import Canvas, tint

WHITE = (255.0, 255.0, 255.0)


@pytest.fixture
def canvas() -> Canvas:
    return Canvas(np.zeros((80, 80, 3), np.uint8))


def test_canvas_coordinates_are_corner_coordinates(canvas: Canvas) -> None:
    canvas.ellipse(np.array([10.0, 14.0]), (4.0, 4.0), 0.0, WHITE, 1)
    ys, xs = np.nonzero(canvas.labels)
    assert (xs + 0.5).mean() / 2 == pytest.approx(10.0, abs=0.05)
    assert (ys + 0.5).mean() / 2 == pytest.approx(14.0, abs=0.05)
    assert canvas.labels.sum() / 4 == pytest.approx(np.pi * 16, rel=0.1)


def test_a_capsule_reaches_its_ends_radii_further(canvas: Canvas) -> None:
    canvas.capsule(np.array([10.0, 20.0]), np.array([30.0, 20.0]), 5.0, 3.0, WHITE, 1)
    _, xs = np.nonzero(canvas.labels)
    assert xs.min() / 2 == pytest.approx(5.0, abs=0.6)
    assert (xs.max() + 1) / 2 == pytest.approx(33.0, abs=0.6)
    height_near, height_far = (np.count_nonzero(canvas.labels[:, x]) / 2 for x in (20, 60))
    assert height_near == pytest.approx(10.0, abs=1.1)
    assert height_far == pytest.approx(6.0, abs=1.1)


def test_an_ellipse_turns_clockwise(canvas: Canvas) -> None:
    canvas.ellipse(np.array([20.0, 20.0]), (3.0, 12.0), np.pi / 4, WHITE, 1)
    assert canvas.labels[2 * 13, 2 * 27], "the upper end must lean to the right"
    assert not canvas.labels[2 * 13, 2 * 13]


def test_labels_follow_the_colours_unless_left_alone(canvas: Canvas) -> None:
    square = np.array([(5.0, 5.0), (15.0, 5.0), (15.0, 15.0), (5.0, 15.0)])
    canvas.polygon(square, WHITE, 9)
    canvas.polygon(square, (1.0, 2.0, 3.0), None)
    assert canvas.labels[20, 20] == 9
    assert tuple(canvas.image[20, 20]) == (1, 2, 3)
    canvas.polygon(square, WHITE, 0)
    assert not canvas.labels.any()


def test_a_shadow_darkens_the_ground_and_labels_nothing(canvas: Canvas) -> None:
    canvas.image[:] = 200
    canvas.shadow(np.array([20.0, 30.0]), 8.0)
    assert canvas.image[60, 40].max() < 140
    assert (canvas.image[60, :20] == 200).all()
    assert not canvas.labels.any()
    before = canvas.image.copy()
    canvas.shadow(np.array([-50.0, 30.0]), 8.0)
    assert np.array_equal(canvas.image, before), "outside the picture there is nothing to darken"


def test_tints_stay_colours() -> None:
    assert tint((10.0, 100.0, 250.0), 2.0, 20.0) == (40.0, 220.0, 255.0)
    assert tint((10.0, 100.0, 250.0), 1.0, -20.0) == (0.0, 80.0, 230.0)
