"""Figures: bones keep their length, left is left, and heads hide what is behind them."""

import math

import numpy as np
import pytest

from lhrnet.coco import K
from pipeline.scenes.figure import HEAD, N_POINTS, POSES, Figure, pose_figure

BONES = {(5, 7): 0.165, (7, 9): 0.145, (11, 13): 0.24, (13, 15): 0.235}


@pytest.fixture(scope="module")
def figures() -> list[Figure]:
    rng = np.random.default_rng(0)
    return [pose_figure(rng, variety=1.5) for _ in range(600)]


def test_bones_keep_their_length_in_every_pose(figures: list[Figure]) -> None:
    for figure in figures:
        assert figure.points.shape == (N_POINTS, 3)
        for (a, b), length in BONES.items():
            for side in (0, 1):
                bone = figure.points[a + side] - figure.points[b + side]
                assert math.hypot(*bone) == pytest.approx(length, rel=1e-6)


def test_the_persons_left_is_at_the_right_of_the_picture_when_facing_us(figures: list[Figure]) -> None:
    towards = [f for f in figures if f.facing > 0.9]
    away = [f for f in figures if f.facing < -0.9]
    assert min(len(towards), len(away)) > 20
    for figure in towards:
        assert figure.points[1, 0] > figure.points[2, 0]
    for figure in away:
        assert figure.points[1, 0] < figure.points[2, 0]


def test_faces_are_seen_from_the_front_and_not_from_behind(figures: list[Figure]) -> None:
    for figure in figures:
        hidden = figure.unseen()
        assert hidden.shape == (K,)
        assert not hidden[5:].any()
        if figure.facing > 0.9:
            assert not hidden[:3].any()
        if figure.facing < -0.5:
            assert hidden[:3].all()


def test_in_profile_one_ear_is_hidden(figures: list[Figure]) -> None:
    profiles = [f for f in figures if abs(f.facing) < 0.25]
    assert len(profiles) > 10
    assert all(f.unseen()[3:5].sum() == 1 for f in profiles)


def test_heads_are_above_shoulders_and_lean_with_the_body(figures: list[Figure]) -> None:
    for figure in figures:
        assert figure.points[HEAD, 1] < min(figure.points[5, 1], figure.points[6, 1])


def test_without_variety_only_pose_build_and_view_differ() -> None:
    poses = {pose_figure(np.random.default_rng(i), variety=0.0).points[:, 1].round(2).tobytes() for i in range(40)}
    assert len(poses) > len(POSES), "views alone make more pictures than poses"


def test_variety_moves_limbs() -> None:
    calm, wild = (pose_figure(np.random.default_rng(3), variety=v).points[:K] for v in (0.0, 2.0))
    assert np.abs(calm - wild).max() > 0.05
