"""Building blocks that the networks share."""

from typing import Literal

import torch
from torch import Tensor, nn

Activation = Literal["relu", "silu"]


class ConvUnit(nn.Module):
    """Convolution (padded to keep size / stride), batch norm, activation."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        bias: bool = False,
        groups: int = 1,
        activation: Activation | None = "relu",
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=bias)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.act: nn.Module = nn.Identity()
        if activation is not None:
            self.act = nn.ReLU(inplace=True) if activation == "relu" else nn.SiLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x)))  # type: ignore[no-any-return]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and an identity, (B, C, h, w) to the same shape."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = ConvUnit(width, width)
        self.second = ConvUnit(width, width, activation=None)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x))
        y += x
        return self.act(y)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions to four times `width`; an identity or, where channels change, a 1x1 shortcut."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.first = ConvUnit(inputs, width, 1)
        self.second = ConvUnit(width, width)
        self.third = ConvUnit(width, outputs, 1, activation=None)
        self.shortcut = nn.Identity() if inputs == outputs else ConvUnit(inputs, outputs, 1, activation=None)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.third(self.second(self.first(x)))
        y += self.shortcut(x)
        return self.act(y)  # type: ignore[no-any-return]


def channel_shuffle(*runs: Tensor) -> Tensor:
    """Interleave the channels of equal runs (ShuffleNet): channel i of run g becomes i * groups + g.

    A result in the memory order of the runs: left to `view`, channels_last ones would come out in the other order, and
    every convolution behind work in the slow one.
    """
    first = runs[0]
    batch, channels, height, width = first.shape
    if first.stride(1) == 1:  # also where a run is a slice of a map
        pixels = torch.stack([run.permute(0, 2, 3, 1) for run in runs], dim=4)
        return pixels.view(batch, height, width, len(runs) * channels).permute(0, 3, 1, 2)
    return torch.stack(runs, dim=2).view(batch, len(runs) * channels, height, width)


class LiteConv(nn.Module):
    """Lite Conv Module (the paper's figure 2): halves the resolution, (B, i, h, w) to (B, o, h/2, w/2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.keep = ConvUnit(inputs, inputs, stride=2)
        # At r = -4 the first two widths are equal: there is nothing to add.
        self.add = ConvUnit(inputs, outputs - inputs, stride=2) if outputs > inputs else None
        self.refine = ConvUnit(outputs // 2, outputs // 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.keep(x)
        if self.add is not None:
            y = torch.cat([y, self.add(x)], dim=1)
        # Both halves of the shuffled channels, each made by itself: as views of one map they would be copied once more.
        quarters = y.chunk(4, dim=1)
        untouched, refined = channel_shuffle(*quarters[::2]), channel_shuffle(*quarters[1::2])
        return channel_shuffle(untouched, self.refine(refined))
