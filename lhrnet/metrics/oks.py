"""Object keypoint similarity (OKS): how near a found keypoint is to the annotated one, as COCO's evaluation defines it.

    similarity = exp(-distance² / (2 · area · (2 · sigma)²))

`sigma` is how much annotators differ on the keypoint, `area` the annotated person's, in square pixels.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lhrnet.skeleton import COCO, Skeleton


def keypoint_oks(found: ArrayLike, true: ArrayLike, area: float, skeleton: Skeleton = COCO) -> NDArray[np.float64]:
    """Each keypoint's own similarity to one annotated person.

    Args:
        found: (..., K, 2 or more) or 3 K numbers; x, y in image pixels, what follows is not read.
        true: (K, 3) or 3 K numbers, as COCO annotates: x, y, flag.
        area: the annotated person's, in square pixels.
        skeleton: whose K keypoints they are: its sigmas are the tolerances.

    Returns:
        (..., K), 0 to 1; NaN where the annotated keypoint is not labelled.
    """
    true_K3 = np.asarray(true, np.float64).reshape(skeleton.count, 3)
    points = np.asarray(found, np.float64)
    points = points.reshape(skeleton.count, 3) if points.ndim == 1 else points
    oks = _similarity(points[..., :2] - true_K3[:, :2], area, skeleton)
    oks[..., true_K3[:, 2] <= 0] = np.nan
    return oks


def oks_matrix(
    keypoints_DK3: NDArray[np.floating[Any]], annotations: Sequence[Mapping[str, Any]], skeleton: Skeleton = COCO
) -> NDArray[np.float64]:
    """OKS of every detected person with every annotated one: the mean over the labelled keypoints.

    Towards a person without any labelled keypoint, the distance is that to twice their box.

    Args:
        keypoints_DK3: x, y in image pixels, and a third value that is not read.
        annotations: G people of the same image in COCO's person-keypoints form.
        skeleton: whose keypoints they are.

    Returns:
        (D, G), 0 to 1.
    """
    oks = np.zeros((len(keypoints_DK3), len(annotations)))
    found = np.asarray(keypoints_DK3, np.float64)[..., :2].reshape(-1, skeleton.count, 2)
    for g, annotation in enumerate(annotations):
        each_DK = keypoint_oks(found, annotation["keypoints"], annotation["area"], skeleton)
        labelled = np.array(annotation["keypoints"][2::3]) > 0
        if not labelled.any():
            left_top, size = np.split(np.array(annotation["bbox"], np.float64), 2)
            low, high = left_top - size, left_top + size * 2
            outside = np.maximum(0, low - found) + np.maximum(0, found - high)
            each_DK = _similarity(outside, annotation["area"], skeleton)
            labelled[:] = True
        oks[:, g] = each_DK.compress(labelled, axis=1).sum(-1) / labelled.sum()
    return oks


def _similarity(offset: NDArray[np.float64], area: float, skeleton: Skeleton) -> NDArray[np.float64]:
    """(..., K) of (..., K, 2) pixels between found and annotated keypoints; in pycocotools' order of operations."""
    variances_K = (np.array(skeleton.sigmas) * 2) ** 2
    similarity: NDArray[np.float64] = np.exp(-((offset**2).sum(-1) / variances_K / (area + np.spacing(1)) / 2))
    return similarity
