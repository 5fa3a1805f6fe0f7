"""Scoring a result of val2017's size: 5,000 images, 11,000 people, 20 detections an image."""

import contextlib
import copy
import io
import time
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from benchmarks.timing import median_ms
from lhrnet.coco import MAX_DETECTIONS, K
from lhrnet.metrics.coco_eval import image_oks, score
from lhrnet.metrics.errors import split_errors

IMAGES, PEOPLE = 5000, 11000
NOISE = (2.0, 8.0, 30.0)
"""Pixels by which detections miss a person: close, near, useless."""


def run() -> list[dict[str, object]]:
    """Measure the ten figures, the same by pycocotools alone, and what reports need beside them."""
    truth, detections = result()
    ours = median_ms(lambda: score(truth, detections), 1) / 1000
    plain = median_ms(lambda: _plain(truth, detections), 1) / 1000
    report = median_ms(lambda: image_oks(truth, detections), 1) / 1000
    begun = time.perf_counter()
    split_errors(truth, detections, [image["id"] for image in truth["images"]])
    split = time.perf_counter() - begun
    size = f"{IMAGES:,} images, {PEOPLE:,} people, {len(detections):,} detections"
    return [
        {"name": "ten figures", "median": ours, "unit": "s", "ratio": plain / ours,
         "notes": f"times as fast as pycocotools alone; {size}"},
        {"name": "ten figures, pycocotools alone", "median": plain, "unit": "s"},
        {"name": "similarities of every image", "median": report, "unit": "s"},
        {"name": "errors by kind", "median": split, "unit": "s", "ratio": split / ours,
         "notes": "times the ten figures, which are computed anew for each kind; once a report"},
    ]  # fmt: skip


def result() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A truth and detections of val2017's size."""
    rng = np.random.default_rng(0)
    images = [{"id": i + 1, "width": 640, "height": 480} for i in range(IMAGES)]
    annotations: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    owner = np.sort(rng.integers(1, IMAGES + 1, PEOPLE))
    for image_id in range(1, IMAGES + 1):
        poses = []
        for _ in range(np.count_nonzero(owner == image_id)):
            size = rng.uniform(20, 300, 2)
            low = rng.uniform(0, 340, 2)
            pose = np.column_stack((low + rng.random((K, 2)) * size, rng.integers(0, 3, K)))
            poses.append(pose)
            annotations.append(
                {
                    "id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0,
                    "area": float(size.prod()), "bbox": [*low.tolist(), *size.tolist()],
                    "num_keypoints": int(np.count_nonzero(pose[:, 2])), "keypoints": pose.ravel().tolist(),
                }
            )  # fmt: skip
        for number in range(MAX_DETECTIONS):
            near = poses[number % len(poses)] if poses else rng.uniform(0, 300, (K, 3))
            keypoints = near + rng.normal(0, rng.choice(NOISE), (K, 3))
            found = {"image_id": image_id, "category_id": 1, "keypoints": keypoints.ravel().tolist()}
            detections.append({**found, "score": float(rng.random())})
    return {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}, detections


def _plain(truth: dict[str, Any], detections: list[dict[str, Any]]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = copy.deepcopy(truth)
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(copy.deepcopy(detections)), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
