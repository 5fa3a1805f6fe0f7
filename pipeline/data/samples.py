"""A split's images for evaluation: every image exactly once, in the index's order."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.data.decode import decode
from pipeline.data.index import ShardIndex, read_index
from pipeline.data.reader import RawSample, open_shard, read_shard
from pipeline.storage import store


@dataclass(frozen=True, eq=False)
class Sample:
    """One image for evaluation."""

    image: NDArray[np.uint8]
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
        limit: only the first so many images of the split; 0: all.

    Raises:
        ValueError, FileNotFoundError: a shard is damaged or missing; the message names it.
    """
    index = index or read_index(url)
    ids = index.image_ids[: limit or None]
    mine = set(ids[rank * len(ids) // world : (rank + 1) * len(ids) // world])
    shards = [shard for shard in index.shards if mine.intersection(shard.image_ids)]
    with ThreadPoolExecutor(1) as pool:
        ahead = [pool.submit(open_shard, url, shard) for shard in shards[:1]]
        for number, shard in enumerate(shards):
            file = ahead.pop().result()
            if number + 1 < len(shards):
                ahead.append(pool.submit(open_shard, url, shards[number + 1]))
            place = store.join(url, shard.name)
            for raw in read_shard(file, place, shard.image_ids):
                if raw.image_id in mine:
                    yield _decoded(raw, place)


def _decoded(raw: RawSample, place: str) -> Sample:
    try:
        image = decode(raw.jpeg)
    except ValueError as error:
        raise ValueError(f"{place}: image {raw.image_id}: {error}") from error
    return Sample(image, raw.image_id, raw.file_name, raw.annotations, raw.width, raw.height)
