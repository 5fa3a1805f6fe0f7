"""One drawn scene: its annotations say what its pixels show."""

from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from lhrnet.coco import K
from pipeline.scenes.drawing import draw_scene
from pipeline.scenes.scene_config import SceneConfig

SCENES = 60
Scenes = list[tuple[NDArray[np.uint8], list[dict[str, Any]]]]


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return [draw_scene((5, i)) for i in range(SCENES)]


def keypoints(annotation: dict[str, Any]) -> NDArray[np.float64]:
    return np.array(annotation["keypoints"], float).reshape(K, 3)


def labelled(annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [a for a in annotations if a["num_keypoints"] > 0]


def test_same_seed_same_scene_other_seed_another() -> None:
    image, annotations = draw_scene((3, 1))
    again, same = draw_scene((3, 1))
    other, _ = draw_scene((3, 2))
    assert np.array_equal(image, again)
    assert annotations == same
    assert image.shape != other.shape or not np.array_equal(image, other)


def test_images_are_portrait_landscape_and_square_with_the_asked_long_side(scenes: Scenes) -> None:
    shapes = {image.shape[:2] for image, _ in scenes}
    assert all(image.dtype == np.uint8 and image.shape[2] == 3 for image, _ in scenes)
    assert {max(shape) for shape in shapes} == {192}
    assert {int(np.sign(h - w)) for h, w in shapes} == {-1, 0, 1}


def test_keypoints_lie_in_the_image_or_are_zero(scenes: Scenes) -> None:
    for image, annotations in scenes:
        h, w = image.shape[:2]
        for annotation in annotations:
            x, y, v = keypoints(annotation).T
            assert set(v) <= {0, 1, 2}
            assert (x[v == 0] == 0).all()
            assert (y[v == 0] == 0).all()
            assert ((x >= 0) & (x < w) & (y >= 0) & (y < h)).all()
            assert annotation["num_keypoints"] == (v > 0).sum()


def test_visible_hidden_and_missing_keypoints_all_occur(scenes: Scenes) -> None:
    flags = np.concatenate([keypoints(a)[:, 2] for _, annotations in scenes for a in labelled(annotations)])
    shares = [(flags == v).mean() for v in (0, 1, 2)]
    assert shares[2] > 0.6
    assert min(shares[:2]) > 0.03


def test_faces_turned_away_are_not_labelled(scenes: Scenes) -> None:
    people = [keypoints(a)[:, 2] for _, annotations in scenes for a in labelled(annotations)]
    from_behind = [v for v in people if v[5] and v[6] and not v[:3].any()]
    assert 0.1 < len(from_behind) / len(people) < 0.5


def test_visible_keypoints_lie_on_the_mask_and_the_mask_in_the_box(scenes: Scenes) -> None:
    for image, annotations in scenes:
        h, w = image.shape[:2]
        for annotation in labelled(annotations):
            mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(annotation["segmentation"], h, w)))
            near = cv2.dilate(mask, np.ones((3, 3), np.uint8))
            for x, y, v in keypoints(annotation):
                assert v != 2 or near[int(y), int(x)], "a visible keypoint lies off its person"
            assert mask.sum() == pytest.approx(annotation["area"], rel=0.12, abs=12)
            bx, by, bw, bh = annotation["bbox"]
            corners = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in annotation["segmentation"]])
            assert np.abs(corners.min(0) - (bx, by)).max() <= 1.0
            assert np.abs(corners.max(0) - (bx + bw, by + bh)).max() <= 1.0


def test_left_is_lighter_than_right_unless_sides_are_alike() -> None:
    def brightness(sides: float) -> float:
        gap = []
        for i in range(40):
            image, annotations = draw_scene((8, i), SceneConfig(sides=sides, people=1, occluder=0, cut=0))
            for annotation in labelled(annotations):
                points = keypoints(annotation)
                pairs = [(k, k + 1) for k in (7, 13, 15) if points[k, 2] == 2 == points[k + 1, 2]]
                gap += [float(image[int(points[a, 1]), int(points[a, 0])].mean()) for a, _ in pairs]
                gap += [-float(image[int(points[b, 1]), int(points[b, 0])].mean()) for _, b in pairs]
        return sum(gap) / (len(gap) / 2)

    assert brightness(1.0) > 30
    assert abs(brightness(0.0)) < 8


def test_crowds_unlabelled_people_and_empty_scenes_are_annotated_as_coco_does() -> None:
    image, annotations = draw_scene(1, SceneConfig(crowd=1, unlabelled=1, empty=0))
    h, w = image.shape[:2]
    crowds = [a for a in annotations if a["iscrowd"]]
    assert len(crowds) == 1
    region = coco_mask.decode(coco_mask.frPyObjects(crowds[0]["segmentation"], h, w))
    assert region.sum() == pytest.approx(crowds[0]["area"], rel=0.05)
    assert np.array(cv2.boundingRect(region)) == pytest.approx(crowds[0]["bbox"], abs=1.5)
    bare = [a for a in annotations if not a["iscrowd"] and a["num_keypoints"] == 0]
    assert len(bare) == 1
    assert not any(bare[0]["keypoints"])
    assert draw_scene(1, SceneConfig(empty=1))[1] == []


def test_scenes_hold_up_to_the_asked_number_of_people() -> None:
    counts = {len(labelled(draw_scene((2, i), SceneConfig(empty=0))[1])) for i in range(40)}
    assert counts == {1, 2, 3}


@pytest.mark.parametrize(
    ("key", "value"), [("size", 32), ("people", 0), ("sides", 1.1), ("crowd", -0.1), ("quality", 0), ("variety", 3)]
)
def test_settings_out_of_range_are_named(key: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"{key}\n.*input_value={value}"):
        SceneConfig(**{key: value})
    with pytest.raises(ValueError, match=r"smallest is 0\.9; allowed: at most largest \(0\.5\)"):
        SceneConfig(smallest=0.9, largest=0.5)
