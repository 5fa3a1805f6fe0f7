"""Channel Exchange Module and the four transition convolutions it is merged with.

A_n (n = 1..4) are the backbone maps at 1/4, 1/8, 1/16 and 1/32 of the input. The exchange swaps channels between them
and a 3x3 convolution takes each result A'_n into branch n. Three forms compute it from the same stored weights:
without an exchange, plain (the paper's recipe step by step) and folded (equal to plain, without its cost).
"""

from collections.abc import Sequence
from typing import Final, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from lhrnet.network.blocks import ConvUnit
from lhrnet.network.config import CEM, ExchangeForm
from lhrnet.network.folding import channel_runs, fold_for
from lhrnet.network.gathering import gather
from lhrnet.network.scaling import tapped_widths

_PAPER_ORDER: Final = (2, 1, 3, 0)
"""Sources in the order A3, A2, A4, A1, so that the two fine branches, fed first, get what lies far from them."""

_GROUPS: Final = 4


def trade(maps: Sequence[Tensor], cem: CEM) -> list[Tensor]:
    """A'_1..A'_4 of four maps (B, C_n, h, w) of one size: concatenate, interleave in four groups, deal out again."""
    if cem == "none":
        return list(maps)
    kept_from = [0 if cem == "full" else x.shape[1] // 2 for x in maps]
    given = [x if cem == "full" else x[:, :half] for x, half in zip(maps, kept_from, strict=True)]
    order = _PAPER_ORDER if cem == "half-reordered" else range(len(maps))
    pool = torch.cat([given[n] for n in order], dim=1)
    batch, channels, height, width = pool.shape
    if pool.stride(1) == 1:  # channels_last, and stays so
        pixels = torch.unflatten(pool.permute(0, 2, 3, 1), 3, (-1, _GROUPS)).transpose(3, 4)
        pool = pixels.reshape(batch, height, width, channels).permute(0, 3, 1, 2)
    else:
        pool = pool.view(batch, channels // _GROUPS, _GROUPS, height, width).transpose(1, 2).reshape(pool.shape)
    dealt = torch.split(pool, [x.shape[1] for x in given], dim=1)
    if cem == "full":
        return list(dealt)
    return [torch.cat([new, x[:, half:]], dim=1) for new, x, half in zip(dealt, maps, kept_from, strict=True)]


def channel_plan(widths: Sequence[int], cem: CEM) -> list[list[tuple[int, int]]]:
    """Where every channel of A'_n comes from, as (source 0..3, channel of that source), in the order of A'_n."""
    labels = [
        torch.tensor([[n, channel] for channel in range(width)], device="cpu")[None, :, None]
        for n, width in enumerate(widths)
    ]
    return [[(int(n), int(c)) for n, c in traded[0, :, 0]] for traded in trade(labels, cem)]


def channels_taken(r: int, cem: CEM) -> list[list[int]]:
    """How many channels A'_1..A'_4 (rows) take from A_1..A_4 (columns); Tables III (full) and IV (half-reordered).

    Raises:
        ValueError: r is out of range, or `cem` is no variant.
    """
    if cem not in get_args(CEM):
        raise ValueError(f"cem={cem!r} is not allowed; choose one of {', '.join(get_args(CEM))}")
    plan = channel_plan(tapped_widths(r), cem)
    return [[sum(source == n for source, _ in row) for n in range(len(plan))] for row in plan]


class Transitions(nn.Module):
    """A_n to T_n, the first map of branch n, by a 3x3 convolution with bias, batch norm and ReLU; no exchange.

    Takes and returns lists of maps at 1/4, 1/8, ... of the input.
    """

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], strides: Sequence[int] = (1, 1, 1, 1)) -> None:
        super().__init__()
        self.units = nn.ModuleList(
            ConvUnit(i, o, stride=s, bias=True) for i, o, s in zip(inputs, outputs, strides, strict=True)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return [unit(x) for unit, x in zip(self.units, maps, strict=True)]


class PlainExchange(Transitions):
    """The paper's recipe: all maps upsampled to the finest, traded, and brought back by strides 1, 2, 4 and 8."""

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], cem: CEM) -> None:
        super().__init__(inputs, outputs, strides=(1, 2, 4, 8))
        self.cem: CEM = cem

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        size = maps[0].shape[2:]
        return super().forward(trade([functional.interpolate(x, size=size, mode="nearest") for x in maps], self.cem))


class FoldedExchange(Transitions):
    """The same function of the same weights, computed at each map's own resolution (see `folding`)."""

    def __init__(self, inputs: Sequence[int], outputs: Sequence[int], cem: CEM) -> None:
        super().__init__(inputs, outputs)
        self.plan = tuple(channel_runs(row) for row in channel_plan(inputs, cem))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        traded = []
        for n, (unit, row, (near, far)) in enumerate(zip(self.units, self.plan, gather(self.plan, maps), strict=True)):
            assert isinstance(unit, ConvUnit)
            weight, bias = unit.conv.weight, unit.conv.bias
            if n == 0:
                y = functional.conv2d(near, weight, bias, padding=1)
            else:
                near_weight, far_weight = fold_for(n, row, weight)
                y = functional.conv2d(near, near_weight, bias)
                if far is not None:
                    y += functional.conv2d(far, far_weight)
            traded.append(unit.act(unit.norm(y)))
        return traded


def exchange(inputs: Sequence[int], outputs: Sequence[int], cem: CEM, form: ExchangeForm) -> Transitions:
    """The transitions of these channels in the asked form; all forms have the same weights by name and shape."""
    if cem == "none":
        return Transitions(inputs, outputs)
    return (PlainExchange if form == "plain" else FoldedExchange)(inputs, outputs, cem)
