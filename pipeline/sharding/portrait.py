"""A skeleton as a picture: keypoints with their names, limbs in the colours of their sides."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lhrnet.draw import draw_people
from lhrnet.person import Person
from lhrnet.skeleton.skeleton import Skeleton

Image = NDArray[np.uint8]
SIDE, MARGIN = 720, 110
"""Pixels of the picture, and of the space around the pose, for names."""
NAMED = 40
"""With more keypoints than this their numbers are written instead of their names."""


def poses_of(tree: Mapping[str, Any], skeleton: Skeleton, most: int = 2000) -> NDArray[np.float64]:
    """The labelled keypoints of annotations in COCO's form, (N, K, 3) x, y, visibility: the first `most`, no crowds."""
    kept = [
        annotation["keypoints"]
        for annotation in tree["annotations"]
        if annotation.get("num_keypoints") and not annotation.get("iscrowd") and annotation.get("category_id") == 1
    ][:most]
    return np.array(kept, np.float64).reshape(len(kept), skeleton.count, 3)


def typical_pose(poses_NK3: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, 3) The most ordinary of the poses that have the most labels.

    Not their mean: of horses that look to the left and to the right the mean is no horse.

    Args:
        poses_NK3: N at least 1; x, y and visibility, each pose in its own image's pixels.
    """
    labels_N = (poses_NK3[:, :, 2] > 0).sum(1)
    best = poses_NK3[labels_N == labels_N.max()]
    shown = best[:, :, 2] > 0
    places = np.where(shown[..., None], best[..., :2], np.nan)
    low, high = np.nanmin(places, 1, keepdims=True), np.nanmax(places, 1, keepdims=True)
    scaled = np.where(shown[..., None], (best[..., :2] - low) / np.maximum((high - low).max(2, keepdims=True), 1e-9), 0)
    apart = np.abs(scaled - np.median(scaled, 0)).sum((1, 2))
    return np.asarray(best[apart.argmin()])


def graph_pose(skeleton: Skeleton) -> NDArray[np.float64]:
    """(K, 3) Places for keypoints of which nobody is annotated: as far apart as they are along the limbs.

    By classical scaling (Torgerson 1952) of the steps between them.
    """
    count = skeleton.count
    steps = np.full((count, count), float(count))
    np.fill_diagonal(steps, 0)
    for a, b in skeleton.limbs:
        steps[a, b] = steps[b, a] = 1
    for k in range(count):
        steps = np.minimum(steps, steps[:, k, None] + steps[None, k])
    reached = steps[steps < count].max(initial=1)
    steps = np.minimum(steps, reached + 1)
    centred = np.eye(count) - 1 / count
    values, vectors = np.linalg.eigh(-0.5 * centred @ steps**2 @ centred)
    places = np.zeros((count, 2))
    axes = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    places[:, : axes.shape[1]] = axes[:, ::-1]
    return np.column_stack([places, np.full(count, 2.0)])


def portrait(skeleton: Skeleton, pose_K3: NDArray[np.float64]) -> Image:
    """Draw a skeleton in a pose, with its keypoints' names, as (720, 720, 3) RGB."""
    shown = pose_K3[:, 2] > 0
    canvas = np.full((SIDE, SIDE, 3), 40, np.uint8)
    if not shown.any():
        return canvas
    low, high = pose_K3[shown, :2].min(0), pose_K3[shown, :2].max(0)
    scale = (SIDE - 2 * MARGIN) / max(float((high - low).max()), 1e-9)
    places = (pose_K3[:, :2] - (low + high) / 2) * scale + SIDE / 2
    person = Person(keypoints=np.column_stack([places, shown]).astype(np.float32), score=1.0)
    canvas = draw_people(canvas, [person], skeleton, scale=1, scores=False)
    for k in np.flatnonzero(shown):
        text = skeleton.keypoints[k] if skeleton.count <= NAMED else str(k)
        (wide, high_), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.42, 1)
        x = min(max(int(places[k, 0]) + 9, 2), SIDE - wide - 2)
        at = x, min(max(int(places[k, 1]) - 5, high_ + 2), SIDE - 4)
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (15, 15, 15), 3, cv2.LINE_AA)
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.42, (235, 235, 235), 1, cv2.LINE_AA)
    return canvas
