"""What a perfect network would score on a drawn set: maps and grouping can tell its keypoints apart."""

from typing import Any

import numpy as np
import pytest
import torch

from lhrnet.decoder.grouping import GroupingConfig, group
from lhrnet.losses.targets import render_heatmaps
from lhrnet.metrics.coco_eval import score
from lhrnet.skeleton import Skeleton
from lhrnet.skeleton.infer import category_of
from pipeline.scenes.casting import SUBJECTS
from pipeline.scenes.drawing import draw_scene


def decoded(annotations: list[dict[str, Any]], shape: tuple[int, int], skeleton: Skeleton) -> list[dict[str, Any]]:
    """People found in the maps of half an image's size that the truth itself gives; each has a tag of its own."""
    people = [a for a in annotations if a["num_keypoints"]]
    if not people:
        return []
    h, w = shape[0] // 2, shape[1] // 2
    joints_PK3 = np.array([a["keypoints"] for a in people], np.float32).reshape(len(people), -1, 3)
    joints_PK3[..., :2] /= 2
    heat_KHW = render_heatmaps(torch.from_numpy(joints_PK3)[None], (h, w), centre="subpixel")[0].numpy()
    y, x = np.mgrid[:h, :w] + 0.5
    distance_PKHW = np.hypot(joints_PK3[..., 0, None, None] - x, joints_PK3[..., 1, None, None] - y)
    distance_PKHW[joints_PK3[..., 2] == 0] = np.inf
    tags_KHW1 = 10.0 * distance_PKHW.argmin(0)[..., None]
    found = group(heat_KHW, tags_KHW1, GroupingConfig(order=skeleton.order, refine=False))
    return [
        {"keypoints": (points * (2, 2, 1)).ravel().tolist(), "score": float(value)}
        for points, value in zip(found.keypoints, found.scores, strict=True)
    ]


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_truth_s_own_maps_score_nearly_all(name: str) -> None:
    skeleton = SUBJECTS[name].skeleton
    truth: dict[str, Any] = {"images": [], "annotations": [], "categories": [category_of(skeleton, 1)]}
    detections = []
    for image_id in range(1, 31):
        image, annotations = draw_scene((21, image_id), None, name)
        h, w = image.shape[:2]
        truth["images"].append({"id": image_id, "width": w, "height": h})
        for annotation in annotations:
            truth["annotations"].append({"id": len(truth["annotations"]) + 1, "image_id": image_id, **annotation})
        for found in decoded(annotations, (h, w), skeleton):
            detections.append({"image_id": image_id, "category_id": 1, **found})
    assert score(truth, detections).ap > 0.95
