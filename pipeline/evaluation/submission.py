"""What COCO's evaluation server took: a flat zip of one JSON file of a fixed name, checked before it is written.

The server scored hidden annotations, so nothing here computes an AP for test-dev. It takes no submissions since early
2026: CodaLab is closed, and its successor has no keypoint competition (github.com/cocodataset/cocoapi/issues/691, 693).
Where annotations are public (val2017), `score_zip` scores the very bytes that would be sent.
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
from lhrnet.metrics.coco_eval import Scores, check_detections, score
from lhrnet.skeleton import COCO, check_same_keypoints
from pipeline.data.index import ShardIndex, read_index, truth

Split = Literal["test-dev2017", "val2017"]

NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
"""A method's name. No underscore: the server splits the file's name at those."""

DAMAGE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError, OSError, struct.error)
"""What reading a damaged zip may raise, as it may look encrypted or compressed in another way."""

MAX_BYTES = 10**9
"""Of the JSON at most: 20 people in each of test-dev's 20,288 images are 400 MB."""
MAX_RATIO, LOOSE = 50, 10**7
"""Results deflate to a third; a zip whose content is so many times as large is none, unless the content is small."""

FILE = re.compile(rf"person_keypoints_(test-dev2017|val2017)_({NAME.pattern})_results\.json")


def file_name(split: Split, name: str) -> str:
    """The JSON file's name as the server expects it; the zip's is the same with `.zip`.

    Raises:
        ValueError: the server would refuse the method's name.
    """
    if not NAME.fullmatch(name):
        raise ValueError(
            f"COCO's server would refuse the name {name!r}: use 1 to 64 letters, digits, '-' and '.', "
            "a letter or digit at both ends, and no '_'"
        )
    return f"person_keypoints_{split}_{name}_results.json"


def check_results(detections: Sequence[Mapping[str, Any]], image_ids: AbstractSet[int]) -> None:
    """Check detections as the server does.

    Args:
        detections: COCO results.
        image_ids: the split's images.

    Raises:
        ValueError: a detection is wrong; the message names it, and what to do.
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
        split: the images' split.
        name: the method's name.
        image_ids: the split's images.

    Raises:
        ValueError: as `file_name` and `check_results`.
    """
    inside = file_name(split, name)
    check_results(detections, image_ids)
    text = json.dumps([_plain(d) for d in detections], separators=(",", ":"), allow_nan=False)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(inside, date_time=(2017, 9, 1, 0, 0, 0)), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _plain(detection: Mapping[str, Any]) -> dict[str, Any]:
    """A checked detection in JSON's own types, which numpy's numbers are not."""
    return {
        "image_id": int(detection["image_id"]),
        "category_id": int(detection["category_id"]),
        "keypoints": np.asarray(detection["keypoints"]).tolist(),
        "score": float(detection["score"]),
    }


def read_zip(blob: bytes, origin: str) -> tuple[Split, str, list[dict[str, Any]]]:
    """What a zip would submit: its split, the method's name, the detections.

    Raises:
        ValueError: the server would not take the zip: not a zip, not flat, another file's name, not a list.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            names, sizes = archive.namelist(), [info.file_size for info in archive.infolist()]
            if max(sizes, default=0) > min(MAX_BYTES, max(LOOSE, MAX_RATIO * len(blob))):
                raise ValueError(f"{len(blob):,} bytes would unpack to {max(sizes):,}, which no results do")
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


def check_split(index: ShardIndex, split: Split, url: str) -> None:
    """Check that shards are of the split that is submitted.

    Raises:
        ValueError: the index is of another split, or has other keypoints than COCO's.
    """
    if index.split != split:
        raise ValueError(f"{url} holds {index.split}, and {split} is to be submitted: give that split's shards")
    check_same_keypoints(index.skeleton, url, COCO, "COCO's server")


def check_complete_split(index: ShardIndex, url: str) -> None:
    """Check that shards have every image of their split, as COCO's server expects people in all of them.

    Raises:
        ValueError: images are left out; the message names some and what to do.
    """
    if index.left_out:
        some = ", ".join(str(left.image_id) for left in index.left_out[:3])
        raise ValueError(
            f"{url} lacks {len(index.left_out)} images of {index.split} (such as {some}; the first: "
            f"{index.left_out[0].reason}), and the server would count everyone in them as not found: repair the files "
            "and run `lhrnet shard` again, or make the zip without them by --partial"
        )


def score_zip(blob: bytes, url: str, origin: str) -> Scores:
    """Score what a zip holds.

    Args:
        blob: the zip.
        url: shards of the split, for its ground truth.
        origin: where the zip is, for messages.

    Raises:
        ValueError: the server would not take the zip, or it is of a split whose annotations are not public.
    """
    split, _, detections = read_zip(blob, origin)
    index = read_index(url)
    check_split(index, split, url)
    if not index.keypoints:
        raise ValueError(f"{origin} is of {split}, whose annotations are not public: only COCO's server can score it")
    check_results(detections, frozenset(index.image_ids))
    return score(truth(url, index), detections)
