"""Which field of an annotation file is missing or wrong, in words: the file's list, the place in it, the value."""

import reprlib
from collections.abc import Sequence
from typing import Any, Final

NEEDED: Final = {
    "images": {
        "id": "every image has a whole number of its own",
        "file_name": "name the picture's file, in the split's folder; addresses such as coco_url are not read",
        "width": "give the picture's width in pixels",
        "height": "give the picture's height in pixels",
    },
    "annotations": {
        "id": "every annotation has a whole number of its own",
        "image_id": "it is the id of the image that it is on",
    },
}
"""Keys without which an entry of a list means nothing, and what to do where one is missing."""
NUMBERS: Final = ("id", "image_id", "width", "height")
_cut = reprlib.Repr()
_cut.maxstring = _cut.maxother = 60


def told(value: Any) -> str:
    """A value for a message: as Python writes it, not longer than a line, no control characters."""
    return _cut.repr(value)


def whole(value: Any) -> int:
    """The integer meant by 5, 5.0 or "5": readers of the shards compare without converting.

    Raises:
        ValueError: it means none.
    """
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{told(value)}, which is no whole number") from None
    if not isinstance(value, str) and number != value:
        raise ValueError(f"{told(value)}, which is no whole number")
    return number


def check_fields(images: Sequence[Any], annotations: Sequence[Any], name: str) -> None:
    """Check that every image and annotation says what it is and where it belongs.

    Args:
        images: the file's list of that name.
        annotations: the same.
        name: the file, for messages.

    Raises:
        ValueError: one does not; the message names it, the key, the value and what to do.
    """
    for kind, entries in (("images", images), ("annotations", annotations)):
        for place, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise ValueError(f"{name}: {kind}[{place}] is {told(entry)}; each is an object with id and more")
            for key, advice in NEEDED[kind].items():
                if fault := _fault(entry, key):
                    own = f" (id {told(entry['id'])})" if key != "id" and "id" in entry else ""
                    raise ValueError(f"{name}: {kind}[{place}]{own} {fault}: {advice}")


def _fault(entry: dict[str, Any], key: str) -> str:
    if entry.get(key) in (None, ""):
        return f"has no {key}" if key not in entry else f"has {key} {entry[key]!r}"
    if key not in NUMBERS:
        return "" if isinstance(entry[key], str | int) else f"has {key} {told(entry[key])}, which is no name"
    try:
        whole(entry[key])
    except ValueError as error:
        return f"has {key} {error}"
    return ""


def box_fault(annotation: dict[str, Any], limit: float) -> str:
    """What is wrong with an annotation's bbox and area; empty: nothing."""
    box, area = annotation.get("bbox"), annotation.get("area")
    wrong = []
    if not numbers(box, 4, limit):
        wrong.append(f"bbox {told(box)} where four numbers are wanted" if "bbox" in annotation else "no bbox")
    if not numbers([area], 1, limit**2):
        wrong.append(f"area {told(area)} where a number is wanted" if "area" in annotation else "no area")
    return " and ".join(wrong)


def numbers(values: Any, count: int, limit: float) -> bool:
    """Whether it is a list of so many numbers, none of them larger."""
    return isinstance(values, list) and len(values) == count and all(_number(v, limit) for v in values)


def points_fault(values: Any, count: int, limit: float) -> str:
    """What is wrong with a list of `count` numbers."""
    if not isinstance(values, list):
        return f"keypoints is {told(values)}"
    if len(values) != count:
        return f"keypoints has {len(values)} numbers of {count}"
    place = next(place for place, value in enumerate(values) if not _number(value, limit))
    return f"keypoints[{place}] is {told(values[place])}"


def _number(value: Any, limit: float) -> bool:
    return isinstance(value, int | float) and abs(value) <= limit
