"""A step's parts: clocks, compiling, batches on their way to the device, skipped steps, what is taken up again."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from lhrnet.losses.pose_loss import LossConfig
from pipeline.cluster.world import World
from pipeline.config.tree import parse
from pipeline.data.order import Cursor
from pipeline.data.prefetch import feed
from pipeline.runs import state
from pipeline.training.optimiser import OptimConfig
from pipeline.training.step_plan import TrainConfig, plan_steps
from pipeline.training.stepper import HopelessError, Stepper, check_compiled, gathered_statistics, timed
from pipeline.training.stopwatch import Stopwatch

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


def stepper(world: World = World(), optim: OptimConfig = OptimConfig(), **train: Any) -> Stepper:  # noqa: B008 - values
    settings = TrainConfig(**train)
    return Stepper(
        torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4)),
        train=settings,
        optim=optim,
        loss=LossConfig(),
        plan=plan_steps(settings, steps_per_epoch=9, world=world.size),
        world=world,
    )


def counted(stepper: Stepper, *finite: bool) -> None:
    """As if it had done these steps."""
    for good in finite:
        norm = torch.tensor(1.0 if good else float("nan"))
        stepper._count(torch.full((4,), 0.5), norm, norm.isfinite())


def resumed(before: Stepper, after: Stepper) -> None:
    """Take up a checkpoint of the one by the other."""
    config = parse({"name": "a", "storage": "/s", "data": {"train": "/t", "val": "/v"}})
    saved = state.capture(before, step=1, cursor=Cursor(), config=config, metrics={}, validated={})
    state.restore(saved, after, config)


def test_bad_steps_in_a_row_end_the_run_though_good_ones_follow_before_anybody_looks() -> None:
    training = stepper(max_nonfinite=3)
    counted(training, False, False, True)
    assert training.take_rows()["skipped_steps"] == 2
    counted(training, True, False, False)
    training.take_rows()
    counted(training, False, True)
    with pytest.raises(HopelessError, match="3 steps in a row"):
        training.take_rows()


def test_skipped_steps_alone_have_no_loss() -> None:
    training = stepper()
    counted(training, False, False)
    assert training.take_rows() == {"skipped_steps": 2.0}
    counted(training, False, True)
    assert training.take_rows()["loss"] == 0.5


def test_a_checkpoint_between_two_looks_knows_of_every_skipped_step() -> None:
    before, after = stepper(max_nonfinite=3), stepper(max_nonfinite=3)
    counted(before, False, True)
    before.take_rows()
    counted(before, True, False, False)
    resumed(before, after)
    assert before.skipped == after.skipped == 3
    counted(after, False)
    with pytest.raises(HopelessError, match="3 steps in a row"):
        after.take_rows()


def test_changed_settings_of_the_optimiser_count_from_where_a_run_resumes() -> None:
    before, after = stepper(), stepper(optim=OptimConfig(name="adam", weight_decay=0.03))
    for parameter in before.parameters:
        parameter.grad = torch.ones_like(parameter)
    before.optimiser.step()
    resumed(before, after)
    (group,) = after.optimiser.param_groups
    assert (group["weight_decay"], group["decoupled_weight_decay"]) == (0.03, False)
    assert [moments["step"] for moments in after.optimiser.state.values()] == [1.0] * len(after.parameters)


def test_other_parameters_than_were_trained_are_refused() -> None:
    with pytest.raises(ValueError, match=r"trained other parameters .* set train\.freeze as it was"):
        resumed(stepper(), stepper(freeze=("0.",)))


@pytest.mark.parametrize("synchronised", [True, False])
def test_batch_norm_is_synchronised_among_those_that_train_or_each_workers_own(
    monkeypatch: pytest.MonkeyPatch, synchronised: bool
) -> None:
    class Alone:
        """In place of the real one, which talks to other workers at once."""

        process_group = None

        def __init__(self, network: torch.nn.Module, **_: Any) -> None: ...

        def register_comm_hook(self, *_: Any) -> None: ...

    monkeypatch.setattr("pipeline.training.stepper.DistributedDataParallel", Alone)
    group: Any = object()
    training = stepper(World(size=2, gradients=group), workers=2, sync_batchnorm=synchronised)
    norm = next(m for m in training.network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm))
    assert isinstance(norm, torch.nn.SyncBatchNorm) == synchronised
    assert getattr(norm, "process_group", None) is (group if synchronised else None)
