"""Parameters and operations of a network, counted on torch's meta device: nothing is computed, nothing is stored.

Two counts of operations, never mixed. `macs` are the multiplications of all convolutions. `paper_flops` are what the
HRNet code family's model summary prints, weights x output pixels, which counts a stride-2 transposed convolution four
times over; they are the FLOPs of the paper's tables.
"""

import dataclasses
from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lhrnet.network.catalogue import settings_of
from lhrnet.network.config import ModelConfig, check_size
from lhrnet.network.registry import create_model


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one part of a network counts."""

    params: int
    """Trainable numbers."""

    macs: int
    """Multiply-accumulates of one image."""

    paper_flops: int
    """Weights times output pixels, summed over the convolutions."""


@dataclass(frozen=True, kw_only=True)
class Profile(Part):
    """What a network counts for one image."""

    input_size: tuple[int, int]
    """Height and width in pixels."""

    convolutions: int
    """How many convolution layers the network has."""

    parts: dict[str, Part]
    """The same counts for each part, in the order of the network; they add up to the whole."""


def profile(config: ModelConfig, size: tuple[int, int] | None = None) -> Profile:
    """Count a network for one image of `size` (height, width); left out, the network's own square input.

    The exchange is counted in its 3x3 form, whichever form `config` runs.

    Raises:
        ValueError: the size is not a multiple of 32.
    """
    height, width = size or (config.side, config.side)
    check_size(height, width)
    if "exchange" in settings_of(config.name):
        config = dataclasses.replace(config, exchange="plain")
    with torch.device("meta"):
        network = create_model(config)
        image = torch.zeros(1, 3, height, width)
    counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for name, parameter in network.named_parameters():
        counts[_part(name)][0] += parameter.numel()
    convolutions = 0
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            convolutions += 1
            module.register_forward_hook(_counter(counts[_part(name)]))
    with torch.no_grad():
        network.eval()(image)
    parts = {name: Part(params=p, macs=m, paper_flops=f) for name, (p, m, f) in counts.items()}
    return Profile(
        params=sum(part.params for part in parts.values()),
        macs=sum(part.macs for part in parts.values()),
        paper_flops=sum(part.paper_flops for part in parts.values()),
        input_size=(height, width),
        convolutions=convolutions,
        parts=parts,
    )


def _part(name: str) -> str:
    """backbone.lcm1.keep.conv.weight -> backbone.lcm1; numbers of repeated members are left out, modules summed."""
    members = [member for member in name.split(".") if not member.isdigit()]
    if members[0] == "stages":
        stage = int(name.split(".")[1]) + 1
        members = [f"stage{stage}", *(member for member in members[1:] if member != "modules_")]
    return ".".join(members[:2]) if members[0] != "entry" else "entry"


def _counter(count: list[int]):  # type: ignore[no-untyped-def]
    def hook(module: nn.Conv2d | nn.ConvTranspose2d, inputs: tuple[Tensor], output: Tensor) -> None:
        applied = inputs[0] if isinstance(module, nn.ConvTranspose2d) else output
        count[1] += module.weight.numel() * applied.shape[2] * applied.shape[3]
        count[2] += module.weight.numel() * output.shape[2] * output.shape[3]

    return hook
