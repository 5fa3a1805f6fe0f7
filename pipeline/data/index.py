"""What a split's folder of shards holds: the index, and the ground truth for scoring.

    <root>/<split>/index.json              counts, bytes, sha256 and image ids of everything else here; written last
    <root>/<split>/annotations.json.gz     the split's annotations in COCO's form, without segmentations
    <root>/<split>/<split>-<hash>-<number>.tar

A tar holds, for each image, `<id:012d>.jpg` (the source's own bytes), `<id:012d>.json` (image id, file_name, width,
height, annotations) and, where something is ignored, `<id:012d>.ignore.png` (8 bit, 255 = ignored).
"""

import gzip
import hashlib
import json
import zlib
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from lhrnet.skeleton import COCO, Skeleton
from pipeline.data.truth_tree import check_truth
from pipeline.storage import store

INDEX = "index.json"
TRUTH = "annotations.json.gz"
FORMAT = 1
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$"
"""A split's or shard's name: becomes a part of file names, and so may not lead to another folder."""
PRINTABLE = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""No control characters: they would reach the terminal of whoever prints it."""
TRUTH_BYTES, TRUTH_BYTES_EACH = 1 << 20, 1 << 14
"""Bytes that the ground truth unpacks to, at most: so many, and so many for each image and annotation."""

ImageId = Annotated[int, Field(ge=0, lt=1 << 63)]
Count = Annotated[int, Field(ge=0)]


Images = Literal["labelled", "annotated", "all"]
"""Which images: those with a labelled keypoint, those with an annotated person, or all."""


class Shard(BaseModel):
    """One tar."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=NAME)
    count: int = Field(ge=1)
    """Images."""
    bytes: int = Field(ge=1)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    source: str
    """Hash of the source files' names and sizes (and checksums, where they are in a zip): shows a later run whether the
    source changed."""
    image_ids: tuple[ImageId, ...]
    """In the tar's order."""
    annotations: tuple[Count, ...]
    """People and crowds annotated, by image."""
    keypoints: tuple[Count, ...]
    """Labelled keypoints, by image."""

    @model_validator(mode="after")
    def _agrees(self) -> "Shard":
        lengths = {len(self.image_ids), len(self.annotations), len(self.keypoints)}
        if lengths != {self.count}:
            raise ValueError(f"shard {self.name} counts {self.count} images and lists {sorted(lengths)}")
        return self

    def chosen(self, images: Images) -> tuple[int, ...]:
        """The ids of these images, in the tar's order."""
        counts = {"labelled": self.keypoints, "annotated": self.annotations, "all": (1,) * self.count}[images]
        return tuple(image for image, count in zip(self.image_ids, counts, strict=True) if count)


class LeftOut(BaseModel):
    """An image of the source that is in no shard, and why."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    image_id: int
    file_name: str = Field(pattern=PRINTABLE)
    reason: str = Field(pattern=PRINTABLE)


class ShardIndex(BaseModel):
    """A split's index. Frozen; its counts and sums are checked when it is built."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = FORMAT
    dataset: str = Field(pattern=PRINTABLE)
    split: str = Field(pattern=NAME)
    """Becomes a part of file names, so it chooses no folder."""
    annotation_sha256: str
    """Of the source's annotation file."""
    truth_sha256: str
    """Of `annotations.json.gz`."""
    skeleton: Skeleton = COCO
    """Which keypoints the annotations have; COCO's stand in no file."""
    per_shard: int = Field(ge=1)
    """Maximum images per shard."""
    images: int = Field(ge=1)
    annotations: int
    keypoints: int
    bytes: int
    """Of all shards."""
    shards: tuple[Shard, ...]
    left_out: tuple[LeftOut, ...] = ()

    @model_validator(mode="after")
    def _agrees(self) -> "ShardIndex":
        for key, parts in {
            "images": [shard.count for shard in self.shards],
            "bytes": [shard.bytes for shard in self.shards],
            "annotations": [sum(shard.annotations) for shard in self.shards],
            "keypoints": [sum(shard.keypoints) for shard in self.shards],
        }.items():
            if sum(parts) != getattr(self, key):
                raise ValueError(f"{key} is {getattr(self, key)} and the shards sum to {sum(parts)}")
        if len({shard.name for shard in self.shards}) != len(self.shards):
            raise ValueError("two shards have the same name")
        if len(set(self.image_ids)) != self.images:
            raise ValueError("an image id is listed twice")
        return self

    @cached_property
    def image_ids(self) -> tuple[int, ...]:
        """Every image's id, in the order of the shards."""
        return tuple(image for shard in self.shards for image in shard.image_ids)


def index_bytes(index: ShardIndex) -> bytes:
    """The index file: the same index gives the same bytes."""
    tree = index.model_dump(mode="json")
    if index.skeleton == COCO:
        del tree["skeleton"]
    return (json.dumps(tree, separators=(",", ":")) + "\n").encode()


def read_index(url: str) -> ShardIndex:
    """Read the index of a split's folder.

    Raises:
        FileNotFoundError: there is no index; sharding did not finish there.
        ValueError: it is no index of this format, or contradicts itself.
    """
    place = store.join(url, INDEX)
    try:
        data = store.read_bytes(place)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; {url} holds no finished shards: run `lhrnet shard SOURCE TARGET`") from error
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{place} is not JSON ({error}); write it again with `lhrnet shard`") from error
    version = tree.get("format_version") if isinstance(tree, dict) else None
    if version != FORMAT:
        raise ValueError(f"{place} has format_version {version!r}, this program reads {FORMAT}; shard the data again")
    try:
        return ShardIndex.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{place} is damaged: {f'{key}: ' if key else ''}{first['msg']}; shard again") from error


def splits(url: str) -> dict[str, str]:
    """The URL of each split that `url` holds, or is: `{name: url}`.

    Raises:
        FileNotFoundError: neither an index nor folders with one are there.
    """
    if store.exists(store.join(url, INDEX)):
        return {read_index(url).split: url}
    found = [path for path in store.listing(url) if path.endswith(f"/{INDEX}") and path.count("/") == 1]
    if not found:
        raise FileNotFoundError(f"{url} holds no {INDEX}, and no folder with one: run `lhrnet shard SOURCE {url}`")
    return {path.split("/")[0]: store.join(url, path.split("/")[0]) for path in found}


def unfinished(url: str) -> list[str]:
    """The URLs of folders below `url` that hold shards and no index: sharding did not finish, or the index was lost."""
    if store.scheme(url) not in ("file", "s3"):
        return []
    found = [path.split("/") for path in store.listing(url) if path.count("/") == 1]
    finished = {folder for folder, name in found if name == INDEX}
    begun = {folder for folder, name in found if name.startswith(f"{folder}-") and name.endswith(".tar")}
    return [store.join(url, folder) for folder in sorted(begun - finished)]


def truth_bytes(tree: dict[str, Any]) -> bytes:
    """The ground truth as a file: the same tree gives the same bytes."""
    return gzip.compress(json.dumps(tree, separators=(",", ":")).encode(), compresslevel=6, mtime=0)


def truth(url: str, index: ShardIndex | None = None) -> dict[str, Any]:
    """The split's ground truth as COCO's tree (images, annotations, categories), without segmentations.

    Raises:
        FileNotFoundError: there is no index or no ground truth.
        ValueError: the ground truth is not the one that the index was written with.
    """
    index = index or read_index(url)
    place = store.join(url, TRUTH)
    data = store.read_bytes(place)
    found = hashlib.sha256(data).hexdigest()
    if found != index.truth_sha256:
        raise ValueError(f"{place} has sha256 {found[:12]}, its index says {index.truth_sha256[:12]}: it was changed")
    limit = TRUTH_BYTES + TRUTH_BYTES_EACH * (index.images + index.annotations)
    try:
        unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)
        content = unpacker.decompress(data, limit + 1)
        if len(content) > limit or not unpacker.eof:
            raise ValueError(f"it is cut, or unpacks to more than {limit:,} bytes")
        return check_truth(json.loads(content))
    except (zlib.error, ValueError, RecursionError) as error:
        raise ValueError(f"{place} is no ground truth: {error}; shard again") from error
