"""From a shard's bytes to its samples: verified by the index first, then grouped by WebDataset.

WebDataset alone ends a shard silently where a header is corrupt or a member is missing. Here no sample is
given out before size and sha256 are those of the index, and every image that the index lists must come, in its order.
"""

import hashlib
import io
import itertools
import json
import logging
import math
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from lhrnet.skeleton import COCO
from pipeline.data.index import Shard
from pipeline.storage import store
from pipeline.storage.atomic import named_errors
from pipeline.storage.cache import NodeCache, is_full, is_of_the_disk

log = logging.getLogger(__name__)
FAR = 1e6
"""Pixels: further than any image reaches, and small enough for single precision."""
_warned: dict[str, object] = {}


@dataclass(frozen=True, eq=False)
class RawSample:
    """One image of a shard, not decoded."""

    image_id: int
    file_name: str
    width: int
    height: int
    annotations: tuple[dict[str, Any], ...]
    """COCO's, of people and crowds, without segmentations."""
    jpeg: bytes
    ignore_png: bytes | None
    """8 bit, 255 = ignored; None: nothing is ignored."""


def open_shard(folder: str, shard: Shard, cache: NodeCache | None = None, *, in_memory: bool = False) -> BinaryIO:
    """A shard verified by size and sha256, open for reading at its start. Leaves no file behind except in the cache.

    Args:
        folder: the split's folder.
        shard: from its index.
        cache: keeps remote shards on this node; not used where its disk is full or cannot be written.
        in_memory: without a cache, hold a remote shard in memory instead of in an unnamed temporary file.

    Raises:
        ValueError: its size or sha256 is not what the index says.
        FileNotFoundError, PermissionError, ConnectionError: as `store.fetch`.
    """
    url = store.join(folder, shard.name)
    file: BinaryIO
    if store.is_local(url):
        try:
            file = store.local_path(url).open("rb")
        except FileNotFoundError:
            raise FileNotFoundError(f"{url} is missing; its index lists it: run `lhrnet shard` again") from None
        size = os.fstat(file.fileno()).st_size
        if size != shard.bytes:
            raise ValueError(f"{url} has {size} bytes where {shard.bytes} were written: it was cut or changed")
        found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != shard.sha256:
            raise ValueError(f"{url} has sha256 {found[:12]} where {shard.sha256[:12]} was written: it was changed")
    elif cache is not None and (cached := _from_cache(cache, url, shard)):
        return cached
    else:
        file = io.BytesIO() if in_memory else tempfile.TemporaryFile()  # noqa: SIM115 - handed to the caller
        try:
            with named_errors(f"a temporary file in {tempfile.gettempdir()} (TMPDIR)"):
                store.fetch(url, file, sha256=shard.sha256, size=shard.bytes)
        except BaseException:
            file.close()
            raise
    file.seek(0)
    return file


def _from_cache(cache: NodeCache, url: str, shard: Shard) -> BinaryIO | None:
    """A shard from the cache; None where its disk is full or cannot be written, which must not end a run."""
    try:
        return cache.open(url, sha256=shard.sha256, size=shard.bytes)
    except OSError as error:
        if not is_of_the_disk(error):
            raise
        _warn_of_disk(str(cache.folder), error)
        return None


def _warn_of_disk(folder: str, error: OSError) -> None:
    me = object()
    if _warned.setdefault(folder, me) is not me:  # atomic: several threads find the same disk full at once
        return
    why = "is full" if is_full(error) else f"cannot be used ({error})"
    log.warning("the disk of the cache %s %s: shards are read without it; make room or set stream.cache", folder, why)


def read_shard(
    file: BinaryIO, url: str, image_ids: tuple[int, ...], keypoints: int = COCO.count
) -> Iterator[RawSample]:
    """Read every sample of an open shard.

    Args:
        file: the tar, at its start. Closed at the end.
        url: for messages.
        image_ids: what the index says it holds, in order.
        keypoints: of one person.

    Raises:
        ValueError: the tar does not parse, or an image is missing, extra, twice, or lacks a part.
    """
    from webdataset.tariterators import group_by_keys

    with file:
        groups = iter(group_by_keys(_members(file, url)))
        for number in itertools.count():
            try:
                group = next(groups, None)
            except (tarfile.TarError, ValueError, OSError, OverflowError, MemoryError, AssertionError) as error:
                said = error.args[0] if error.args else type(error).__name__
                raise ValueError(f"{url} does not read as a tar after {number} images: {said}") from error
            expected = image_ids[number] if number < len(image_ids) else None
            if group is None and expected is None:
                return
            if group is None:
                raise ValueError(f"{url} ends after {number} images; its index lists {len(image_ids)}")
            if group["__key__"] != (f"{expected:012d}" if expected is not None else None):
                raise ValueError(f"{url} holds {group['__key__']} at place {number} where its index lists {expected}")
            yield _sample(group, url, keypoints)


def _members(file: BinaryIO, url: str) -> Iterator[dict[str, Any]]:
    """A tar's members in WebDataset's form. Its own iterator takes twice as long, as it reads 10 kB at a time."""
    whole = file.seek(0, io.SEEK_END)
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for info in tar:
            # a negative size leads tarfile back to where it was, for ever; a size past the end asks for the memory
            if not 0 <= info.size <= whole - info.offset_data:
                raise ValueError(f"{info.name!r} says it has {info.size} bytes")
            file.seek(info.offset_data)
            yield {"fname": info.name, "data": file.read(info.size), "__url__": url}


def _sample(group: dict[str, Any], url: str, keypoints: int) -> RawSample:
    key = group["__key__"]
    missing = {"jpg", "json"} - set(group)
    if missing:
        raise ValueError(f"{url}: image {key} lacks its {' and '.join(sorted(missing))}")
    try:
        tree = json.loads(group["json"])
        sample = RawSample(
            int(tree["image_id"]),
            str(tree["file_name"]),
            int(tree["width"]),
            int(tree["height"]),
            tuple(_annotation(annotation, keypoints) for annotation in tree["annotations"]),
            group["jpg"],
            group.get("ignore.png"),
        )
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{url}: the JSON of image {key} is damaged: {error}") from error
    if sample.width < 1 or sample.height < 1:
        raise ValueError(f"{url}: the JSON of image {key} is damaged: its size is {sample.width}x{sample.height}")
    if sample.image_id != int(key):
        raise ValueError(f"{url}: the JSON of image {key} is that of image {sample.image_id}")
    return sample


def _annotation(annotation: dict[str, Any], keypoints: int) -> dict[str, Any]:
    """An annotation that has what training reads. Must be fast: it is called for every image of every epoch."""
    points, number = annotation["keypoints"], annotation["num_keypoints"]
    if len(points) != 3 * keypoints or not math.isfinite(sum(points)) or not isinstance(number, int):
        raise ValueError(f"an annotation without {keypoints} keypoints of three numbers and their count")
    if not -FAR < min(points) <= max(points) < FAR:
        raise ValueError(f"a keypoint more than {FAR:.0f} pixels away")
    if annotation["iscrowd"] not in (0, 1):
        raise ValueError(f"iscrowd is {annotation['iscrowd']!r}")
    return annotation
