import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lhrnet.coco import K
from pipeline.data.augment import AugmentConfig, prepare
from pipeline.data.index import read_index
from pipeline.data.loader import LaneReader
from pipeline.data.order import Cursor
from pipeline.data.reader import open_shard, read_shard
from pipeline.data.stream import Batch, StreamConfig, TrainStream
from pipeline.storage import store

LANES, BATCH, SIZE, SEED = 8, 8, 32, 5


def stream(
    url: Any, rank: int = 0, world: int = 1, *, seed: int = SEED, batch: int = BATCH, **config: Any
) -> TrainStream:
    return TrainStream(
        str(url),
        stream=StreamConfig(**{"lanes": LANES, "loader_workers": 0, "window": 6, **config}),
        augment=AugmentConfig(brightness=0.3),
        size=SIZE,
        global_batch=batch,
        rank=rank,
        world=world,
        seed=seed,
    )


def globally(
    url: Any, world: int, loaders: int, start: Cursor, steps: int, **config: Any
) -> tuple[list[dict[str, torch.Tensor]], list[Cursor]]:
    """The global batches that `world` ranks see together: rank r has the places r, r + world, ..."""
    ranks = [
        itertools.islice(stream(url, rank, world, loader_workers=loaders, **config).batches(start), steps)
        for rank in range(world)
    ]
    batches, cursors = [], []
    for parts in zip(*ranks, strict=True):
        assert len({part.cursor for part in parts}) == 1
        cursors.append(parts[0].cursor)
        batches.append(
            {
                name: torch.stack([getattr(part, name) for part in parts], 1).flatten(0, 1)
                for name in ("images", "joints", "mask", "image_ids")
            }
        )
    return batches, cursors


def same(one: list[dict[str, torch.Tensor]], other: list[dict[str, torch.Tensor]]) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a[name], b[name]) for a, b in zip(one, other, strict=True) for name in a
    )


@pytest.fixture(scope="module")
def uninterrupted(drawn_shards: Path) -> tuple[list[dict[str, torch.Tensor]], list[Cursor]]:
    """Two and a half epochs of one rank."""
    return globally(drawn_shards / "train2017", 1, 0, Cursor(), 14)


@given(st.sampled_from([1, 2, 4, 8]), st.integers(0, 10), st.data())
@settings(max_examples=12, deadline=None)
def test_any_number_of_ranks_resumes_anywhere_to_the_same_bytes(
    drawn_shards: Path,
    uninterrupted: tuple[list[dict[str, torch.Tensor]], list[Cursor]],
    world: int,
    skip: int,
    data: st.DataObject,
) -> None:
    batches, cursors = uninterrupted
    start = [Cursor(), *cursors][skip]
    steps = data.draw(st.integers(1, 14 - skip))
    resumed, after = globally(drawn_shards / "train2017", world, 0, start, steps)
    assert same(resumed, batches[skip : skip + steps])
    assert after == cursors[skip : skip + steps]


@pytest.mark.parametrize(("world", "loaders"), [(1, 1), (1, 2), (2, 2), (1, 4)])
def test_loader_processes_change_nothing(
    drawn_shards: Path, uninterrupted: tuple[list[dict[str, torch.Tensor]], list[Cursor]], world: int, loaders: int
) -> None:
    batches, cursors = uninterrupted
    resumed, after = globally(drawn_shards / "train2017", world, loaders, cursors[2], 6)
    assert same(resumed, batches[3:9])
    assert after == cursors[3:9]


def test_a_batch_that_loaders_do_not_divide_is_put_together_right(drawn_shards: Path) -> None:
    url = drawn_shards / "train2017"
    one, _ = globally(url, 1, 0, Cursor(), 9, batch=7)
    two, _ = globally(url, 1, 2, Cursor(), 9, batch=7)
    assert same(one, two)


def test_every_image_comes_once_an_epoch_and_epochs_meet_without_a_seam(drawn_shards: Path) -> None:
    url = drawn_shards / "train2017"
    counted = stream(url)
    labelled = [i for shard in read_index(str(url)).shards for i in shard.chosen("labelled")]
    assert counted.images == len(labelled)
    steps = -(-3 * counted.images // BATCH)
    batches, cursors = globally(url, 1, 0, Cursor(), steps)
    row = torch.cat([batch["image_ids"] for batch in batches]).tolist()
    for epoch in range(3):
        assert sorted(row[epoch * counted.images : (epoch + 1) * counted.images]) == sorted(labelled)
    assert cursors[counted.order.steps(0) - 1] == Cursor(1, 0)
    assert cursors == sorted(cursors)


def test_a_reader_holds_no_lanes_of_epochs_that_are_over(drawn_shards: Path) -> None:
    world = 4
    task = stream(drawn_shards / "train2017", 1, world, images="all").task
    assert task.order.images % world, "else each reader keeps its lanes, whatever the epoch"
    reader = LaneReader(task, 1)
    first: Any = None
    for position in range(1, 4 * task.order.images, world):
        reader.batch_slice([position])
        assert {epoch for epoch, _ in reader.lanes.values()} == {task.order.place(position)[0]}
        assert len(reader.lanes) <= LANES // world
        first = first or next(iter(reader.lanes.values()))
    assert first[1].gi_frame is None, "it is closed, and with it its shard"
    reader.pool.shutdown()


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_batch_is_what_it_says(drawn_shards: Path, epoch: int) -> None:
    url = drawn_shards / "train2017"
    batch: Batch = next(stream(url).batches(Cursor(epoch, 0)))
    assert (batch.images.shape, batch.images.dtype) == ((BATCH, 3, SIZE, SIZE), torch.uint8)
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert (batch.joints.shape, batch.joints.dtype) == ((BATCH, 30, K, 3), torch.float32)
    assert (batch.mask.shape, batch.mask.dtype) == ((BATCH, SIZE // 2, SIZE // 2), torch.uint8)
    assert (batch.image_ids.shape, batch.image_ids.dtype) == ((BATCH,), torch.int64)
    assert batch.cursor == Cursor(epoch, 1)
    raws = {
        raw.image_id: raw
        for shard in read_index(str(url)).shards
        for raw in read_shard(open_shard(str(url), shard), shard.name, shard.image_ids)
    }
    for i, image in enumerate(batch.image_ids.tolist()):
        raw = raws[image]
        ready = prepare(
            raw.jpeg,
            raw.ignore_png,
            raw.annotations,
            width=raw.width,
            height=raw.height,
            size=SIZE,
            config=AugmentConfig(brightness=0.3),
            key=(SEED, epoch, image),
        )
        assert torch.equal(batch.images[i].permute(1, 2, 0), torch.from_numpy(ready.image))
        assert torch.equal(batch.joints[i], torch.from_numpy(ready.joints))
        assert torch.equal(batch.mask[i], torch.from_numpy(ready.mask))


def test_which_images_are_trained_on_is_a_setting(coco_mini: Path, tmp_path: Path) -> None:
    from pipeline.sharding.plan import make_plans
    from pipeline.sharding.write import write_split

    (plan,) = make_plans(str(coco_mini), str(tmp_path), ["train2017"])
    write_split(plan)
    counts = {
        images: stream(tmp_path / "train2017", images=images).images for images in ("labelled", "annotated", "all")
    }
    assert counts["labelled"] == 28
    assert counts["all"] == 80
    assert 28 < counts["annotated"] < 80


@pytest.mark.stack
def test_the_stream_from_s3_is_the_stream_from_a_folder_with_and_without_cache(
    drawn_shards: Path,
    uninterrupted: tuple[list[dict[str, torch.Tensor]], list[Cursor]],
    s3: str,
    tmp_path: Path,
) -> None:
    for path in (drawn_shards / "train2017").iterdir():
        store.put_file(path, f"{s3}/{path.name}")
    plain, _ = globally(s3, 2, 0, Cursor(), 8)
    cached, _ = globally(s3, 2, 2, Cursor(), 8, cache=str(tmp_path / "cache"))
    assert same(plain, uninterrupted[0][:8])
    assert same(cached, uninterrupted[0][:8])
    held = {path.stem for path in (tmp_path / "cache").glob("*.tar")}
    assert held == {shard.sha256 for shard in read_index(s3).shards}


def test_resuming_opens_no_shard_that_is_done(
    drawn_shards: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: tuple[Any, list[Cursor]]
) -> None:
    opened: list[str] = []
    decoded: list[int] = []
    real_open, real_prepare = open_shard, prepare

    def counting_open(url: str, shard: Any, *more: Any, **options: Any) -> Any:
        opened.append(shard.name)
        return real_open(url, shard, *more, **options)

    def counting_prepare(*args: Any, **options: Any) -> Any:
        decoded.append(options["key"][2])
        return real_prepare(*args, **options)

    monkeypatch.setattr("pipeline.data.loader.open_shard", counting_open)
    monkeypatch.setattr("pipeline.data.loader.prepare", counting_prepare)
    counted = stream(drawn_shards / "train2017", lanes=1, window=1)
    per_epoch = counted.order.steps(0)
    batches = counted.batches(Cursor(0, per_epoch - 2))
    first = next(batches)
    assert sorted(decoded) == sorted(first.image_ids.tolist())
    assert len(set(opened)) < len(counted.task.shards) / 2


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"world": 3}, "lanes is 8, which 3 ranks"),
        ({"loader_workers": 5}, "do not divide"),
        ({"batch": 64}, "do not fill a global batch of 64"),
        ({"world": 8, "batch": 12}, "not a multiple of 8"),
        ({"lanes": 64, "world": 32, "batch": 32}, "15 shards are too few for 32 ranks"),
        ({"rank": 2, "world": 2}, "rank 2"),
    ],
)
def test_a_stream_that_cannot_be_equal_is_refused_before_it_starts(
    drawn_shards: Path, wrong: dict[str, Any], word: str
) -> None:
    with pytest.raises(ValueError, match=word):
        stream(drawn_shards / "train2017", **wrong)


def test_a_split_without_labels_cannot_be_trained_on(drawn_shards: Path) -> None:
    with pytest.raises(ValueError, match="no labelled images"):
        stream(drawn_shards / "test-dev2017")
