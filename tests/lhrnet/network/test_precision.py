"""Single precision, bfloat16, channels_last and the compiler all compute the same network."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lhrnet.network import ModelConfig, PoseNetwork, create_model, names
from lhrnet.network.catalogue import settings_of
from lhrnet.network.config import ExchangeForm

LIGHT = [name for name in names() if name != "higherhrnet-w48"]


def network_of(name: str = "lightweight-hrnet", exchange: ExchangeForm = "folded") -> PoseNetwork:
    """In eval mode with batch norm statistics as after some training, so that signals keep their size."""
    torch.manual_seed(0)
    own = "r" in settings_of(name)
    network = create_model(ModelConfig(name=name, r=-4, exchange=exchange) if own else ModelConfig(name=name))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        network(torch.randn(4, 3, 64, 64))
    return network.eval()


def relative_difference(a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> float:
    return max(float((x - y.float()).norm() / x.norm()) for x, y in zip(a, b, strict=True))


def gradients(network: nn.Module, run: Callable[[Tensor], tuple[Tensor, Tensor]], images: Tensor) -> tuple[Tensor, ...]:
    quarter, half = run(images)
    loss = 1e3 * (quarter.float().square().mean() + half.float().square().mean())
    return torch.autograd.grad(loss, list(network.parameters()))


@pytest.mark.parametrize("name", LIGHT)
def test_channels_last_gives_the_same_maps_and_stays_channels_last(name: str) -> None:
    network, images = network_of(name), torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        wanted = network(images)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        got = network(images.contiguous(memory_format=torch.channels_last))
    assert relative_difference(wanted, got) < 1e-4
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in got)


@pytest.mark.parametrize("name", LIGHT)
def test_bfloat16_autocast_stays_within_its_precision(name: str) -> None:
    network, images = network_of(name), torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        wanted = network(images)
        with torch.autocast("cpu", torch.bfloat16):
            got = network(images)
        for tensor in (images, *network.parameters()):
            tensor.copy_(tensor.bfloat16())
        rounded = network(images)
    assert all(x.dtype == torch.bfloat16 for x in got)
    # Fresh deep networks amplify any rounding, each by its own factor: that of images and weights alone is the measure.
    assert relative_difference(wanted, got) < 4 * relative_difference(wanted, rounded)


@pytest.mark.parametrize("exchange", ["plain", "folded"])
def test_bfloat16_gradients_stay_within_their_precision(exchange: ExchangeForm) -> None:
    network, images = network_of(exchange=exchange), torch.randn(2, 3, 64, 64)

    def autocast(images: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return network(images)  # type: ignore[no-any-return]

    wanted, got = gradients(network, network, images), gradients(network, autocast, images)
    whole = (torch.cat([x.flatten() for x in wanted]),), (torch.cat([x.flatten() for x in got]),)
    assert all(x.isfinite().all() for x in got)
    assert relative_difference(*whole) < 0.1


def test_float64_and_float32_agree() -> None:
    network, images = network_of(), torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        wanted = network(images)
        got = network.double()(images.double())
    assert relative_difference(wanted, got) < 1e-4


@pytest.mark.parametrize("name", ["lightweight-hrnet", pytest.param("efficienthrnet-h-4", marks=pytest.mark.slow)])
def test_forward_is_one_graph_without_breaks(name: str) -> None:
    network, images = network_of(name), torch.randn(1, 3, 64, 64)
    torch._dynamo.reset()
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    with torch.no_grad():
        assert relative_difference(network(images), compiled(images)) < 1e-5


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_compiled_network_gives_the_same_maps_and_gradients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    network, images = network_of(), torch.randn(1, 3, 64, 64)
    torch._dynamo.reset()
    compiled = torch.compile(network, fullgraph=True)
    assert relative_difference(network(images), compiled(images)) < 1e-4
    wanted, got = gradients(network, network, images), gradients(network, compiled, images)
    whole = (torch.cat([x.flatten() for x in wanted]),), (torch.cat([x.flatten() for x in got]),)
    assert relative_difference(*whole) < 1e-3
