"""Drawn hands: bones keep their length, what lies behind the palm is hidden, and no keypoint has a partner."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from lhrnet.skeleton import SKELETONS
from pipeline.scenes import hand
from pipeline.scenes.canvas import PARTS, Canvas
from pipeline.scenes.drawing import draw_scene
from pipeline.scenes.hand import FINGERS, GESTURES, HandFigure, pose_hand
from pipeline.scenes.hands import PALM, Hands, bone
from pipeline.scenes.scene_config import SceneConfig
from pipeline.scenes.subject import Manner

TIPS = [4 * (f + 1) for f in range(FINGERS)]


def visible(seed: int, contrast: float = 1.0) -> tuple[HandFigure, Canvas, NDArray[np.bool_], NDArray[np.float64]]:
    """A hand alone on a large canvas, and which of its points show."""
    canvas = Canvas(np.full((400, 400, 3), 128, np.uint8))
    manner = Manner(variety=0.0, sides=contrast)
    drawn = Hands().paint(
        np.random.default_rng(seed), canvas, height=100.0, middle=np.array([100.0, 100.0]), number=2, manner=manner
    )
    assert not drawn.unlabelled.any()
    assert set(np.unique(canvas.labels)) <= {0, *range(3 * PARTS + 1, 4 * PARTS)}
    labels = [int(canvas.labels[int(y * 2), int(x * 2)]) - 3 * PARTS for x, y in drawn.points]
    shown = np.array([label in parts for label, parts in zip(labels, Hands.shown_by, strict=True)])
    return pose_hand(np.random.default_rng(seed), variety=0.0), canvas, shown, drawn.points


def only(monkeypatch: pytest.MonkeyPatch, gesture: str) -> None:
    monkeypatch.setattr(hand, "_KINDS", (GESTURES[gesture][1:],) * len(GESTURES))


def test_bones_keep_their_length_in_every_gesture() -> None:
    rng = np.random.default_rng(0)
    figures = [pose_hand(rng, variety=1.5) for _ in range(200)]
    lengths = np.array([[math.dist(f.points[a], f.points[b]) for a, b in SKELETONS["hand"].limbs] for f in figures])
    assert lengths == pytest.approx(np.broadcast_to(lengths[0], lengths.shape), rel=1e-6)
    assert lengths[0].max() < 0.6


def test_hands_are_left_and_right_and_show_palm_and_back() -> None:
    rng = np.random.default_rng(1)
    kinds = set()
    for _ in range(60):
        figure = pose_hand(rng, variety=0.0)
        if abs(figure.facing) > 0.8:
            thumb_right = bool(figure.points[1, 0] > figure.points[17, 0])
            kinds.add((thumb_right, figure.facing > 0))
    assert kinds == {(a, b) for a in (True, False) for b in (True, False)}
    assert SKELETONS["hand"].flip == tuple(range(21)), "a mirrored left hand is a right hand, finger by finger"


def test_every_point_of_an_open_hand_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "open")
    shown = np.array([visible(seed)[2] for seed in range(30)])
    assert shown.mean() > 0.95


def test_bent_fingers_are_hidden_behind_the_back_of_the_hand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "fist")
    palms: list[float] = []
    backs: list[float] = []
    for seed in range(60):
        figure, _, shown, _ = visible(seed)
        if abs(figure.facing) > 0.9:
            (palms if figure.facing > 0 else backs).append(float(shown[TIPS[1:]].mean()))
    assert min(len(palms), len(backs)) > 8
    assert np.mean(palms) > 0.75
    assert np.mean(backs) < 0.1


def test_the_thumb_is_lighter_than_the_little_finger_in_contrast_only(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, "open")
    for contrast in (1.0, 0.0):
        _, canvas, shown, points = visible(4, contrast)
        assert shown[[3, 19]].all()
        thumb, little = (float(canvas.image[int(y * 2), int(x * 2)].mean()) for x, y in points[[3, 19]])
        if contrast:
            assert thumb > little + 50
        else:
            assert thumb == pytest.approx(little, abs=25)


def test_each_point_is_shown_by_the_bones_it_joins() -> None:
    assert Hands.shown_by[0] == (PALM,)
    assert Hands.shown_by[5] == (bone(1, 0), PALM)
    assert Hands.shown_by[6] == (bone(1, 0), bone(1, 1))
    assert Hands.shown_by[20] == (bone(4, 2),)
    assert bone(4, 2) < PARTS


def test_scenes_of_hands_hold_several_with_points_seen_hidden_and_missing() -> None:
    scenes = [draw_scene((9, i), SceneConfig(), "hand")[1] for i in range(40)]
    hands = [[a for a in annotations if a["num_keypoints"]] for annotations in scenes]
    assert {len(found) for found in hands} >= {1, 2, 3}
    flags = np.array([a["keypoints"][2::3] for found in hands for a in found])
    shares = [(flags == v).mean() for v in (0, 1, 2)]
    assert shares[2] > 0.6
    assert min(shares[:2]) > 0.03
    for annotation in (a for found in hands for a in found):
        x, y, b, c = annotation["bbox"]
        points = np.reshape(annotation["keypoints"], (-1, 3))
        seen = points[points[:, 2] == 2]
        assert ((seen[:, :2] >= (x - 0.51, y - 0.51)) & (seen[:, :2] <= (x + b + 0.51, y + c + 0.51))).all()
