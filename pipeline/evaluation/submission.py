"""What COCO's evaluation server takes: a flat zip of one JSON file of a fixed name, checked before it is written.

The server scores hidden annotations, so nothing here computes an AP for test-dev. `read` gives back what a zip holds,
which is how a rehearsal on val2017 scores the very bytes that would be sent.
"""

import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np

from lhrnet.coco import MAX_DETECTIONS
from lhrnet.metrics.coco_eval import check_detections

Split = Literal["test-dev2017", "val2017"]

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
"""A method's name. No underscore: the server splits the file's name at those."""

DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError, OSError, struct.error)
"""What reading a zip of damaged bytes may raise: it is taken for one that is encrypted, or packed in another way."""

FILE = re.compile(rf"person_keypoints_(test-dev2017|val2017)_({NAME.pattern})_results\.json")


def file_name(split: Split, name: str) -> str:
    """The JSON file's name as the server expects it; the zip's is the same with `.zip`.

    Raises:
        ValueError: The server would refuse the method's name.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"COCO's server would refuse the name {name!r}: use 1 to 64 letters, digits, '-' and '.', "
            "a letter or digit at both ends, and no '_'"
        )
    return f"person_keypoints_{split}_{name}_results.json"


def check(detections: Sequence[Mapping[str, Any]], image_ids: AbstractSet[int]) -> None:
    """Hold detections against what the server accepts.

    Args:
        detections: COCO results.
        image_ids: The split's images.

    Raises:
        ValueError: What is wrong with which detection, and what to do.
    """
    check_detections({"images": [{"id": image_id} for image_id in image_ids]}, detections)
    crowded = [(i, n) for i, n in Counter(d["image_id"] for d in detections).items() if n > MAX_DETECTIONS]
    if crowded:
        image_id, people = max(crowded, key=lambda item: item[1])
        raise ValueError(
            f"image {image_id} has {people} people ({len(crowded)} images have too many): COCO counts the "
            f"{MAX_DETECTIONS} best of an image; leave the others out"
        )


def pack(detections: Sequence[Mapping[str, Any]], *, split: Split, name: str, image_ids: AbstractSet[int]) -> bytes:
    """The zip's bytes, the same for the same detections.

    Args:
        detections: COCO results; an empty list is valid, and scores zero. Other keys than COCO's four are left out.
        split: The images' split.
        name: The method's name.
        image_ids: The split's images.

    Raises:
        ValueError: As `file_name` and `check`.
    """
    inside = file_name(split, name)
    check(detections, image_ids)
    text = json.dumps([_plain(d) for d in detections], separators=(",", ":"), allow_nan=False)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(inside, date_time=(2017, 9, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _plain(detection: Mapping[str, Any]) -> dict[str, Any]:
    """A checked detection in JSON's own numbers, whatever its came from (numpy's cannot be written)."""
    return {
        "image_id": int(detection["image_id"]),
        "category_id": int(detection["category_id"]),
        "keypoints": np.asarray(detection["keypoints"]).tolist(),
        "score": float(detection["score"]),
    }


def read(blob: bytes, origin: str) -> tuple[Split, str, list[dict[str, Any]]]:
    """What a zip would submit: its split, the method's name, the detections.

    Raises:
        ValueError: The server would not take the zip: not a zip, not flat, another file's name, not a list.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            names = archive.namelist()
            text = archive.read(names[0]) if len(names) == 1 else b""
    except DAMAGE as error:
        raise ValueError(f"{origin} is not a zip of JSON: {error}") from error
    if len(names) != 1 or PurePosixPath(names[0]).name != names[0]:
        raise ValueError(f"{origin} holds {', '.join(names) or 'nothing'}: it must hold one file, in no folder")
    fits = FILE.fullmatch(names[0])
    if fits is None:
        raise ValueError(f"{origin} holds {names[0]}: it must be person_keypoints_<split>_<name>_results.json")
    try:
        detections = json.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or no UTF-8
        raise ValueError(f"{origin} is not a zip of JSON: {error}") from error
    if not isinstance(detections, list):
        raise ValueError(f"{origin}: the file inside is not a list of results")
    split: Split = "val2017" if fits[1] == "val2017" else "test-dev2017"
    return split, fits[2], detections
