"""COCO's annotation files: one record an image, and what is wrong with it."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lhrnet.coco import KEYPOINTS, K

KEPT = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "num_keypoints", "keypoints")
"""What the shards keep of an annotation."""


@dataclass(frozen=True)
class Record:
    """One image and its annotations."""

    image_id: int
    file_name: str
    width: int
    height: int
    annotations: tuple[dict[str, Any], ...]
    """COCO's, in order of id; a segmentation only where the region is to be ignored."""

    def kept(self) -> tuple[dict[str, Any], ...]:
        """The annotations without segmentations."""
        return tuple({key: a[key] for key in KEPT if key in a} for a in self.annotations)

    @property
    def keypoints(self) -> int:
        """Labelled keypoints, crowds aside."""
        return sum(a["num_keypoints"] for a in self.annotations if not a["iscrowd"])


@dataclass(frozen=True)
class AnnotationFile:
    """One split's annotation file."""

    records: tuple[Record, ...]
    """In order of image id; those of ids that occur twice are left to `problems`."""
    categories: list[dict[str, Any]]
    problems: tuple[tuple[int, str, str], ...]
    """(image id, file name, what is wrong) of what cannot be told image by image."""


def parse(data: bytes, name: str, *, labelled: bool) -> AnnotationFile:
    """Read an annotation file.

    Args:
        data: the file's bytes.
        name: for messages.
        labelled: whether it must hold people with keypoints, or only images (test-dev).

    Raises:
        ValueError: not JSON, or not COCO's person keypoints.
    """
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    needed = ("images", "annotations", "categories") if labelled else ("images",)
    for key in needed:
        if not isinstance(tree, dict) or not isinstance(tree.get(key), list):
            raise ValueError(f"{name} is no COCO annotation file: it has no list {key!r}")
    categories = tree.get("categories", [])
    if labelled and not any(tuple(c.get("keypoints", ())) == KEYPOINTS for c in categories if isinstance(c, dict)):
        raise ValueError(f"{name} has no category with COCO's {K} keypoints; use person_keypoints_*.json")
    if not tree["images"]:
        raise ValueError(f"{name} lists no images")
    return _grouped(tree["images"], tree.get("annotations", []) if labelled else [], categories, name)


def _grouped(
    images: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: list[dict[str, Any]], name: str
) -> AnnotationFile:
    try:
        by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for annotation in annotations:
            by_image[int(annotation["image_id"])].append(_slim(annotation))
        records = [
            Record(
                int(image["id"]),
                str(image["file_name"]),
                int(image["width"]),
                int(image["height"]),
                tuple(sorted(by_image.pop(int(image["id"]), ()), key=lambda a: int(a["id"]))),
            )
            for image in sorted(images, key=lambda image: int(image["id"]))
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: an image or annotation lacks or garbles {error}; it is no COCO file") from error
    twice = {image for image, count in Counter(record.image_id for record in records).items() if count > 1}
    shared = {i for i, count in Counter(a["id"] for r in records for a in r.annotations).items() if count > 1}
    problems = [(i, "", f"{len(group)} annotations of an image that is not listed") for i, group in by_image.items()]
    kept = []
    for record in records:
        if record.image_id in twice:
            problems.append((record.image_id, record.file_name, "the image id is listed twice"))
        elif clash := sorted(a["id"] for a in record.annotations if a["id"] in shared):
            problems.append((record.image_id, record.file_name, f"annotation id {clash[0]} is used twice"))
        else:
            kept.append(record)
    return AnnotationFile(tuple(kept), categories, tuple(problems))


def _slim(annotation: dict[str, Any]) -> dict[str, Any]:
    slim = {key: annotation[key] for key in KEPT if key in annotation}
    slim.setdefault("iscrowd", 0)
    slim.setdefault("keypoints", [0] * (3 * K))
    if "num_keypoints" not in slim:
        slim["num_keypoints"] = sum(v > 0 for v in slim["keypoints"][2::3])
    if (slim["iscrowd"] or not slim["num_keypoints"]) and annotation.get("segmentation"):
        slim["segmentation"] = annotation["segmentation"]
    return {"id": annotation["id"], **slim}


def faults(record: Record) -> Iterator[str]:
    """What is wrong with a record, whatever its image looks like."""
    if record.width < 1 or record.height < 1:
        yield f"its size is {record.width}x{record.height}"
    for annotation in record.annotations:
        name, points, box = f"annotation {annotation['id']}", annotation["keypoints"], annotation.get("bbox")
        if not _numbers(points, 3 * K):
            yield f"{name} has no {K} keypoints of three numbers"
            continue
        if not _numbers(box, 4) or not _numbers([annotation.get("area")], 1):
            yield f"{name} has no bbox of four numbers or no area"
        labelled = [(x, y) for x, y, v in zip(points[::3], points[1::3], points[2::3], strict=True) if v > 0]
        if any(v not in (0, 1, 2) for v in points[2::3]):
            yield f"{name} has a visibility other than 0, 1, 2"
        if len(labelled) != annotation["num_keypoints"]:
            yield f"{name} says {annotation['num_keypoints']} keypoints and labels {len(labelled)}"
        if any(not (0 <= x <= record.width and 0 <= y <= record.height) for x, y in labelled):
            yield f"{name} has a keypoint outside the image"


def _numbers(values: Any, count: int) -> bool:
    return isinstance(values, Sequence) and len(values) == count and all(isinstance(v, int | float) for v in values)
