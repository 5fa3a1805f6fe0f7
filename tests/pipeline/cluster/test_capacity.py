"""No search starts that could wait for ever: what fits is reckoned for the worst places that drivers could take."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cluster.capacity import DRIVER_CPUS, may_grow, slots, trials_at_once, with_growth


def test_drivers_cost_a_full_node_a_worker_and_one_with_room_to_spare_none() -> None:
    assert slots([{"CPU": 4}], cpus=1, gpus=0) == 4
    assert slots([{"CPU": 4}], cpus=1, gpus=0, drivers=1) == 3
    assert slots([{"CPU": 4.5}], cpus=1, gpus=0, drivers=10) == 4
    assert slots([{"CPU": 16, "GPU": 1}] * 8, cpus=9, gpus=1, drivers=8) == 8
    assert slots([{"CPU": 9, "GPU": 1}] * 8, cpus=9, gpus=1, drivers=3) == 5


def test_a_node_without_a_gpu_has_no_place_for_a_worker_that_wants_one() -> None:
    assert slots([{"CPU": 64}, {"CPU": 16, "GPU": 2}], cpus=4, gpus=1) == 2


def test_nodes_that_an_autoscaler_may_bring_count_and_others_do_not() -> None:
    head, worker = {"CPU": 0.0}, {"CPU": 16.0, "GPU": 1.0}
    grown = with_growth([head, worker], [(worker, 8), ({"CPU": 2.0}, 0)])
    assert trials_at_once(grown, workers=1, cpus=9, gpus=1, trials=20) == 8
    assert with_growth([head, worker], []) == [head, worker]
    assert with_growth([worker] * 3, [(worker, 2)]) == [worker] * 3


@settings(max_examples=150, deadline=None)
@given(
    cpus=st.lists(st.integers(1, 8), min_size=1, max_size=3),
    each=st.sampled_from([0.5, 1.0, 2.0, 3.0]),
    drivers=st.integers(0, 4),
)
def test_wherever_drivers_are_put_at_least_so_many_workers_fit(cpus: list[int], each: float, drivers: int) -> None:
    nodes = [{"CPU": float(count)} for count in cpus]
    reckoned = slots(nodes, cpus=each, gpus=0, drivers=drivers)
    for places in itertools.product(range(len(nodes)), repeat=drivers):
        left = [count - DRIVER_CPUS * places.count(i) for i, count in enumerate(cpus)]
        assert reckoned <= sum(int((room + 1e-6) / each) for room in left)


@pytest.mark.parametrize(
    ("nodes", "workers", "gpus", "at_once"),
    [
        ([{"CPU": 4}], 1, 0, 3),
        ([{"CPU": 4}], 2, 0, 1),
        ([{"CPU": 0}, *[{"CPU": 16, "GPU": 1}] * 8], 2, 1, 4),
        ([{"CPU": 0}, *[{"CPU": 16, "GPU": 1}] * 8], 8, 1, 1),
    ],
)
def test_as_many_run_at_once_as_fit(nodes: Sequence[dict[str, float]], workers: int, gpus: int, at_once: int) -> None:
    assert trials_at_once(nodes, workers=workers, cpus=9 if gpus else 1, gpus=gpus, trials=20) == at_once


def test_no_more_run_at_once_than_there_are_or_are_asked_for() -> None:
    assert trials_at_once([{"CPU": 64}], workers=1, cpus=1, gpus=0, trials=4) == 4
    assert trials_at_once([{"CPU": 64}], workers=1, cpus=1, gpus=0, trials=9, wanted=2) == 2
    assert trials_at_once([{"CPU": 4.5}], workers=1, cpus=1, gpus=0, trials=4, wanted=5) == 4


def test_a_trial_that_never_fits_is_told_with_the_numbers() -> None:
    with pytest.raises(
        ValueError, match=r"no trial fits: a trial takes 4 workers of 1 CPU and 0\.01 CPU for itself"
    ) as no:
        trials_at_once([{"CPU": 4.0}], workers=4, cpus=1, gpus=0)
    assert "the cluster (1 node of 4 CPU) has room for 3 such workers beside it" in str(no.value)


def test_more_at_once_than_fit_is_told_with_the_number_that_does() -> None:
    with pytest.raises(ValueError, match=r"search\.max_concurrent is 4 and 1 fit at once.*set it to 1 or to 0"):
        trials_at_once([{"CPU": 4}], workers=2, cpus=1, gpus=0, wanted=4, trials=9)


@pytest.mark.parametrize(
    ("present", "workers", "wanted", "at_once"),
    [
        ([], 1, 0, 1),
        ([], 8, 3, 3),
        ([{"CPU": 16, "GPU": 1}], 1, 4, 4),
        ([{"CPU": 16, "GPU": 1}], 2, 0, 1),
        ([{"CPU": 16, "GPU": 1}] * 3, 1, 0, 3),
        ([{"CPU": 16, "GPU": 1}] * 3, 1, 2, 2),
    ],
)
def test_a_cluster_whose_head_takes_no_work_is_asked_for_what_it_does_not_have_yet(
    present: Sequence[dict[str, float]], workers: int, wanted: int, at_once: int, caplog: pytest.LogCaptureFixture
) -> None:
    nodes = [{"CPU": 0.0}, *present]
    assert trials_at_once(nodes, workers=workers, cpus=9, gpus=1, wanted=wanted, trials=9) == at_once
    short = at_once * workers > len(present)
    assert ("waiting for the cluster to bring" in caplog.text) == short


def test_nodes_too_small_for_a_worker_are_no_reason_to_wait_for_more_of_them() -> None:
    small = [{"CPU": 0.0}, {"CPU": 4.0}]
    assert not may_grow(small, cpus=9, gpus=0)
    assert may_grow(small, cpus=2, gpus=0)
    assert not may_grow(small[1:], cpus=2, gpus=0)
    with pytest.raises(ValueError, match="no trial fits"):
        trials_at_once(small, workers=1, cpus=9, gpus=0, wanted=2)
