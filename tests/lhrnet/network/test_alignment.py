"""A widened network computes the same maps from channels in whole blocks."""

import pytest
import torch
from torch import nn

from lhrnet.network import ModelConfig, create_model, deploy
from lhrnet.network.alignment import align


@pytest.mark.parametrize(
    "config",
    [
        ModelConfig(r=-3),
        ModelConfig(r=-2, cem="none"),
        ModelConfig(r=-4, cem="full", exchange="plain"),
        ModelConfig(name="efficienthrnet-h-3"),
    ],
    ids=lambda config: f"{config.name}-{config.r}-{config.cem}",
)
def test_maps_stay_the_same(config: ModelConfig) -> None:
    torch.manual_seed(0)
    network = create_model(config).eval()
    images = torch.randn(1, 3, 64, 96)
    narrow, wide = deploy(network), deploy(network)
    align(wide)
    with torch.inference_mode():
        for mine, theirs in zip(wide(images), narrow(images), strict=True):
            torch.testing.assert_close(mine[:, : theirs.shape[1]], theirs, atol=1e-5, rtol=1e-5)
            assert not mine[:, theirs.shape[1] :].any()
    inner = [module for module in wide.stages.modules() if isinstance(module, nn.Conv2d)]
    assert all(module.out_channels % 4 == 0 and module.in_channels % 4 == 0 for module in inner)
    assert any(module.out_channels % 4 for module in deploy(network).stages.modules() if isinstance(module, nn.Conv2d))
