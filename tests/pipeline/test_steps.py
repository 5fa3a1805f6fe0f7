"""A step's parts: clocks, compiling that is asked for, batches on their way to the device."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from pipeline.feed import feed
from pipeline.steps import check_compiled, gathered_statistics, timed
from pipeline.stopwatch import Stopwatch

CPU = torch.device("cpu")


def test_compiling_that_was_asked_for_and_is_off_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(counters, "stats", {})
    with pytest.raises(RuntimeError, match=r"torch\.compile compiled nothing; set train\.compile=false"):
        check_compiled()
    monkeypatch.setitem(counters, "stats", {"unique_graphs": 1})
    check_compiled()


def test_the_parts_of_a_step_are_told_apart() -> None:
    stopwatch = Stopwatch(CPU)
    for _ in range(2):
        stopwatch.waited(0.5)
        stopwatch.start()
        time.sleep(0.02)
        stopwatch._sent = stopwatch._now()  # the last gradients go out
        time.sleep(0.04)
        stopwatch.backward_done()
        stopwatch.stop()
    parts = stopwatch.take()
    assert parts["time/data_wait"] == pytest.approx(0.5)
    assert 0.02 <= parts["time/forward_backward"] < 0.04
    assert parts["time/communication"] >= 0.04
    assert parts["time/update"] < 0.02
    assert stopwatch.take() == {}


def test_alone_nothing_is_communicated() -> None:
    stopwatch = Stopwatch(CPU)
    stopwatch.start()
    stopwatch.backward_done()
    stopwatch.stop()
    assert stopwatch.take()["time/communication"] == 0


def test_waiting_for_a_batch_is_noted() -> None:
    def slow() -> Any:
        while True:
            time.sleep(0.03)
            yield SimpleNamespace()

    stopwatch = Stopwatch(CPU)
    next(timed(slow(), stopwatch))
    assert stopwatch._wait >= 0.03


def test_on_the_cpu_batches_are_passed_on_as_they_are() -> None:
    batches = [SimpleNamespace(n=1), SimpleNamespace(n=2)]
    assert list(feed(iter(batches), CPU)) == batches  # type: ignore[arg-type]


@pytest.mark.gpu
def test_on_a_gpu_batches_arrive_in_order_on_the_device() -> None:
    from pipeline.order import Cursor
    from pipeline.stream import Batch

    def batches() -> Any:
        for n in range(5):
            images = torch.full((2, 3, 8, 8), n, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
            yield Batch(images, torch.zeros(2, 30, 17, 3), torch.ones(2, 4, 4), torch.arange(2), Cursor(0, n))
        raise ValueError("the shard is damaged")

    arrived = feed(batches(), torch.device("cuda"))
    for n in range(5):
        batch = next(arrived)
        assert batch.images.is_cuda
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert (batch.images == n).all()
    with pytest.raises(ValueError, match="damaged"):
        next(arrived)


def test_gathered_statistics_are_the_networks_own() -> None:
    first = torch.nn.BatchNorm1d(3)
    network = torch.nn.Sequential(first, torch.nn.Sequential(torch.nn.BatchNorm1d(2)))
    assert first.running_mean is not None
    first.running_mean.copy_(torch.tensor([1.0, 2.0, 3.0]))
    whole = gathered_statistics(network)
    assert whole.shape == (10,)
    assert whole[:3].tolist() == [1.0, 2.0, 3.0]
    first(torch.randn(8, 3))
    assert torch.equal(whole[:3], first.running_mean)
    whole.zero_()
    assert network.state_dict()["1.0.running_var"].tolist() == [0.0, 0.0]
    network.load_state_dict({name: torch.full_like(tensor, 7) for name, tensor in network.state_dict().items()})
    assert (whole == 7).all()
