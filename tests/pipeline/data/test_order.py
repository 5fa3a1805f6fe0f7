from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.order import Cursor, Order, check_divisible

LANES = 12


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Any small split: uneven shards, any batch that 12 ranks divide, any window."""
    counts = draw(st.lists(st.integers(1, 17), min_size=3, max_size=12).filter(lambda counts: sum(counts) >= 12))
    numbers = iter(range(1000, 10_000))
    ids = tuple(tuple(next(numbers) for _ in range(count)) for count in counts)
    batch = 12 * draw(st.integers(1, sum(counts) // 12))
    return Order(ids, LANES, draw(st.integers(1, 40)), batch, draw(st.integers(0, 2**32)))


def image(order: Order, position: int) -> int:
    epoch, lane, place = order.place(position)
    return int(order.lane(epoch, lane).drawn()[place])


def drawn(order: Order, epochs: int = 1) -> list[int]:
    return [image(order, position) for position in range(epochs * order.images)]


@given(orders())
@settings(max_examples=60, deadline=None)
def test_every_image_comes_exactly_once_an_epoch(order: Order) -> None:
    ids = sorted(i for shard in order.ids for i in shard)
    row = drawn(order, 3)
    for epoch in range(3):
        assert sorted(row[epoch * order.images : (epoch + 1) * order.images]) == ids


@given(orders())
@settings(max_examples=40, deadline=None)
def test_a_lane_belongs_to_one_rank_and_one_loader_through_an_epoch(order: Order) -> None:
    for world, loaders in [(1, 1), (2, 1), (2, 2), (3, 2), (3, 4), (12, 1)]:
        owner: dict[tuple[int, int], tuple[int, int]] = {}
        for position in range(2 * order.images):
            epoch, lane, _ = order.place(position)
            mine = position % world, position // world % loaders
            assert owner.setdefault((epoch, lane), mine) == mine
        shares = Counter(owner.values())
        assert len(shares) == world * loaders or order.images < LANES


@given(orders(), st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_a_lane_is_drawn_in_the_order_of_its_places(order: Order, epoch: int) -> None:
    seen: Counter[int] = Counter()
    for position in range(epoch * order.images, (epoch + 1) * order.images):
        _, lane, place = order.place(position)
        assert place == seen[lane]
        seen[lane] += 1
    assert {lane: len(order.lane(epoch, lane).ids) for lane in range(LANES)} == {i: seen[i] for i in range(LANES)}


@given(orders(), st.integers(0, 3), st.integers(0, LANES - 1), st.data())
@settings(max_examples=60, deadline=None)
def test_a_reader_holds_no_more_than_the_window(order: Order, epoch: int, lane: int, data: st.DataObject) -> None:
    chosen = order.lane(epoch, lane)
    count = len(chosen.ids)
    start = data.draw(st.integers(0, count))
    read = most = 0
    for place in range(start, count):
        while read <= chosen.draws[place]:
            read += 1
        most = max(most, read - sum(1 for i in chosen.draws[: place + 1] if i < read))
    assert most <= order.window


@given(orders(), st.integers(0, 3), st.integers(0, LANES - 1), st.data())
@settings(max_examples=60, deadline=None)
def test_a_resumed_lane_reads_exactly_the_shards_of_images_still_to_come(
    order: Order, epoch: int, lane: int, data: st.DataObject
) -> None:
    chosen = order.lane(epoch, lane)
    start = data.draw(st.integers(0, len(chosen.ids)))
    coming = set(chosen.drawn()[start:].tolist())
    readings = chosen.readings(start)
    assert [i for _, wanted in readings for i in wanted if i not in coming] == []
    assert sum(len(wanted) for _, wanted in readings) == len(coming)
    for shard, wanted in readings:
        assert wanted == coming & set(order.ids[shard])
    in_lane = list(dict.fromkeys(chosen.shards.tolist()))
    assert [shard for shard, _ in readings] == [shard for shard in in_lane if set(order.ids[shard]) & coming]


@given(orders(), st.integers(0, 200))
@settings(max_examples=60, deadline=None)
def test_cursors_and_batches_are_two_names_of_one_thing(order: Order, batch: int) -> None:
    cursor = order.cursor(batch)
    assert order.batch(cursor) == batch
    assert 0 <= cursor.step < order.steps(cursor.epoch)
    assert order.images // order.global_batch <= order.steps(cursor.epoch) <= -(-order.images // order.global_batch)
    position = batch * order.global_batch
    assert position // order.images == cursor.epoch


def test_the_order_is_this_one_for_ever() -> None:
    order = Order(((1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11)), 2, 4, 2, seed=7)
    assert drawn(order) == [2, 4, 1, 5, 3, 6, 9, 11, 7, 10, 8]


def test_seed_and_epoch_change_the_order() -> None:
    ids = tuple(tuple(range(10 * shard, 10 * shard + 10)) for shard in range(20))
    one, other = (Order(ids, 4, 16, 8, seed) for seed in (1, 2))
    row = drawn(one, 2)
    assert row[:200] != drawn(other)
    assert row[:200] != row[200:]
    assert row[:200] == drawn(Order(ids, 4, 16, 8, 1))


def test_neighbours_in_a_shard_do_not_stay_neighbours() -> None:
    ids = tuple(tuple(range(100 * shard, 100 * shard + 100)) for shard in range(20))
    row = np.array(drawn(Order(ids, 4, 128, 16, 0)))
    assert np.mean(np.abs(np.diff(row)) == 1) < 0.02


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"world": 3}, "lanes is 16, which 3 ranks x 2 loader workers do not divide"),
        ({"loaders": 3}, "do not divide"),
        ({"world": 8, "global_batch": 20}, "20 is not a multiple of 8 ranks"),
        ({"shards": 3}, "3 shards are too few for 2 ranks x 2 loader workers"),
        ({"world": 16, "loaders": 2, "global_batch": 16}, "do not divide"),
    ],
)
def test_a_division_that_cannot_be_equal_is_refused(wrong: dict[str, int], word: str) -> None:
    good = {"lanes": 16, "shards": 40, "global_batch": 20, "world": 2, "loaders": 2}
    check_divisible(**good)
    with pytest.raises(ValueError, match=word):
        check_divisible(**{**good, **wrong})


def test_fewer_images_than_a_batch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"3 images .* batch of 4"):
        Order(((1, 2, 3),), 4, 4, 4, 0)


def test_a_cursor_is_never_negative() -> None:
    with pytest.raises(ValueError, match="cursor -1, 0"):
        Cursor(-1, 0)
