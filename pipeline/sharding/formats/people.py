"""One category's annotations, made whole: what exporters leave away is worked out, counted and said."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from lhrnet.skeleton.infer import category_of, from_category
from lhrnet.skeleton.skeleton import Skeleton

Tree = dict[str, Any]
AREA: Final = 0.53
"""Area of a person relative to the box, where no outline tells: that of CrowdPose's evaluation."""
ABOUT: Final = "keypoints: "
"""How a note about the skeleton begins."""
KEPT: Final = ("bbox", "area", "iscrowd", "keypoints", "segmentation")


def one_category(splits: Mapping[str, Tree], wanted: str | None, notes: list[str]) -> tuple[dict[str, Tree], Skeleton]:
    """Every split with the annotations of one category with keypoints, which becomes category 1.

    Args:
        splits: trees in COCO's form, by split.
        wanted: name of the category; None: the only one with keypoints.
        notes: what was assumed is added here.

    Returns:
        The splits, and the keypoints of the category.

    Raises:
        ValueError: no category is meant, or several are; its keypoints differ between splits, or annotations do not fit
            them.
    """
    chosen = {split: _category(tree, wanted, split) for split, tree in splits.items()}
    skeletons = {split: from_category(category) for split, category in chosen.items()}
    (first, (skeleton, said)), *others = skeletons.items()
    for split, (other, _) in others:
        if other != skeleton:
            raise ValueError(
                f"split {first} has the keypoints {', '.join(skeleton.keypoints):.200} of {skeleton.category!r}, split "
                f"{split} {', '.join(other.keypoints):.200} of {other.category!r}; give a source whose splits agree"
            )
    notes += [f"{ABOUT}{note}" for note in said]
    counts: Counter[str] = Counter()
    made = {
        split: {
            "images": _images(tree["images"], split),
            "annotations": list(_annotations(tree, chosen[split].get("id"), skeleton.count, split, counts)),
            "categories": [category_of(skeleton, 1)],
        }
        for split, tree in splits.items()
    }
    notes += [f"{count:,} {what}" for what, count in counts.items()]
    return made, skeleton


def _category(tree: Tree, wanted: str | None, split: str) -> Mapping[str, Any]:
    """The category that is meant; of several that are written twice the first."""
    named: dict[str, Mapping[str, Any]] = {}
    for category in tree["categories"]:
        named.setdefault(str(category.get("name")), category)
    with_keypoints = {name: category for name, category in named.items() if category.get("keypoints")}
    listed = ", ".join(map(repr, with_keypoints)) or "none"
    if wanted is not None:
        if wanted not in with_keypoints:
            raise ValueError(f"split {split} has no category {wanted!r} with keypoints; those that have are {listed}")
        return with_keypoints[wanted]
    if len(with_keypoints) != 1:
        raise ValueError(f"split {split}: categories with keypoints are {listed}; choose one with --category NAME")
    return next(iter(with_keypoints.values()))


def _images(images: list[dict[str, Any]], split: str) -> list[dict[str, Any]]:
    for image in images:
        if type(image.get("id")) not in (int, str):
            raise ValueError(f"split {split}: image {image['file_name']!r:.100} has the id {image.get('id')!r:.40}")
    kept = ("id", "file_name", "width", "height", "crowdIndex")
    return [{key: image[key] for key in kept if image.get(key) is not None} for image in images]


def _annotations(tree: Tree, category: Any, count: int, split: str, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    """The category's annotations, made whole."""
    names = {repr(c.get("id")): c.get("name") for c in tree["categories"]}
    sizes = {image["id"]: (image.get("width"), image.get("height")) for image in tree["images"]}
    for number, annotation in enumerate(tree["annotations"], 1):
        its = annotation.get("category_id")
        if its != category:
            counts[f"annotations of category {names.get(repr(its), its)!r:.60} are left away"] += 1
            continue
        name = f"split {split}: annotation {annotation.get('id', number)!r:.40}"
        if type(annotation.get("image_id")) not in (int, str):
            raise ValueError(f"{name} has the image_id {annotation.get('image_id')!r:.40}")
        whole = {key: annotation[key] for key in KEPT if annotation.get(key) not in (None, [])}
        whole["iscrowd"] = int(bool(whole.get("iscrowd", 0)))
        whole["keypoints"] = _keypoints(
            whole.get("keypoints", [0] * (3 * count)),
            count,
            name,
            sizes.get(annotation["image_id"], (None, None)),
            counts,
        )
        whole["num_keypoints"] = sum(v > 0 for v in whole["keypoints"][2::3])
        _fill_box(whole, name, counts)
        if whole["num_keypoints"] and not whole["iscrowd"]:
            whole.pop("segmentation", None)  # only what is left out of the loss needs its outline
        yield {"id": annotation.get("id", number), "image_id": annotation["image_id"], "category_id": 1, **whole}


def _keypoints(given: Any, count: int, name: str, size: tuple[Any, Any], counts: Counter[str]) -> list[float]:
    """A person's keypoints, those not labelled as zeros."""
    if not isinstance(given, list) or not all(isinstance(number, int | float) for number in given):
        raise ValueError(f"{name} has keypoints {given!r:.60}; they must be a list of numbers")
    if len(given) != 3 * count:
        raise ValueError(f"{name} has {len(given)} numbers under keypoints, its category {count} keypoints of three")
    points: list[float] = []
    for x, y, flag in zip(given[::3], given[1::3], given[2::3], strict=True):
        if flag in (1, 2) and not (math.isfinite(x) and math.isfinite(y)):
            raise ValueError(f"{name} has a labelled keypoint at {x}, {y}; mend it or set its visibility to 0")
        if flag != flag or (flag > 0 and flag not in (1, 2)):
            raise ValueError(f"{name} has a keypoint of visibility {flag}; it must be 0, 1 or 2")
        wide, high = (side if isinstance(side, int | float) else math.inf for side in size)
        if flag > 0 and not (0 <= x <= wide and 0 <= y <= high):
            counts["keypoints outside of their image count as not labelled"] += 1
            flag = 0
        points += [x, y, int(flag)] if flag > 0 else [0, 0, 0]
    return points


def _fill_box(whole: dict[str, Any], name: str, counts: Counter[str]) -> None:
    """Put in box and area where the exporter gave none, from the labelled keypoints and the box."""
    box, area, points = whole.get("bbox", [0, 0, 0, 0]), whole.get("area", 0), whole["keypoints"]
    for key, numbers, length in (("bbox", box, 4), ("area", [area], 1)):
        whole_numbers = isinstance(numbers, list) and all(isinstance(n, int | float) for n in numbers)
        if not whole_numbers or len(numbers) != length or not all(map(math.isfinite, numbers)):
            raise ValueError(f"{name} has {key} {whole[key]!r:.60}; it must be {length} finite numbers")
    if whole["num_keypoints"] and not (box[2] > 0 and box[3] > 0):
        shown = [k for k in range(0, len(points), 3) if points[k + 2]]
        xs, ys = [points[k] for k in shown], [points[k + 1] for k in shown]
        box = [min(xs), min(ys), max(max(xs) - min(xs), 1), max(max(ys) - min(ys), 1)]
        counts["boxes are missing: those around the labelled keypoints are taken"] += 1
    if area <= 0:
        area = round(AREA * box[2] * box[3], 2)
        counts[f"areas are missing: {AREA} of the box is taken, as CrowdPose's evaluation does"] += 1
    whole |= {"bbox": box, "area": area}
