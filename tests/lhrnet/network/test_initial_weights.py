"""Initial weights and batch norm follow the settings."""

import math

import pytest
import torch
from torch import nn

from lhrnet.network import ModelConfig, create_model, names


def test_kaiming_keeps_signals_and_starts_the_output_layers_near_zero() -> None:
    torch.manual_seed(0)
    network = create_model(ModelConfig(r=-2, init="kaiming"))
    conv = network.get_submodule("backbone.conv7.conv")
    assert isinstance(conv, nn.Conv2d)
    assert conv.weight.std().item() == pytest.approx(math.sqrt(2 / (9 * 160)), rel=0.02)
    for final in (network.head.final0, network.head.final1):
        assert final.weight.std().item() == pytest.approx(0.001, rel=0.15)


def test_normal_is_the_references_one_deviation_everywhere() -> None:
    torch.manual_seed(0)
    network = create_model(ModelConfig(r=-2, init="normal"))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert module.weight.std().item() == pytest.approx(0.001, rel=0.2)


@pytest.mark.parametrize("name", names())
def test_biases_and_batch_norm_start_neutral_with_the_asked_momentum(name: str) -> None:
    network = create_model(ModelConfig(name=name, bn_momentum=0.03))
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
            assert not module.bias.any()
        if isinstance(module, nn.BatchNorm2d):
            assert module.momentum == 0.03
            assert bool((module.weight == 1).all())
            assert not module.bias.any()


def test_the_same_seed_gives_the_same_weights() -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(create_model(ModelConfig(r=-4)).state_dict())
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
