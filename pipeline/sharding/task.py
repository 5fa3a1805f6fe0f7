"""Write one shard: read its images, check them, and write a tar whose bytes depend on its input alone."""

import hashlib
import io
import json
from dataclasses import dataclass

import cv2
import numpy as np

from lhrnet.image_file import decode
from lhrnet.losses.loss_mask import loss_mask
from lhrnet.skeleton import COCO
from pipeline.data.decode import check_whole
from pipeline.data.index import LeftOut, Shard
from pipeline.sharding.annotations import ImageRecord, faults
from pipeline.storage import store
from pipeline.storage.archive import Member

QUICK_PNG = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_NONE, cv2.IMWRITE_PNG_COMPRESSION, 1]
"""Masks are read in every epoch: unfiltered PNGs decode five times faster and are a few hundred bytes larger."""


@dataclass(frozen=True)
class ShardTask:
    """What a worker on any machine needs to write one shard."""

    url: str
    """Of the tar."""
    records: tuple[ImageRecord, ...]
    members: tuple[Member | None, ...]
    """The image file of each record; None where the source has none."""
    refused: tuple[tuple[int, str], ...] = ()
    """(image id, reason) of records that are left out without a look at their image."""
    listed: Shard | None = None
    """The entry of the shard of this name in the index of an earlier run."""
    missing: tuple[tuple[int, str], ...] = ()
    """(image id, where it was looked for) of records without an image file."""
    keypoints: int = COCO.count
    """Of one object."""
    keep_listed: bool = False
    """Do not overwrite shards of the current index (dry run for `--strict`)."""

    @property
    def source(self) -> str:
        """Hash of the image files' names, of what is known of them without reading, and of what is refused."""
        lines = [f"{r.file_name} {m.stamp if m else None}" for r, m in zip(self.records, self.members, strict=True)]
        return hashlib.sha256("\n".join([*lines, *map(str, self.refused)]).encode()).hexdigest()

    @property
    def known(self) -> Shard | None:
        """The listed shard, if it was made of the same files and has them all: a bad image may be repaired by now."""
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
    pending: bool = False
    """It is missing or wrong and was not written (`keep_listed`). Neither written nor pending: it was right already."""


def make_shard(task: ShardTask) -> ShardResult:
    """Write one shard, unless the same bytes are there already. Nothing is removed.

    Raises:
        OSError: the source or the target cannot be reached.
    """
    if (known := task.known) and _stored(task.url) == (known.bytes, known.sha256):
        return ShardResult(known, ())
    good, left_out, data = _tar(task)
    if not good:
        return ShardResult(None, tuple(left_out))
    digest = hashlib.sha256(data).hexdigest()
    wrong, kept = _stored(task.url) != (len(data), digest), task.keep_listed and task.listed is not None
    if wrong and not kept:
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
    return ShardResult(shard, tuple(left_out), written=wrong and not kept, pending=wrong and kept)


def _tar(task: ShardTask) -> tuple[list[ImageRecord], list[LeftOut], bytes]:
    from webdataset import TarWriter

    buffer, refused, missing = io.BytesIO(), dict(task.refused), dict(task.missing)
    good, left_out = [], []
    tar = TarWriter(buffer, encoder=False, mtime=0, user="root", group="root")
    for record, member in zip(task.records, task.members, strict=True):
        reasons = [refused[record.image_id]] if record.image_id in refused else list(faults(record, task.keypoints))
        sample: dict[str, str | bytes] = {}
        if not reasons:
            try:
                if member is None:
                    where = missing.get(record.image_id, "")
                    raise FileNotFoundError(f"the image is listed but its file is not there{where and ': '}{where}")
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


def _sample(record: ImageRecord, member: Member) -> dict[str, str | bytes]:
    jpeg = member.read()
    check_whole(jpeg)
    decode(jpeg, (record.width, record.height))
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
    """Bytes and sha256 of the file at a URL; None where there is none, or its store reports it as damaged."""
    digest, count = hashlib.sha256(), 0
    try:
        for piece in store.stream(url):
            digest.update(piece)
            count += len(piece)
    except (FileNotFoundError, ValueError):
        return None
    return count, digest.hexdigest()
