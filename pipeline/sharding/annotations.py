"""COCO's annotation files as one record for each image, and the problems of each."""

import json
import logging
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from lhrnet.coco import PERSON, labelled_keypoints
from lhrnet.skeleton import COCO, Skeleton
from pipeline.sharding.category import Choice, ChosenCategory, choose_category
from pipeline.sharding.fields import box_fault, check_fields, numbers, points_fault, told, whole

log = logging.getLogger(__name__)

KEPT = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "num_keypoints", "keypoints")
"""Keys of an annotation that the shards keep."""
COUNTS = ("category_id", "iscrowd", "num_keypoints")
"""Of these, keys with integers. A wrong one is reported as a problem of its image, not of the whole file."""
FAR = 1e5
"""Pixels: larger than any image. Much larger outlines make pycocotools end the process."""


@dataclass(frozen=True)
class ImageRecord:
    """One image and its annotations."""

    image_id: int
    file_name: str
    width: int
    height: int
    annotations: tuple[dict[str, Any], ...]
    """COCO's, in order of id; with a segmentation only where its region is ignored by the loss."""
    crowd_index: float | None = None
    """CrowdPose's measure of how crowded the image is, from 0 to 1, by which it scores easy, medium and hard ones."""

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

    records: tuple[ImageRecord, ...]
    """In order of image id; images whose id occurs twice are in `problems` instead."""
    categories: list[dict[str, Any]]
    """Those of the ground truth."""
    problems: tuple[tuple[int, str, str], ...]
    """(image id, file name, what is wrong) of problems that involve more than one image."""
    skeleton: Skeleton = COCO
    notes: tuple[str, ...] = ()
    """What was assumed of the keypoints, a sentence each."""


def parse(data: bytes, name: str, *, labelled: bool, choice: Choice = Choice()) -> AnnotationFile:  # noqa: B008
    """Read an annotation file.

    Args:
        data: the file's bytes.
        name: for messages.
        labelled: whether it must contain people with keypoints, or only images (test-dev).
        choice: of the category and its keypoints.

    Raises:
        ValueError: not JSON, not of COCO's form, or not one category with keypoints.
    """
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name} is not JSON: {error}") from error
    needed = ("images", "annotations", "categories") if labelled else ("images",)
    for key in needed:
        if not isinstance(tree, dict) or not isinstance(tree.get(key), list):
            raise ValueError(f"{name} is no COCO annotation file: it has no list {key!r}")
    categories = tree.get("categories", [])
    if not tree["images"]:
        raise ValueError(f"{name} lists no images")
    if labelled:
        chosen = choose_category(categories, name, choice)
    else:
        chosen = ChosenCategory(PERSON, frozenset(), choice.skeleton or COCO, categories, ())
    return _grouped(tree["images"], tree.get("annotations", []) if labelled else [], categories, chosen, name)


def _grouped(
    images: list[dict[str, Any]],
    annotations: list[dict[str, Any]],
    categories: list[dict[str, Any]],
    chosen: ChosenCategory,
    name: str,
) -> AnnotationFile:
    check_fields(images, annotations, name)
    try:
        by_image: dict[int, list[dict[str, Any]]] = defaultdict(list)
        others: Counter[int] = Counter()
        for annotation in annotations:
            slim = _slim(annotation, chosen.skeleton.count)
            category = slim.get("category_id")
            foreign = category != chosen.number and (category in chosen.others or not slim["num_keypoints"])
            if isinstance(category, int) and foreign:
                others[category] += 1  # taken for people, they would hide what they cover from the loss
                continue
            if category == chosen.number:
                slim["category_id"] = PERSON
            by_image[slim["image_id"]].append(slim)
        records = [
            ImageRecord(
                whole(image["id"]),
                str(image["file_name"]),
                whole(image["width"]),
                whole(image["height"]),
                tuple(sorted(by_image.pop(whole(image["id"]), ()), key=lambda a: a["id"])),
                _crowd_index(image),
            )
            for image in sorted(images, key=lambda image: whole(image["id"]))
        ]
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise ValueError(f"{name}: an image or annotation lacks or garbles {error}; it is no COCO file") from error
    if others:
        named = {c.get("id"): c.get("name") for c in categories if isinstance(c, dict)}
        told = ", ".join(f"{count:,} of category {key} ({named.get(key)!r})" for key, count in sorted(others.items()))
        log.warning(
            "%s: annotations of other categories than %r are left away: %s", name, chosen.skeleton.category, told
        )
    twice = {image for image, count in Counter(record.image_id for record in records).items() if count > 1}
    shared = {i for i, count in Counter(a["id"] for r in records for a in r.annotations).items() if count > 1}
    problems = [(i, "", f"{len(group)} annotations of an image that is not listed") for i, group in by_image.items()]
    kept = []
    for record in records:
        file_name = record.file_name.encode(errors="backslashreplace").decode()
        if record.image_id in twice:
            problems.append((record.image_id, file_name, "the image id is listed twice"))
        elif clash := sorted(a["id"] for a in record.annotations if a["id"] in shared):
            problems.append((record.image_id, file_name, f"annotation id {clash[0]} is used twice"))
        elif file_name != record.file_name:
            problems.append((record.image_id, file_name, "its file name holds half a character"))
        else:
            kept.append(record)
    return AnnotationFile(tuple(kept), chosen.kept, tuple(problems), chosen.skeleton, chosen.notes)


def _slim(annotation: dict[str, Any], keypoints: int) -> dict[str, Any]:
    slim = {key: annotation[key] for key in KEPT if key in annotation}
    # exporters write null and [] for what they do not know
    slim["iscrowd"] = slim.get("iscrowd") or 0
    slim["keypoints"] = slim.get("keypoints") or [0] * (3 * keypoints)
    if "num_keypoints" not in slim:
        slim["num_keypoints"] = labelled_keypoints(slim)
    for key in COUNTS:
        with suppress(KeyError, TypeError, ValueError, OverflowError):  # `faults` names what stays as it is
            slim[key] = whole(slim[key])
    if (slim["iscrowd"] or not slim["num_keypoints"]) and annotation.get("segmentation"):
        slim["segmentation"] = annotation["segmentation"]
    slim["image_id"] = whole(annotation["image_id"])
    return {**slim, "id": whole(annotation["id"])}


def _crowd_index(image: dict[str, Any]) -> float | None:
    value = image.get("crowdIndex")
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def faults(record: ImageRecord, keypoints: int = COCO.count) -> Iterator[str]:
    """The problems that show without its image of a record whose objects have so many keypoints."""
    if not 0 <= record.image_id < 1 << 63:
        yield "its id is not between 0 and 2**63 - 1"
    if record.width < 1 or record.height < 1:
        yield f"its size is {record.width}x{record.height}"
    for annotation in record.annotations:
        name, points = f"annotation {annotation['id']}", annotation["keypoints"]
        if not numbers(points, 3 * keypoints, FAR):
            yield f"{name} has no {keypoints} keypoints of three numbers: {points_fault(points, 3 * keypoints, FAR)}"
            continue
        if fault := box_fault(annotation, FAR):
            yield f"{name} has {fault}"
        category = annotation.get("category_id")
        if category != PERSON and (annotation["num_keypoints"] or not isinstance(category, int)):
            yield f"{name} has category_id {told(category)} where people have {PERSON}"
        if annotation["iscrowd"] not in (0, 1):
            yield f"{name} has iscrowd {told(annotation['iscrowd'])} where 0 or 1 is allowed"
        if fault := _segmentation_fault(annotation.get("segmentation"), record.height, record.width):
            yield f"{name} has a segmentation {fault}"
        labelled = [(x, y) for x, y, v in zip(points[::3], points[1::3], points[2::3], strict=True) if v > 0]
        if any(v not in (0, 1, 2) for v in points[2::3]):
            yield f"{name} has a visibility other than 0, 1, 2"
        if len(labelled) != annotation["num_keypoints"]:
            yield f"{name} says {told(annotation['num_keypoints'])} keypoints and labels {len(labelled)}"
        if any(not (0 <= x <= record.width and 0 <= y <= record.height) for x, y in labelled):
            yield f"{name} has a keypoint outside the image"


def _segmentation_fault(shape: Any, height: int, width: int) -> str:
    """Why pycocotools would fail on a segmentation or read uninitialised memory; empty if it would not."""
    if not shape:
        return ""
    if isinstance(shape, list):
        if not all(isinstance(line, list) and line and numbers(line, len(line) // 2 * 2, FAR) for line in shape):
            return f"whose outlines are not pairs of numbers up to {FAR:.0f}"
        return "" if len(shape[0]) >= 6 else f"whose outline has {len(shape[0]) // 2} points"
    if not isinstance(shape, dict) or not {"size", "counts"} <= shape.keys():
        return "that is neither outlines nor run lengths with size and counts"
    if str(shape["size"]) != str([height, width]):  # [96.0, 96.0] is another type to pycocotools
        return f"of size {told(shape['size'])} where the image has [{height}, {width}]"
    runs = _runs(shape["counts"])
    if not all(isinstance(run, int) and run >= 0 for run in runs) or sum(runs) != height * width:
        return f"whose run lengths do not sum to the image's {height * width} pixels"
    return ""


def _runs(counts: Any) -> list[Any]:
    """Run lengths as a list; those in COCO's compressed form (pycocotools' rleFrString) unpacked, [-1] if damaged."""
    if not isinstance(counts, str):
        return counts if isinstance(counts, list) else [-1]
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return [-1]
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return [-1] if shift else runs
