"""Write one shard: read its images, check them, put them into a tar of deterministic bytes."""

import hashlib
import io
import json
from dataclasses import dataclass

import cv2
import numpy as np

from lhrnet.losses.loss_mask import loss_mask
from pipeline.data.decode import check_whole, decode
from pipeline.data.index import LeftOut, Shard
from pipeline.sharding.annotations import Record, faults
from pipeline.storage import store
from pipeline.storage.archive import Member

QUICK_PNG = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, 1]
"""Masks are read in every epoch: unfiltered they decode five times faster, for a few hundred bytes more."""


@dataclass(frozen=True)
class ShardTask:
    """All that is needed to write one shard, on whichever machine."""

    url: str
    """Of the tar."""
    records: tuple[Record, ...]
    members: tuple[Member | None, ...]
    """The image file of each record; None where the source has none."""
    refused: tuple[tuple[int, str], ...] = ()
    """(image id, reason) of records that stay out, whatever their image is like."""
    listed: Shard | None = None
    """What the index of an earlier run says of the shard of this name."""
    spare: bool = False
    """Leave what is listed as it lies, even if it is wrong: the run may yet be refused."""

    @property
    def source(self) -> str:
        """Hash over the names of the image files, what is known of them unread, and what is refused."""
        lines = [f"{r.file_name} {m.stamp if m else None}" for r, m in zip(self.records, self.members, strict=True)]
        return hashlib.sha256("\n".join([*lines, *map(str, self.refused)]).encode()).hexdigest()

    @property
    def known(self) -> Shard | None:
        """What is listed, if it was made of the same files and none was left out: a bad one may have been mended."""
        ids = tuple(record.image_id for record in self.records)
        same = self.listed is not None and (self.listed.source, self.listed.image_ids) == (self.source, ids)
        return self.listed if same else None


@dataclass(frozen=True)
class ShardResult:
    """What a task did."""

    shard: Shard | None
    """None where no image was good."""
    left_out: tuple[LeftOut, ...]
    written: bool = False
    due: bool = False
    """It is missing or wrong and was spared; neither written nor due: it was there already, right in every byte."""


def make_shard(task: ShardTask) -> ShardResult:
    """Write one shard, unless the very bytes are there already. Nothing is removed.

    Raises:
        OSError: the source or the target cannot be reached.
    """
    if (known := task.known) and _stored(task.url) == (known.bytes, known.sha256):
        return ShardResult(known, ())
    good, left_out, data = _tar(task)
    if not good:
        return ShardResult(None, tuple(left_out))
    digest = hashlib.sha256(data).hexdigest()
    wrong, spared = _stored(task.url) != (len(data), digest), task.spare and task.listed is not None
    if wrong and not spared:
        store.write_bytes(task.url, data)
    shard = Shard(
        name=task.url.rsplit("/", 1)[-1],
        count=len(good),
        bytes=len(data),
        sha256=digest,
        source=task.source,
        image_ids=tuple(record.image_id for record in good),
        annotations=tuple(len(record.annotations) for record in good),
        keypoints=tuple(record.keypoints for record in good),
    )
    return ShardResult(shard, tuple(left_out), written=wrong and not spared, due=wrong and spared)


def _tar(task: ShardTask) -> tuple[list[Record], list[LeftOut], bytes]:
    from webdataset import TarWriter

    buffer, refused = io.BytesIO(), dict(task.refused)
    good, left_out = [], []
    tar = TarWriter(buffer, encoder=False, mtime=0, user="root", group="root")
    for record, member in zip(task.records, task.members, strict=True):
        reasons = [refused[record.image_id]] if record.image_id in refused else list(faults(record))
        sample: dict[str, str | bytes] = {}
        if not reasons:
            try:
                sample = _sample(record, member)
            except (ValueError, FileNotFoundError) as error:
                reasons = [str(error)]
        if reasons:
            reason = "; ".join(reasons)
            left_out.append(LeftOut(image_id=record.image_id, file_name=record.file_name, reason=reason))
        else:
            tar.write(sample)
            good.append(record)
    tar.close()
    return good, left_out, buffer.getvalue()


def _sample(record: Record, member: Member | None) -> dict[str, str | bytes]:
    if member is None:
        raise FileNotFoundError("the image is listed but its file is not there")
    jpeg = member.read()
    check_whole(jpeg)
    height, width = decode(jpeg).shape[:2]
    if (width, height) != (record.width, record.height):
        raise ValueError(f"the image is {width}x{height} and its annotation says {record.width}x{record.height}")
    tree = {
        "image_id": record.image_id,
        "file_name": record.file_name,
        "width": record.width,
        "height": record.height,
        "annotations": record.kept(),
    }
    sample: dict[str, str | bytes] = {
        "__key__": f"{record.image_id:012d}",
        "jpg": jpeg,
        "json": json.dumps(tree, separators=(",", ":"), sort_keys=True).encode(),
    }
    ignored = ~loss_mask(record.annotations, record.height, record.width)
    if ignored.any():
        sample["ignore.png"] = cv2.imencode(".png", ignored.astype(np.uint8) * 255, QUICK_PNG)[1].tobytes()
    return sample


def _stored(url: str) -> tuple[int, str] | None:
    """Bytes and sha256 of what lies under a URL; None where nothing does, or nothing that its store vouches for."""
    digest, count = hashlib.sha256(), 0
    try:
        for piece in store.stream(url):
            digest.update(piece)
            count += len(piece)
    except (FileNotFoundError, ValueError):
        return None
    return count, digest.hexdigest()
