"""People for several skeletons: the same pictures, and joints where each data set has them."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lhrnet.skeleton import SKELETONS
from lhrnet.skeleton.skeleton import side_of
from pipeline.scenes.casting import SUBJECTS, subject_of
from pipeline.scenes.drawing import draw_scene
from pipeline.scenes.painter import ARM, LEG, SKULL, TRUNK
from pipeline.scenes.people import People
from pipeline.scenes.scene_config import SceneConfig

OTHERS = [name for name in SUBJECTS if name != "coco" and SKELETONS[name].category == "person"]


def drawn(skeleton: str, scenes: int = 30) -> list[tuple[NDArray[np.uint8], list[dict[str, Any]]]]:
    return [draw_scene((6, i), SceneConfig(cut=0.0), skeleton) for i in range(scenes)]


def joints(annotation: dict[str, Any], skeleton: str) -> dict[tuple[str, str], NDArray[np.float64]]:
    """x, y, v of each joint of a person by its side and name."""
    values = np.array(annotation["keypoints"], float).reshape(-1, 3)
    return dict(zip(map(side_of, SKELETONS[skeleton].keypoints), values, strict=True))


@pytest.mark.parametrize("skeleton", OTHERS)
def test_pictures_and_shared_joints_are_those_of_coco_s_set(skeleton: str) -> None:
    shared = 0
    for (image, people), (other, same) in zip(drawn("coco"), drawn(skeleton), strict=True):
        assert np.array_equal(image, other)
        for a, b in zip(people, same, strict=True):
            ours, theirs = joints(a, "coco"), joints(b, skeleton)
            assert {**a, "keypoints": 0, "num_keypoints": 0} == {**b, "keypoints": 0, "num_keypoints": 0}
            for name in ours.keys() & theirs.keys():
                assert np.array_equal(ours[name], theirs[name]), name
                shared += 1
    assert shared > 200


@pytest.mark.parametrize("skeleton", OTHERS)
def test_heads_stand_on_necks_and_every_head_top_lies_on_the_border_of_its_person(skeleton: str) -> None:
    top = ("", "head") if skeleton == "crowdpose" else ("", "head top")
    neck = ("", "upper neck") if skeleton == "mpii" else ("", "neck")
    seen = 0
    for _, annotations in drawn(skeleton):
        for annotation in annotations:
            found = joints(annotation, skeleton)
            if not annotation["num_keypoints"] or min(found[top][2], found[neck][2]) == 0:
                continue
            seen += 1
            tall = annotation["bbox"][3]
            shoulders = (found["left", "shoulder"] + found["right", "shoulder"]) / 2
            assert found[top][1] < found[neck][1] < shoulders[1] + 0.02 * tall
            outline = np.concatenate([np.reshape(polygon, (-1, 2)) for polygon in annotation["segmentation"]])
            if found[top][2] == 2:
                distance = np.hypot(*(outline - found[top][:2]).T).min()
                assert distance < 0.06 * tall, "hair, a bun or a cap stand above it, and nothing else"
    assert seen > 20


def test_mpii_s_thorax_and_pelvis_lie_between_shoulders_and_hips() -> None:
    checked = 0
    for _, annotations in drawn("mpii"):
        for annotation in annotations:
            found = joints(annotation, "mpii")
            for middle, pair in (("thorax", "shoulder"), ("pelvis", "hip")):
                points = np.array([found["", middle], found["left", pair], found["right", pair]])
                if (points[:, 2] > 0).all():
                    assert points[0, :2] == pytest.approx(points[1:, :2].mean(0), abs=0.011)
                    checked += 1
    assert checked > 40


def test_every_keypoint_has_parts_that_show_it() -> None:
    coco = subject_of("coco").shown_by
    assert len(coco) == 17
    assert coco[0] == (SKULL,)
    assert coco[5] == (TRUNK[0], ARM[0])
    assert coco[10] == (ARM[1],)
    assert coco[11] == (TRUNK[0], LEG[0])
    assert coco[16] == (LEG[1],)
    lsp = dict(zip(SKELETONS["lsp"].keypoints, subject_of("lsp").shown_by, strict=True))
    assert lsp["head_top"] == (SKULL,)
    assert lsp["neck"] == (*TRUNK, SKULL)
    assert lsp["right_wrist"] == (ARM[1],)


def test_joints_that_the_figure_lacks_are_named() -> None:
    with pytest.raises(KeyError, match="big toe"):
        People(SKELETONS["coco-wholebody"])
