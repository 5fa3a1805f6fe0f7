"""HigherHRNet-W32 and -W48 (Cheng and others, CVPR 2020): HRNet's branches, grown one from the other."""

from torch import Tensor, nn

from lhrnet.network.blocks import Bottleneck, ConvUnit
from lhrnet.network.config import ModelConfig
from lhrnet.network.stages import PoseNetwork, StageSpec


class BottleneckBackbone(nn.Module):
    """Two strided convolutions and four bottlenecks, images (B, 3, H, W) to (B, 256, H/4, W/4)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(ConvUnit(3, 64, stride=2), ConvUnit(64, 64, stride=2))
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))

    def forward(self, images: Tensor) -> Tensor:
        return self.layer1(self.stem(images))  # type: ignore[no-any-return]


class FirstBranches(nn.Module):
    """The one map of the backbone to the first two branches."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.units = nn.ModuleList([ConvUnit(inputs, width), ConvUnit(inputs, 2 * width, stride=2)])

    def forward(self, x: Tensor) -> list[Tensor]:
        return [unit(x) for unit in self.units]


def build(config: ModelConfig, width: int) -> PoseNetwork:
    """Stages of two, three and four branches of `width`, 2 x, 4 x, 8 x `width` channels."""
    widths = [width * 2**n for n in range(4)]
    return PoseNetwork(
        config,
        backbone=BottleneckBackbone(),
        entry=FirstBranches(256, width),
        stages=[
            StageSpec(widths=widths[:2], modules=1, blocks=4),
            StageSpec(widths=widths[:3], modules=4, blocks=4, grow=True),
            StageSpec(widths=widths, modules=3, blocks=4, grow=True, outputs=1),
        ],
        head_blocks=4,
    )
