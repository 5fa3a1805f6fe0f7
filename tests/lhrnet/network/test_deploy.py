"""A stripped network computes what the trained one does, without batch norm and with constant folded weights."""

import pytest
import torch
from torch import nn

from lhrnet.network import ModelConfig, PoseNetwork, create_model, deploy

CASES = [
    ModelConfig(r=-4),
    ModelConfig(name="efficienthrnet-h-4"),
    ModelConfig(name="higherhrnet-w32"),
    ModelConfig(r=-4, cem="none", exchange="plain"),
    ModelConfig(r=-4, cem="full", exchange="plain"),
    ModelConfig(r=-4, cem="half"),
]


def trained(config: ModelConfig) -> PoseNetwork:
    torch.manual_seed(0)
    network = create_model(config).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("config", CASES, ids=lambda config: f"{config.name}-{config.cem}-{config.exchange}")
def test_stripped_network_computes_the_same(config: ModelConfig) -> None:
    network, images = trained(config), torch.randn(2, 3, 64, 96, dtype=torch.float64)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    stripped = deploy(network.train())
    assert network.training
    network.eval()
    with torch.no_grad():
        for wanted, got in zip(network(images), stripped(images), strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12 * wanted.abs().max().item())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in stripped.modules())
    assert not stripped.training
    assert not any(p.requires_grad for p in stripped.parameters())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.slow
def test_stripped_network_can_be_exported_with_any_batch_and_size() -> None:
    stripped = deploy(trained(ModelConfig(r=-4))).float()
    batch, rows, columns = (torch.export.Dim(name, min=1, max=16) for name in ("batch", "rows", "columns"))
    shapes = {"images": {0: batch, 2: 32 * rows, 3: 32 * columns}}
    exported = torch.export.export(stripped, (torch.randn(2, 3, 64, 96),), dynamic_shapes=shapes, strict=False)
    images = torch.randn(3, 3, 96, 64)
    with torch.no_grad():
        for wanted, got in zip(stripped(images), exported.module()(images), strict=True):
            torch.testing.assert_close(got, wanted)
