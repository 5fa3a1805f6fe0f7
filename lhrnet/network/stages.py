"""One builder of stages, fuse layers and heads for every network of the family.

Maps of a network are a list from the finest (1/4 of the input) to the coarsest, each half the size of the one before.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from lhrnet.network.blocks import BasicBlock, ConvUnit
from lhrnet.network.config import ModelConfig, check_size


@dataclass(frozen=True, kw_only=True)
class StageSpec:
    """A stage: consecutive modules on the same branches."""

    widths: Sequence[int]
    """Channels of the branches, finest first."""

    modules: int
    """Number of modules, at least 1."""

    blocks: int
    """Basic blocks on each branch of each module."""

    outputs: int | None = None
    """Number of output branches of the last module, finest first; left out, all."""

    carry: bool = False
    """Whether branches of the previous stage pass a 3x3 convolution first."""

    grow: bool = False
    """Whether a new branch comes from the coarsest one by a stride-2 convolution, rather than from the entry."""


class Fuse(nn.Module):
    """Every output branch is the sum of all input branches, brought to its size and channels, then ReLU."""

    def __init__(self, widths: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.paths = nn.ModuleList(
            nn.ModuleList(_fuse_path(widths, source, target) for source in range(len(widths)))
            for target in range(outputs)
        )

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        fused = []
        for target, paths in enumerate(self.paths):
            assert isinstance(paths, nn.ModuleList)
            others = [path(maps[source]) for source, path in enumerate(paths) if source != target]
            total = maps[target] + others[0]
            for other in others[1:]:
                total += other
            fused.append(functional.relu_(total))
        return fused


def _fuse_path(widths: Sequence[int], source: int, target: int) -> nn.Module:
    if source == target:
        return nn.Identity()
    if source > target:
        up = nn.Upsample(scale_factor=2 ** (source - target), mode="nearest")
        return nn.Sequential(ConvUnit(widths[source], widths[target], 1, activation=None), up)
    inner = [ConvUnit(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
    return nn.Sequential(*inner, ConvUnit(widths[source], widths[target], stride=2, activation=None))


class StageModule(nn.Module):
    """Basic blocks on each branch, then a fuse; a single branch is not fused."""

    def __init__(self, widths: Sequence[int], blocks: int, outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in widths)
        self.fuse = Fuse(widths, outputs)

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        return self.fuse([branch(x) for branch, x in zip(self.branches, maps, strict=True)])  # type: ignore[no-any-return]


class Stage(nn.Module):
    """Joins the branches of the previous stage and the new ones, then runs the modules."""

    def __init__(self, spec: StageSpec, previous: Sequence[int]) -> None:
        super().__init__()
        old, new = len(previous), len(spec.widths)
        self.carry = nn.ModuleList(
            ConvUnit(width, spec.widths[n], bias=True) if spec.carry else nn.Identity()
            for n, width in enumerate(previous)
        )
        self.grow = nn.ModuleList(
            ConvUnit(spec.widths[n - 1], spec.widths[n], stride=2) for n in range(old, new) if spec.grow
        )
        outputs = [len(spec.widths)] * (spec.modules - 1) + [spec.outputs or len(spec.widths)]
        self.modules_ = nn.ModuleList(StageModule(spec.widths, spec.blocks, count) for count in outputs)
        self.width = new

    def forward(self, maps: list[Tensor], entries: list[Tensor]) -> list[Tensor]:
        maps = [carry(x) for carry, x in zip(self.carry, maps, strict=True)]
        for grow in self.grow:
            maps.append(grow(maps[-1]))
        maps += entries[len(maps) : self.width]
        for module in self.modules_:
            maps = module(maps)
        return maps


class Head(nn.Module):
    """Maps at the branch's resolution, then at twice that from the branch and those maps together.

    (B, C, h, w) to (B, 2K, h, w) and (B, `half_channels`, 2h, 2w).
    """

    def __init__(self, width: int, blocks: int, keypoints: int, half_channels: int) -> None:
        super().__init__()
        self.final0 = nn.Conv2d(width, 2 * keypoints, 1)
        up = nn.ConvTranspose2d(width + 2 * keypoints, width, 4, 2, 1, bias=False)
        self.deconv = nn.Sequential(up, nn.BatchNorm2d(width), nn.ReLU(inplace=True))
        self.blocks = nn.Sequential(*(BasicBlock(width) for _ in range(blocks)))
        self.final1 = nn.Conv2d(width, half_channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        quarter = self.final0(x)
        half = self.final1(self.blocks(self.deconv(torch.cat([x, quarter], dim=1))))
        return quarter, half


class PoseNetwork(nn.Module):
    """Backbone, entry into the branches, stages, head: what all networks of the registry have in common.

    Args:
        config: the settings it was built from, kept as `config`.
        backbone: images (B, 3, H, W) to the maps that the entry takes.
        entry: those maps to the first map of each branch that is not grown.
        stages: from the two finest branches to all of them.
        head_blocks: basic blocks at the half resolution.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        backbone: nn.Module,
        entry: nn.Module,
        stages: Sequence[StageSpec],
        head_blocks: int,
    ) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone
        self.entry = entry
        self.stages = nn.ModuleList()
        previous: Sequence[int] = ()
        for spec in stages:
            self.stages.append(Stage(spec, previous))
            previous = spec.widths
        self.head = Head(previous[0], head_blocks, config.keypoints.count, config.half_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Maps of normalised images (B, 3, H, W).

        Returns:
            (B, 2K, H/4, W/4) and (B, 2K or K, H/2, W/2); heatmaps of the K keypoints, then tags.

        Raises:
            ValueError: H or W is not a multiple of 32.
        """
        check_size(images.shape[2], images.shape[3])
        entries = self.entry(self.backbone(images))
        maps: list[Tensor] = []
        for stage in self.stages:
            maps = stage(maps, entries)
        return self.head(maps[0])  # type: ignore[no-any-return]

    def initialise(self) -> None:
        """Draw fresh weights by `config.init`, reset biases and batch norm, set batch norm's momentum."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                if self.config.init == "normal" or module in (self.head.final0, self.head.final1):
                    nn.init.normal_(module.weight, std=0.001)
                else:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.reset_parameters()
                module.momentum = self.config.bn_momentum
