"""Whether a ground truth has what scoring, reports and verification read of it; they compare without asking."""

import math
from collections.abc import Mapping
from typing import Any


def check_truth(tree: Any) -> dict[str, Any]:
    """Check a ground truth's form: COCO's lists of images, annotations and categories.

    Raises:
        ValueError: it has another one; the message names the first entry that is wrong.
    """
    if not isinstance(tree, dict):
        raise ValueError(f"it holds a {type(tree).__name__}")
    for key in ("images", "annotations", "categories"):
        entries = tree.get(key)
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError(f"its {key} are no list of objects")
    for place, image in enumerate(tree["images"]):
        if not all(_is_whole(image.get(key)) for key in ("id", "width", "height")):
            raise ValueError(f"images[{place}] has no whole number as id, width or height")
    for place, annotation in enumerate(tree["annotations"]):
        if wrong := _fault(annotation):
            raise ValueError(f"annotations[{place}] has no {wrong}")
    return tree


def _fault(annotation: Mapping[str, Any]) -> str:
    for key in ("id", "image_id", "category_id", "num_keypoints", "iscrowd"):
        if not _is_whole(annotation.get(key)):
            return f"whole number as {key}"
    if not _are_numbers([annotation.get("area")]):
        return "number as area"
    box, points = annotation.get("bbox"), annotation.get("keypoints")
    if not (isinstance(box, list) and len(box) == 4 and _are_numbers(box)):
        return "four numbers as bbox"
    if not (isinstance(points, list) and points and len(points) % 3 == 0 and _are_numbers(points)):
        return "keypoints of three numbers"
    return ""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and -(1 << 63) <= value < 1 << 63


def _are_numbers(values: list[Any]) -> bool:
    """Whether all are finite. Must be fast: it is called for every annotation of a split."""
    try:
        return math.isfinite(sum(values))
    except (TypeError, OverflowError):
        return False
