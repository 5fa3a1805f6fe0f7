"""Painted people: the label map says which part of whom every pixel shows."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lhrnet.coco import FLIP_INDEX, K
from pipeline.scenes.canvas import PARTS, Canvas
from pipeline.scenes.casting import subject_of
from pipeline.scenes.figure import Figure, pose_figure
from pipeline.scenes.look import HAIR_STYLES, Look, choose_look
from pipeline.scenes.painter import paint_person

SHOWN_BY = subject_of("coco").shown_by


def painted(
    figure: Figure, look: Look, person: int = 0, canvas: Canvas | None = None, contrast: float = 1.0
) -> tuple[Canvas, NDArray[np.float64]]:
    canvas = canvas or Canvas(np.full((400, 400, 3), 128, np.uint8))
    hips = np.array([100.0, 105.0])
    return canvas, paint_person(canvas, figure, look, height=160.0, hips=hips, person=person, contrast=contrast)


def standing(seed: int = 0) -> tuple[Figure, Look]:
    rng = np.random.default_rng(seed)
    figure = pose_figure(rng, variety=0.0)
    while figure.facing < 0.9:
        figure = pose_figure(rng, variety=0.0)
    return figure, choose_look(rng)


def label(canvas: Canvas, point: NDArray[np.float64]) -> int:
    return int(canvas.labels[int(point[1] * 2), int(point[0] * 2)])


def test_most_keypoints_show_parts_they_belong_to() -> None:
    shown = []
    for seed in range(20):
        canvas, joints = painted(*standing(seed))
        shown += [label(canvas, joints[k]) - PARTS in SHOWN_BY[k] for k in range(K)]
    assert np.mean(shown) > 0.85


def test_whoever_is_painted_last_hides_the_others() -> None:
    figure, look = standing()
    canvas, _ = painted(figure, look, person=0)
    alone = np.count_nonzero(canvas.labels)
    painted(figure, look, person=3, canvas=canvas)
    assert np.count_nonzero(canvas.labels) == alone
    assert {int(v) // PARTS for v in np.unique(canvas.labels)} == {0, 4}


def test_near_parts_hide_far_ones() -> None:
    rng = np.random.default_rng(0)
    near_shown, far_shown = [], []
    for _ in range(600):
        figure = pose_figure(rng, variety=0.0)
        depth = figure.points[:, 2]
        if abs(depth[5] - depth[6]) < 0.2:
            continue
        canvas, joints = painted(figure, choose_look(rng))
        near, far = (5, 6) if depth[5] < depth[6] else (6, 5)
        near_shown.append(label(canvas, joints[near]) - PARTS in SHOWN_BY[near])
        far_shown.append(label(canvas, joints[far]) - PARTS in SHOWN_BY[far])
    assert len(near_shown) > 10
    assert np.mean(near_shown) > 0.8
    assert np.mean(near_shown) > np.mean(far_shown) + 0.35


def test_the_left_is_lighter_than_the_right_in_contrast_only() -> None:
    figure, look = standing(1)
    for contrast, gap in ((1.0, 40), (0.0, None)):
        canvas, joints = painted(figure, look, contrast=contrast)
        values = [float(canvas.image[int(y * 2), int(x * 2)].mean()) for x, y in joints[[15, 16]]]
        if gap:
            assert values[0] - values[1] > gap
        else:
            assert values[0] == pytest.approx(values[1], abs=2)


def test_a_mirrored_figure_is_painted_mirrored() -> None:
    figure, look = standing(2)
    points = figure.points * (-1.0, 1.0, 1.0)
    swapped = points[[*FLIP_INDEX, 17, 18, 20, 19, 22, 21, 23]]
    mirrored = Figure(points=swapped, facing=figure.facing, head_scale=figure.head_scale, girth=figure.girth)
    (canvas, joints), (other, their) = painted(figure, look), painted(mirrored, look)
    assert their[:, 0] == pytest.approx(200.0 - joints[[*FLIP_INDEX, 17, 18, 20, 19, 22, 21, 23], 0])
    ours, theirs = canvas.labels > 0, other.labels[:, ::-1] > 0
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.95


def test_every_look_can_be_painted() -> None:
    rng = np.random.default_rng(0)
    looks = [choose_look(rng) for _ in range(60)]
    assert {look.hair_style for look in looks} == set(range(HAIR_STYLES))
    for look in looks:
        for colour in (look.skin, look.hair, look.shirt, look.trousers, look.shoes):
            assert all(0 <= c <= 255 for c in colour)
        canvas, _ = painted(pose_figure(rng), look)
        assert np.count_nonzero(canvas.labels) > 2000
