"""COCO-WholeBody keeps a person's feet, face and hands apart from COCO's 17 keypoints: all 133 in one list.

Keys by https://github.com/jin-s13/COCO-WholeBody, data_format.md: `foot_kpts` (6), `face_kpts` (68), `lefthand_kpts`
and `righthand_kpts` (21 each), three numbers a keypoint, and a `..._valid` of each: whether it was labelled at all.
"""

from typing import Any, Final

from lhrnet.skeleton import SKELETONS
from lhrnet.skeleton.infer import category_of

PARTS: Final = {"foot": 6, "face": 68, "lefthand": 21, "righthand": 21}
"""Keypoints of each part, in the order of the 133."""


def join_parts(tree: dict[str, Any], path: str, notes: list[str]) -> dict[str, Any]:
    """The tree with 133 keypoints a person if it is COCO-WholeBody's, else as it is.

    Args:
        tree: in COCO's form.
        path: of the file, for messages.
        notes: what was done is added here.

    Raises:
        ValueError: a part has another number of keypoints.
    """
    if not any("face_kpts" in annotation for annotation in tree["annotations"]):
        return tree
    people = [c for c in tree["categories"] if c.get("keypoints")]
    joined = category_of(SKELETONS["coco-wholebody"], people[0].get("id", 1))
    annotations = [
        _joined(annotation, path) if annotation.get("category_id") == joined["id"] else annotation
        for annotation in tree["annotations"]
    ]
    notes.append(
        f"{path}: feet, face and hands are joined to the body: 133 keypoints; parts that are not valid are not"
    )
    others = [category for category in tree["categories"] if category is not people[0]]
    return {**tree, "annotations": annotations, "categories": [joined, *others]}


def _joined(annotation: dict[str, Any], path: str) -> dict[str, Any]:
    numbers: list[Any] = []
    for key, count in {"keypoints": 17, **{f"{part}_kpts": count for part, count in PARTS.items()}}.items():
        its = annotation.get(key)
        if not its or not annotation.get(key.replace("_kpts", "_valid"), True):
            its = [0] * (3 * count)
        if not isinstance(its, list) or len(its) != 3 * count:
            raise ValueError(
                f"{path}: annotation {annotation.get('id')!r:.40} has {key} {its!r:.40}; it must be {3 * count} numbers"
            )
        # visibility of the parts is a degree in some files: what is labelled at all is visible
        numbers += [2 if place % 3 == 2 and _is_degree(v) else v for place, v in enumerate(its)]
    kept = {key: value for key, value in annotation.items() if not key.endswith(("_kpts", "_valid"))}
    return {**kept, "keypoints": numbers}


def _is_degree(visibility: Any) -> bool:
    return isinstance(visibility, float) and 0 < visibility < 2 and not visibility.is_integer()
