"""A split's images, each once and in the index's order: as they are stored, or decoded."""

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, BinaryIO

from lhrnet.image_file import Image, decode
from lhrnet.skeleton import COCO
from pipeline.data.index import Shard, ShardIndex, read_index
from pipeline.data.reader import RawSample, open_shard, read_shard
from pipeline.storage import store


@dataclass(frozen=True, eq=False)
class Sample:
    """One image for evaluation."""

    image: Image
    """(H, W, 3) RGB."""
    image_id: int
    file_name: str
    annotations: tuple[dict[str, Any], ...]
    width: int
    height: int


def read_samples(
    url: str, *, rank: int = 0, world: int = 1, index: ShardIndex | None = None, limit: int = 0
) -> Iterator[Sample]:
    """Every image of a split exactly once over all ranks, decoded, in the index's order.

    Args:
        url: the split's folder.
        rank: this reader, 0 to `world` - 1. A rank may get nothing where there are fewer images than ranks.
        world: readers.
        index: saves reading it again.
        limit: only the first `limit` images of the split; 0: all.

    Raises:
        ValueError, FileNotFoundError: a shard is damaged or missing; the message names it.
    """
    index = index or read_index(url)
    ids = index.image_ids[: limit or None]
    mine = set(ids[rank * len(ids) // world : (rank + 1) * len(ids) // world])
    return read_images(url, index.shards, mine, index.skeleton.count)


def read_images(
    url: str, shards: Sequence[Shard], wanted: AbstractSet[int], keypoints: int = COCO.count
) -> Iterator[Sample]:
    """Some images of some shards, decoded, in the shards' order.

    Args:
        url: the split's folder.
        shards: from its index. Those that hold no wanted image are not read; of the others every byte is.
        wanted: image ids.
        keypoints: of one person.

    Raises:
        ValueError, FileNotFoundError: a shard is damaged or missing, or an image does not decode; the message names
            the shard's URL and the image.
    """
    for place, raw in _read(url, shards, wanted, keypoints):
        try:
            image = decode(raw.jpeg, (raw.width, raw.height))
        except ValueError as error:
            raise ValueError(f"{place}: image {raw.image_id}: {error}") from error
        yield Sample(image, raw.image_id, raw.file_name, raw.annotations, raw.width, raw.height)


def read_raw_images(
    url: str, shards: Sequence[Shard], wanted: AbstractSet[int], keypoints: int = COCO.count
) -> Iterator[RawSample]:
    """As `read_images`, with the files' bytes in place of pixels."""
    return (raw for _, raw in _read(url, shards, wanted, keypoints))


def _read(
    url: str, shards: Sequence[Shard], wanted: AbstractSet[int], keypoints: int
) -> Iterator[tuple[str, RawSample]]:
    """Each wanted image with its shard's URL; while a shard is read, the next one is fetched."""
    holding = [shard for shard in shards if not wanted.isdisjoint(shard.image_ids)]
    following: Future[BinaryIO] | None = None
    with ThreadPoolExecutor(1) as pool:
        for shard, after in zip_longest(holding, holding[1:]):
            file = following.result() if following else open_shard(url, shard)
            following = pool.submit(open_shard, url, after) if after else None
            place = store.join(url, shard.name)
            for raw in read_shard(file, place, shard.image_ids, keypoints):
                if raw.image_id in wanted:
                    yield place, raw
