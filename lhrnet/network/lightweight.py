"""Lightweight HRNet, the network of the paper, at r = -4..0."""

from torch import Tensor, nn

from lhrnet.network.blocks import ConvUnit, LiteConv
from lhrnet.network.config import ModelConfig
from lhrnet.network.exchange import exchange
from lhrnet.network.scaling import backbone_widths, branch_widths, tapped_widths
from lhrnet.network.stages import PoseNetwork, StageSpec


class LiteBackbone(nn.Module):
    """Seven layers (Table I) from an image (B, 3, H, W) to A1..A4 at 1/4, 1/8, 1/16 and 1/32."""

    def __init__(self, r: int) -> None:
        super().__init__()
        widths = backbone_widths(r)
        self.stem = ConvUnit(3, widths[0], stride=2)
        self.lcm1 = LiteConv(widths[0], widths[1])
        self.lcm2 = LiteConv(widths[1], widths[2])
        self.lcm3 = LiteConv(widths[2], widths[3])
        self.conv5 = ConvUnit(widths[3], widths[4])
        self.lcm6 = LiteConv(widths[4], widths[5])
        self.conv7 = ConvUnit(widths[5], widths[6])

    def forward(self, images: Tensor) -> list[Tensor]:
        a1 = self.lcm1(self.stem(images))
        a2 = self.lcm2(a1)
        a3 = self.conv5(self.lcm3(a2))
        a4 = self.conv7(self.lcm6(a3))
        return [a1, a2, a3, a4]


def build(config: ModelConfig) -> PoseNetwork:
    """Two stages: one module on two branches, then three on four, of which the last puts out the finest branch."""
    widths = branch_widths(config.r)
    return PoseNetwork(
        config,
        backbone=LiteBackbone(config.r),
        entry=exchange(tapped_widths(config.r), widths, config.cem, config.exchange),
        stages=[
            StageSpec(widths=widths[:2], modules=1, blocks=2),
            StageSpec(widths=widths, modules=3, blocks=2, outputs=1, carry=True),
        ],
        head_blocks=2,
    )
