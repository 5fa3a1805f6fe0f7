from pathlib import Path
from typing import Any

import pytest

from pipeline.data.index import Shard, ShardIndex, index_bytes, read_index, splits


def entry(name: str, ids: tuple[int, ...], **more: Any) -> Shard:
    count = len(ids)
    values = {"bytes": 10, "sha256": "0" * 64, "source": "", "annotations": (1,) * count, "keypoints": (2,) * count}
    return Shard(name=name, count=count, image_ids=ids, **{**values, **more})


def test_an_index_reads_back_as_it_was_written(tmp_path: Path) -> None:
    index = ShardIndex(
        dataset="d",
        split="train2017",
        annotation_sha256="a",
        truth_sha256="b",
        per_shard=2,
        images=3,
        annotations=3,
        keypoints=6,
        bytes=20,
        shards=(entry("a.tar", (3, 1)), entry("b.tar", (2,))),
    )
    (tmp_path / "index.json").write_bytes(index_bytes(index))
    assert read_index(str(tmp_path)) == index
    assert index.image_ids == (3, 1, 2)


def test_images_are_chosen_by_what_is_annotated() -> None:
    shard = entry("a", (1, 2, 3), annotations=(0, 1, 4), keypoints=(0, 0, 9))
    assert [shard.chosen(images) for images in ("all", "annotated", "labelled")] == [(1, 2, 3), (2, 3), (3,)]


def test_splits_finds_every_split_of_a_root_or_the_one_it_is(drawn_shards: Path, tmp_path: Path) -> None:
    root = str(drawn_shards)
    assert splits(root) == {name: f"{root}/{name}" for name in ("test-dev2017", "train2017", "val2017")}
    assert splits(f"{root}/val2017") == {"val2017": f"{root}/val2017"}
    with pytest.raises(FileNotFoundError, match="lhrnet shard"):
        splits(str(tmp_path))


@pytest.mark.parametrize("image_id", [-1, 2**63])
def test_an_id_that_training_cannot_hold_is_refused(image_id: int) -> None:
    with pytest.raises(ValueError, match="image_ids"):
        entry("a.tar", (image_id,))
