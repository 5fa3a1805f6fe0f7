"""Reading a split's images: each once, from the shards that hold them, decoded or as they are stored."""

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from lhrnet.image_file import decode
from pipeline.data import samples as module
from pipeline.data.index import Shard, read_index
from pipeline.data.reader import open_shard
from pipeline.data.samples import read_images, read_raw_images, read_samples


def test_evaluation_sees_every_image_once_over_any_number_of_ranks(drawn_shards: Path) -> None:
    url = str(drawn_shards / "val2017")
    ids = read_index(url).image_ids
    for world in (1, 2, 3, 7, 25):
        parts = [[sample.image_id for sample in read_samples(url, rank=rank, world=world)] for rank in range(world)]
        assert tuple(itertools.chain(*parts)) == ids
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert [sample.image_id for sample in read_samples(url, limit=5)] == list(ids[:5])


def test_evaluations_samples_are_whole(drawn_shards: Path) -> None:
    for split, people in (("val2017", True), ("test-dev2017", False)):
        samples = list(read_samples(str(drawn_shards / split)))
        assert all(sample.image.shape == (sample.height, sample.width, 3) for sample in samples)
        assert any(sample.annotations for sample in samples) == people
        assert Counter(sample.file_name for sample in samples) == Counter(f"{s.image_id:012d}.jpg" for s in samples)


def test_only_the_shards_that_hold_a_wanted_image_are_opened(
    drawn_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(drawn_shards / "val2017")
    shards = read_index(url).shards
    opened: list[str] = []

    def counted(folder: str, shard: Shard) -> BinaryIO:
        opened.append(shard.name)
        return open_shard(folder, shard)

    monkeypatch.setattr(module, "open_shard", counted)
    wanted = {shards[1].image_ids[0], shards[4].image_ids[-1]}
    assert [sample.image_id for sample in read_images(url, shards, wanted)] == sorted(wanted, key=_place(shards))
    assert opened == [shards[1].name, shards[4].name]
    assert not list(read_images(url, shards, set()))
    assert len(opened) == 2


def _place(shards: tuple[Shard, ...]) -> Callable[[int], int]:
    return [image_id for shard in shards for image_id in shard.image_ids].index


def test_raw_images_are_the_same_images_as_they_are_stored(drawn_shards: Path) -> None:
    url = str(drawn_shards / "train2017")
    shards = read_index(url).shards[:3]
    wanted = {image_id for shard in shards for image_id in shard.image_ids[:2]}
    pairs = zip(read_raw_images(url, shards, wanted), read_images(url, shards, wanted), strict=True)
    for raw, sample in pairs:
        assert raw.image_id == sample.image_id
        assert raw.annotations == sample.annotations
        assert np.array_equal(decode(raw.jpeg), sample.image)
