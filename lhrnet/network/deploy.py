"""A network for inference: batch norm merged into the convolutions, the channel exchange into constant weights.

What remains are convolutions, resizes and sums with constant weights, which exporters and runtimes support.
"""

import copy
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lhrnet.network.blocks import ConvUnit
from lhrnet.network.config import CEM
from lhrnet.network.exchange import FoldedExchange, PlainExchange, channel_plan
from lhrnet.network.folding import fold
from lhrnet.network.stages import PoseNetwork

Conv = TypeVar("Conv", nn.Conv2d, nn.ConvTranspose2d)


class FrozenBranch(nn.Module):
    """One transition after an exchange, as a sum of convolutions of the backbone maps at their own resolutions.

    Args:
        n: the branch, 0 for the finest.
        row: where each channel of A'_n comes from, as (source, channel).
        conv: the 3x3 convolution of A'_n with bias.
    """

    def __init__(self, n: int, row: Sequence[tuple[int, int]], conv: nn.Conv2d) -> None:
        super().__init__()
        assert conv.bias is not None
        self.n = n
        self.sources = sorted({source for source, _ in row})
        self.convs = nn.ModuleList()
        for source in self.sources:
            positions = [k for k, (j, _) in enumerate(row) if j == source]
            self.register_buffer(f"channels_{source}", torch.tensor([c for j, c in row if j == source]))
            weight = conv.weight.detach()[:, positions]
            if n and source:
                weight = fold(weight)
            outputs, inputs, kernel, _ = weight.shape
            stride = 2 ** max(0, n - source) if source else 2**n
            part = nn.Conv2d(inputs, outputs, kernel, stride, padding=1 if kernel == 3 else 0)
            assert part.bias is not None
            part.weight = nn.Parameter(weight.clone())
            part.bias = nn.Parameter(conv.bias.detach().clone() if not self.convs else torch.zeros_like(conv.bias))
            self.convs.append(part)

    def forward(self, maps: list[Tensor]) -> Tensor:
        parts = []
        for source, conv in zip(self.sources, self.convs, strict=True):
            x = maps[source].index_select(1, self.get_buffer(f"channels_{source}"))
            if source > self.n:
                x = functional.interpolate(x, scale_factor=float(2 ** (source - self.n)), mode="nearest")
            if self.n and source:
                x = functional.pad(x, (1, 0, 1, 0))
            parts.append(conv(x))
        total: Tensor = sum(parts[1:], parts[0])
        return functional.relu(total)


class FrozenExchange(nn.Module):
    """The transitions of a trained network, for any form of exchange, with constant folded weights."""

    def __init__(self, convs: Sequence[nn.Conv2d], cem: CEM) -> None:
        super().__init__()
        plan = channel_plan([conv.in_channels for conv in convs], cem)
        self.branches = nn.ModuleList(
            FrozenBranch(n, row, conv) for n, (row, conv) in enumerate(zip(plan, convs, strict=True))
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [branch(maps) for branch in self.branches]


def deploy(network: PoseNetwork) -> PoseNetwork:
    """A copy in eval mode that computes the same maps with fewer operations; not for training.

    The weights have other names than the network's. The copy has no batch norm and, if the network exchanges channels,
    a `FrozenExchange` in place of its transitions.
    """
    copied = copy.deepcopy(network).eval()
    for module in copied.modules():
        if isinstance(module, ConvUnit):
            module.conv = _merged(module.conv, module.norm)
            module.norm = nn.Identity()
    up, norm, act = copied.head.deconv
    assert isinstance(up, nn.ConvTranspose2d)
    copied.head.deconv = nn.Sequential(_merged(up, norm), act)
    if isinstance(copied.entry, PlainExchange | FoldedExchange):
        convs = [unit.conv for unit in copied.entry.units if isinstance(unit, ConvUnit)]
        copied.entry = FrozenExchange(convs, copied.config.cem)
    return copied.requires_grad_(False)


def _merged(conv: Conv, norm: nn.Module) -> Conv:
    assert isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(conv, norm, transpose=isinstance(conv, nn.ConvTranspose2d))
