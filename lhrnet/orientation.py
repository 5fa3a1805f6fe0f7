"""How a picture's file says that it is to be turned and mirrored: EXIF's orientation, and what AVIF has in its place.

1 as stored; 2 mirrored; 3 turned by half; 4 upside down; 5 to 8 lie on their side: 5 transposed, 6 to be turned to the
right, 7 transposed the other way, 8 to be turned to the left (EXIF 2.3, tag 274; TIFF 6.0 has the same tag).
"""

import struct
from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

TAG: Final = 274
SIDEWAYS: Final = 5
"""From this orientation on, width and height change places."""
JPEG: Final = b"\xff\xd8"
"""What a JPEG file begins with."""
TIFF: Final = {b"II*\0": "<", b"MM\0*": ">"}
"""What a TIFF file or EXIF block begins with, and its byte order in `struct`'s sign."""
FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a JPEG's frame header, which holds its size."""
TURNS: Final = {(0, 1): 2, (0, 0): 4, (1, -1): 8, (1, 1): 7, (1, 0): 5, (2, -1): 3, (2, 1): 4, (2, 0): 2,
                (3, -1): 6, (3, 1): 5, (3, 0): 7}  # fmt: skip
"""AVIF's quarter turns to the left, and then the axis of its mirror (-1: none), as EXIF's number."""


def orientation(content: bytes) -> int:
    """EXIF's number from 1 to 8 that a picture's file states; 1 where it states none, or what it states is damaged.

    Args:
        content: the file's bytes. JPEG, PNG, WebP, TIFF and AVIF are understood.
    """
    if content.startswith(JPEG):
        return next((_tagged(data[6:]) for marker, data in _segments(content) if _is_exif(marker, data)), 1)
    if content[:4] in TIFF:
        return _tagged(content)
    if content.startswith(b"\x89PNG"):
        return _chunked(content, 8, ">I4s", b"eXIf", 4)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _chunked(content, 12, "<4sI", b"EXIF", 0)
    if content[4:8] == b"ftyp" and b"avif" in content[8:40]:
        turn, mirror = (_box(content, name) for name in (b"\0\0\0\x09irot", b"\0\0\0\x09imir"))
        return TURNS.get((0 if turn is None else turn & 3, -1 if mirror is None else mirror & 1), 1)
    return 1


def turned(image: Image, number: int) -> Image:
    """Pixels as stored, (H, W, ...), turned as EXIF's number says; sideways they become (W, H, ...)."""
    if number >= SIDEWAYS:
        image = np.asarray(cv2.transpose(image), np.uint8)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(number)
    return image if flip is None else np.asarray(cv2.flip(image, flip), np.uint8)


def turned_back(image: Image, number: int) -> Image:
    """What `turned` made of pixels, as it was before."""
    return turned(image, {6: 8, 8: 6}.get(number, number))


def jpeg_size(content: bytes) -> tuple[int, int]:
    """(width, height) by a JPEG's frame header, as stored; (0, 0) where there is none."""
    for marker, data in _segments(content):
        if marker in FRAMES and len(data) >= 5:
            height, width = struct.unpack_from(">HH", data, 1)
            return width, height
    return 0, 0


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and their data, up to where the pixels begin. Must be fast: it is called for every image of an epoch."""
    place = 2
    while place + 4 <= len(jpeg) and jpeg[place] == 0xFF:
        marker = jpeg[place + 1]
        if marker == 0xFF:  # padding before a marker
            place += 1
            continue
        if marker in (0xD9, 0xDA):
            return
        length = jpeg[place + 2] << 8 | jpeg[place + 3]
        yield marker, jpeg[place + 4 : place + 2 + length]
        place += 2 + max(length, 2)


def _is_exif(marker: int, data: bytes) -> bool:
    return marker == 0xE1 and data.startswith(b"Exif\0\0")


def _chunked(content: bytes, place: int, header: str, name: bytes, check: int) -> int:
    """The orientation in the chunk of this name; `check` bytes follow every chunk, and an odd one of WebP is padded."""
    while place + 8 <= len(content):
        one, other = struct.unpack_from(header, content, place)
        kind, length = (one, other) if isinstance(one, bytes) else (other, one)
        if kind == name:
            return _tagged(content[place + 8 : place + 8 + length].removeprefix(b"Exif\0\0"))
        place += 8 + length + (check or length % 2)
    return 1


def _tagged(tiff: bytes) -> int:
    """The orientation in a TIFF's first directory."""
    order = TIFF.get(tiff[:4])
    if order is None:
        return 1
    try:
        (place,) = struct.unpack_from(f"{order}I", tiff, 4)
        (entries,) = struct.unpack_from(f"{order}H", tiff, place)
        for entry in range(place + 2, place + 2 + 12 * entries, 12):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == TAG:
                return value if (kind, count) == (3, 1) and 1 <= value <= 8 else 1
    except struct.error:  # it ends within
        pass
    return 1


def _box(avif: bytes, name: bytes) -> int | None:
    place = avif.find(name, 0, -1)
    return None if place < 0 else avif[place + len(name)]
