"""The learning rate as a function of the step, optimisers that can skip, and the average of the weights."""

import pytest
import torch
from torch import nn

from pipeline.training.optimiser import MovingAverage, OptimConfig, create_optimiser, learning_rate


def test_one_cycle_climbs_linearly_and_falls_by_a_cosine() -> None:
    config = OptimConfig(lr=1.0, warmup=0.1, schedule="cosine")
    assert learning_rate(0, 1000, config) == pytest.approx(1 / 25)
    assert learning_rate(50, 1000, config) == pytest.approx((1 + 24 / 2) / 25)
    assert learning_rate(100, 1000, config) == pytest.approx(1)
    assert learning_rate(550, 1000, config) == pytest.approx(0.5005)
    assert learning_rate(1000, 1000, config) == pytest.approx(1e-3)


def test_multistep_falls_at_epochs_200_and_260_of_300() -> None:
    config = OptimConfig(lr=1e-3, warmup=0, schedule="multistep")
    rates = [learning_rate(epoch, 300, config) for epoch in (0, 199, 200, 259, 260, 299)]
    assert rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4, 1e-5, 1e-5])


def test_warm_up_goes_before_every_schedule() -> None:
    config = OptimConfig(lr=1.0, warmup=0.5, schedule="constant")
    assert learning_rate(1, 4, config) < learning_rate(2, 4, config) == 1


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_a_flagged_step_changes_neither_weights_nor_the_optimisers_state(name: str) -> None:
    weight = nn.Parameter(torch.ones(3))
    optimiser = create_optimiser([weight], OptimConfig(name=name))  # type: ignore[arg-type]
    weight.grad = torch.ones(3)
    optimiser.step()
    before = weight.detach().clone(), {k: v.clone() for k, v in optimiser.state[weight].items()}
    weight.grad = torch.full((3,), float("nan"))
    optimiser.found_inf = torch.tensor(1.0)  # type: ignore[attr-defined]
    optimiser.step()
    assert torch.equal(weight, before[0])
    for key, value in optimiser.state[weight].items():
        assert torch.equal(value, before[1][key]), key


def test_the_average_follows_weights_and_statistics_by_its_warmed_up_decay() -> None:
    network = nn.BatchNorm1d(1)
    average = MovingAverage(network, decay=0.9)
    with torch.no_grad():
        network.weight.fill_(3.0)
        network.running_mean.fill_(5.0)  # type: ignore[union-attr]
    average.update()  # decay (1 + 0) / (10 + 0)
    assert average.average["weight"].item() == pytest.approx(1 * 0.1 + 3 * 0.9)
    assert average.average["running_mean"].item() == pytest.approx(5 * 0.9)
    for _ in range(200):
        average.update()
    before = average.average["weight"].item()
    with torch.no_grad():
        network.weight.fill_(4.0)
    average.update()
    assert average.average["weight"].item() == pytest.approx(before * 0.9 + 4 * 0.1)


def test_average_weights_fit_the_network_and_keep_its_counters() -> None:
    network = nn.BatchNorm1d(1)
    average = MovingAverage(network, decay=0.9)
    network(torch.randn(4, 1))
    weights = average.weights()
    assert weights.keys() == network.state_dict().keys()
    assert int(weights["num_batches_tracked"]) == 1
