"""Every network of the registry keeps the promises that training and inference rely on."""

import pytest
import torch
from torch import nn

from lhrnet.network import ModelConfig, catalogue, create_model, names, profile, registry
from lhrnet.network.blocks import ConvUnit
from lhrnet.network.catalogue import NetworkEntry, settings_of
from lhrnet.network.stages import PoseNetwork, StageSpec

LIGHT = [name for name in names() if name != "higherhrnet-w48"]


@pytest.mark.parametrize("name", names())
def test_outputs_are_maps_at_a_quarter_and_half_of_an_uneven_input(name: str) -> None:
    config = ModelConfig(name=name)
    with torch.device("meta"):
        quarter, half = create_model(config)(torch.zeros(2, 3, 64, 96))
    assert quarter.shape == (2, 34, 16, 24)
    assert half.shape == (2, config.half_channels, 32, 48)
    assert config.half_channels == (34 if name == "lightweight-hrnet" else 17)


@pytest.mark.parametrize("name", ["lightweight-hrnet", "efficienthrnet-h-4"])
def test_tags_at_half_resolution_are_a_switch(name: str) -> None:
    for tags, channels in ((True, 34), (False, 17)):
        with torch.device("meta"):
            _, half = create_model(ModelConfig(name=name, tags_at_half=tags))(torch.zeros(1, 3, 64, 64))
        assert half.shape[1] == channels


@pytest.mark.parametrize("name", names())
def test_inputs_that_cannot_be_halved_five_times_are_refused(name: str) -> None:
    with torch.device("meta"):
        network = create_model(ModelConfig(name=name))
        with pytest.raises(ValueError, match=r"64x100.*multiples of 32"):
            network(torch.zeros(1, 3, 64, 100))


@pytest.mark.parametrize("name", LIGHT)
def test_every_parameter_learns(name: str) -> None:
    config = ModelConfig(name=name, r=-4) if "r" in settings_of(name) else ModelConfig(name=name)
    network = create_model(config)
    assert network.config == config
    quarter, half = network(torch.randn(2, 3, 64, 64))
    (quarter.square().mean() + half.square().mean()).backward()
    idle = [name for name, p in network.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert idle == []


@pytest.mark.parametrize("cem", ["none", "full", "half", "half-reordered"])
def test_plain_and_folded_networks_share_weights_and_results(cem: str) -> None:
    networks = []
    for form in ("plain", "folded"):
        torch.manual_seed(0)
        networks.append(create_model(ModelConfig(r=-4, cem=cem, exchange=form)).double())  # type: ignore[arg-type]
    plain, folded = networks
    assert plain.state_dict().keys() == folded.state_dict().keys()
    images = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    for a, b in zip(plain(images), folded(images), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-10, atol=1e-12)


def test_drop_connect_is_random_in_training_only() -> None:
    network = create_model(ModelConfig(name="efficienthrnet-h-4"))
    images = torch.randn(32, 3, 32, 32)
    with torch.no_grad():
        deepest = [network.backbone(images)[-1] for _ in range(4)]
        assert any(not torch.equal(deepest[0], other) for other in deepest[1:])
        network.eval()
        assert torch.equal(network.backbone(images)[-1], network.backbone(images)[-1])


def test_every_network_stands_in_both_tables() -> None:
    assert sorted(registry.BUILDERS) == names()


def test_a_new_network_is_a_few_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.down = nn.ModuleList([ConvUnit(3, 8, 7, 4), ConvUnit(8, 16, stride=2)])

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            fine = self.down[0](images)
            return [fine, self.down[1](fine)]

    def build(config: ModelConfig) -> PoseNetwork:
        stages = [StageSpec(widths=(8, 16), modules=1, blocks=1, outputs=1)]
        return PoseNetwork(config, backbone=Backbone(), entry=nn.Identity(), stages=stages, head_blocks=1)

    monkeypatch.setitem(catalogue.CATALOGUE, "toy", NetworkEntry(side=64))
    monkeypatch.setitem(registry.BUILDERS, "toy", build)
    config = ModelConfig(name="toy")
    quarter, half = create_model(config)(torch.zeros(1, 3, 64, 64))
    assert (quarter.shape[1:], half.shape[1:]) == ((34, 16, 16), (17, 32, 32))
    assert profile(config).params == sum(p.numel() for p in create_model(config).parameters())
