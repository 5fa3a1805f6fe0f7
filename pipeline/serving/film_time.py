"""When the frames of a film are shown, and whether its file is whole: what its header says holds for even films only.

Browsers and phones write frames as they come, with a time for each. A header's frames a second are then a guess of the
demuxer's (0.3 and 1000 were seen), and in Matroska and fragmented MP4 its frame count is that guess times the duration.
"""

import math
import struct
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import cv2

PROBED: Final = 100
"""Frames whose times are looked at to see whether they come evenly."""
USUAL: Final = 25.0
"""Frames a second where a header says nothing."""
SLOWEST: Final = 0.5
"""Frames a second at least of a drawn film: MPEG-4 has no rate for one in several minutes."""
FASTEST: Final = 120
"""Frames a second at most of a film that is drawn from an uneven one."""
COMPLETE: Final = 0.95
"""A film with a smaller part of what its header promises is reported as truncated. Headers are off by a few frames."""
HEAD: Final = 1 << 20
"""Bytes of a file's beginning that are looked at."""


def first_times(path: str) -> list[float]:
    """The times of a film's first frames, in seconds; decodes them, and no more."""
    capture = cv2.VideoCapture(path)
    times: list[float] = []
    while len(times) < PROBED and capture.grab():
        times.append(capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
    capture.release()
    return times


def rate_of(times: Sequence[float], stated: float) -> float:
    """Frames a second that show every frame of a film.

    Args:
        times: of its first frames, in seconds.
        stated: its header's frames a second; 0: none.
    """
    even = stated if 0 < stated < 1000 else USUAL
    gaps = [after - before for before, after in pairwise(times) if after > before]
    if not gaps or all(abs(time - times[0] - number / even) < 0.5 / even for number, time in enumerate(times)):
        return max(even, SLOWEST)
    return float(min(FASTEST, max(1, math.ceil(round(1 / min(gaps), 2)))))


def missing(path: str, frames: int, stated_frames: float, end: float, stated_rate: float) -> str:
    """What a film's file lacks at its end, in words; empty where it is whole, or does not say how long it is.

    Args:
        path: of the file.
        frames: that were read.
        stated_frames: the header's frame count; in some formats an estimate from its duration.
        end: seconds from the first frame to the end of the last one.
        stated_rate: the header's frames a second.
    """
    with Path(path).open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        size, whole = Path(path).stat().st_size, _matroska_size(head)
        return f"its file has {size} bytes of {whole}" if whole is not None and size < whole else ""
    if stated_frames <= 0 or frames >= COMPLETE * stated_frames:
        return ""
    if _is_estimate(head) and stated_rate > 0 and end >= COMPLETE * stated_frames / stated_rate:
        return ""
    return f"its header says {int(stated_frames)} frames"


def _is_estimate(head: bytes) -> bool:
    """Fragmented MP4 and MPEG streams have no frame count of their own."""
    return b"mvex" in head or head.startswith(b"\0\0\x01\xba")


def _matroska_size(head: bytes) -> int | None:
    """Bytes of a Matroska or WebM file by its own word; None where it was written live and does not know."""
    try:
        length, begin = _vint(head, 4)
        if head[begin + (length or 0) :][:4] != b"\x18\x53\x80\x67":
            return None
        body, begin = _vint(head, begin + (length or 0) + 4)
    except (IndexError, struct.error):
        return None
    return None if body is None else begin + body


def _vint(data: bytes, place: int) -> tuple[int | None, int]:
    """EBML's number of 1 to 8 bytes, and where it ends; None: unknown, all bits set (RFC 8794, sections 4 and 6)."""
    width = 9 - data[place].bit_length()
    mask = (1 << 7 * width) - 1
    number = int.from_bytes(data[place : place + width], "big") & mask
    return None if number == mask else number, place + width
