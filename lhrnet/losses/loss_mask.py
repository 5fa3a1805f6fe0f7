"""Which pixels of an image count in the heatmap loss, from its COCO annotations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from lhrnet.coco import labelled


def loss_mask(annotations: Sequence[Mapping[str, Any]], height: int, width: int) -> NDArray[np.bool_]:
    """Mask out the regions of people without labelled keypoints.

    These are crowd regions (`iscrowd`) and people with no labelled keypoint, each by its segmentation (polygons or
    run lengths, compressed or not), or by its box where it has none. Equal to the reference code's `get_mask`.

    Args:
        annotations: the image's annotations in COCO's person-keypoints form.
        height: of the image in pixels.
        width: of the image in pixels.

    Returns:
        (H,W) bool, True where the pixel counts.

    Raises:
        ValueError: a region has neither segmentation nor box, or a run length of another size than the image.
    """
    counts = np.ones((height, width), dtype=bool)
    for annotation in annotations:
        if not labelled(annotation):
            counts &= ~_region(annotation, height, width)
    return counts


def _region(annotation: Mapping[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    shape = annotation.get("segmentation")
    name = f"annotation {annotation.get('id')} of image {annotation.get('image_id')}"
    if not shape:
        if not annotation.get("bbox"):
            raise ValueError(f"{name} has neither segmentation nor bbox; it needs one to be left out of the loss")
        left, top, wide, high = annotation["bbox"]
        shape = [[left, top, left + wide, top, left + wide, top + high, left, top + high]]
    if isinstance(shape, Mapping):
        if list(shape["size"]) != [height, width]:
            raise ValueError(f"{name}: its run length is of size {shape['size']}, its image [{height}, {width}]")
        if isinstance(shape["counts"], list):
            shape = rle.frPyObjects(shape, height, width)
        return np.asarray(rle.decode(shape), dtype=bool)
    return np.asarray(rle.decode(rle.merge(rle.frPyObjects(shape, height, width))), dtype=bool)
