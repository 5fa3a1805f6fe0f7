"""EfficientHRNet H0..H-4 (Neff, Sheth, Furgurson, Tabkhi 2020), rebuilt from the published figures of its layers.

An EfficientNet feeds each branch at its own resolution; branches 3 and 4 join in later stages.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from lhrnet.network.blocks import ConvUnit
from lhrnet.network.config import ModelConfig
from lhrnet.network.exchange import Transitions
from lhrnet.network.scaling import backbone_widths, branch_widths, round_width, tapped_widths
from lhrnet.network.stages import PoseNetwork, StageSpec

_ROWS: Final = ((1, 1, 1, 3), (6, 2, 2, 3), (6, 2, 2, 5), (6, 3, 2, 3), (6, 3, 1, 5), (6, 4, 2, 5), (6, 1, 1, 3))
"""Expansion, repeats, stride, kernel of EfficientNet-B0's seven rows."""

_TAPS: Final = (1, 2, 4, 6)
"""Rows whose outputs feed branches 1 to 4."""

_STEM_WIDTH: Final = 32
_DROP_CONNECT: Final = 0.2
_DEPTH: Final = {0: 1.0, -1: 0.833, -2: 0.694, -3: 0.578, -4: 0.483}
_MODULES: Final = {0: (1, 4, 3), -1: (1, 3, 3), -2: (1, 2, 3), -3: (1, 1, 3), -4: (1, 1, 2)}
"""Modules of the stages with two, three and four branches."""


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate computed from the means of all channels."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.SiLU(inplace=True)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.expand(self.act(self.reduce(x.mean((2, 3), keepdim=True)))))


class MBConv(nn.Module):
    """Expansion, depthwise convolution, squeeze-excitation, projection; an identity where the shape stays.

    In training the identity stands alone for a share `drop` of the images, drawn anew each time (drop connect).
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int, drop: float) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.expand = ConvUnit(inputs, hidden, 1, activation="silu") if expansion > 1 else nn.Identity()
        self.depthwise = ConvUnit(hidden, hidden, kernel, stride, groups=hidden, activation="silu")
        self.excite = SqueezeExcite(hidden, max(1, inputs // 4))
        self.project = ConvUnit(hidden, outputs, 1, activation=None)
        self.residual = inputs == outputs and stride == 1
        self.drop = drop

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.excite(self.depthwise(self.expand(x))))
        if not self.residual:
            return y
        if self.training and self.drop:
            kept = torch.rand(len(x), 1, 1, 1, device=x.device) >= self.drop
            y = y * (kept / (1 - self.drop)).to(y.dtype)
        return y + x


class EfficientBackbone(nn.Module):
    """The convolutions of a scaled EfficientNet-B0, images (B, 3, H, W) to maps at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, r: int) -> None:
        super().__init__()
        stem_width = round_width(_STEM_WIDTH * 1.1**r)
        self.stem = ConvUnit(3, stem_width, stride=2, activation="silu")
        self.rows = nn.ModuleList()
        repeats = [math.ceil(count * _DEPTH[r]) for _, count, _, _ in _ROWS]
        inputs, built = stem_width, 0
        for (expansion, _, first_stride, kernel), count, width in zip(_ROWS, repeats, backbone_widths(r), strict=True):
            row = nn.Sequential()
            for n in range(count):
                stride = first_stride if n == 0 else 1
                drop = _DROP_CONNECT * built / sum(repeats)
                row.append(MBConv(inputs, width, expansion=expansion, kernel=kernel, stride=stride, drop=drop))
                inputs, built = width, built + 1
            self.rows.append(row)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        taps = []
        for n, row in enumerate(self.rows):
            x = row(x)
            if n in _TAPS:
                taps.append(x)
        return taps


def build(config: ModelConfig, r: int) -> PoseNetwork:
    """Stages of two, three and four branches; the last module puts out the finest branch."""
    widths = branch_widths(r)
    two, three, four = _MODULES[r]
    return PoseNetwork(
        config,
        backbone=EfficientBackbone(r),
        entry=Transitions(tapped_widths(r), widths),
        stages=[
            StageSpec(widths=widths[:2], modules=two, blocks=2),
            StageSpec(widths=widths[:3], modules=three, blocks=2, carry=True),
            StageSpec(widths=widths, modules=four, blocks=2, carry=True, outputs=1),
        ],
        head_blocks=2,
    )
