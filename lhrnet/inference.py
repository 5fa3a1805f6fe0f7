"""Images to heatmaps and tags: input size and resizing, the flip test, and the test protocols.

`lhrnet.predictor` groups the maps into people.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lhrnet.decoder.grouping import GroupingConfig
from lhrnet.geometry import fit, input_size, warp
from lhrnet.network.config import ModelConfig
from lhrnet.normalise import normalise
from lhrnet.skeleton import COCO, Skeleton

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class InferenceProtocol:
    """How a network is tested. Its name is reported with every figure."""

    name: str
    """Name in reports."""
    flip: bool = False
    """Average with the mirrored image's heatmaps; its tags become a second tag dimension."""
    scales: tuple[float, ...] = (1.0,)
    """Input sizes relative to the one asked for, whose heatmaps are averaged; 1 gives the tags."""
    grouping: GroupingConfig = field(default_factory=GroupingConfig)
    """How maps are grouped into people."""

    def __post_init__(self) -> None:
        if 1 not in self.scales or any(scale <= 0 for scale in self.scales):
            raise ValueError(f"scales are {self.scales}; they must be above 0 and 1 must be among them")


PROTOCOLS: dict[str, InferenceProtocol] = {
    protocol.name: protocol
    for protocol in (
        InferenceProtocol(name="plain"),
        InferenceProtocol(name="flip", flip=True),
        InferenceProtocol(name="multi-scale", flip=True, scales=(0.5, 1.0, 2.0)),
    )
}
"""The protocols that figures are given for, by name."""


def protocol_named(name: str) -> InferenceProtocol:
    """One of `PROTOCOLS`.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol is {name!r}; allowed: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


class PixelNetwork(nn.Module):
    """A network that takes raw pixels. Exported networks do; `FromPixels` wraps any other.

    Its forward takes RGB bytes (B, H, W, 3), H and W multiples of 32, and returns heatmaps (B, K, H/2, W/2), the mean
    of both resolutions, and tags (B, K, H/4, W/4), both float32.

    Attributes:
        skeleton: the K keypoints of its maps.
    """

    skeleton: Skeleton = COCO


class FromPixels(PixelNetwork):
    """A network of `lhrnet.network` behind the normalisation of its input.

    Args:
        network: takes normalised (B, 3, H, W), gives maps at 1/4 and 1/2; of COCO's keypoints unless its settings say
            others.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        config = getattr(network, "config", None)
        self.skeleton = config.keypoints if isinstance(config, ModelConfig) else COCO

    def forward(self, pixels_BHW3: Tensor) -> tuple[Tensor, Tensor]:
        """Heatmaps (B, K, H/2, W/2) and tags (B, K, H/4, W/4) of RGB bytes (B, H, W, 3) on the network's device."""
        quarter, half = self.network(normalise(pixels_BHW3.permute(0, 3, 1, 2)))
        return merged(quarter, half, self.skeleton.count)


def from_pixels(network: nn.Module) -> PixelNetwork:
    """The network, wrapped in `FromPixels` unless it takes raw pixels already."""
    return network if isinstance(network, PixelNetwork) else FromPixels(network)


def fit_input(image: Image, size: int, *, scale: float = 1, min_scale: float = 1) -> Image:
    """Resize an image to the network's input size, keeping its aspect ratio; the rest is black.

    Args:
        image: (H, W, 3) RGB.
        size: short side of the input in pixels.
        scale: one of the scales tested.
        min_scale: the smallest of them.

    Returns:
        (height, width, 3), as `lhrnet.geometry.input_size` says.
    """
    height, width = image.shape[:2]
    sides = input_size(width, height, size, scale=scale, min_scale=min_scale)
    return np.asarray(warp(image, fit(width, height, sides), sides))


def maps_of(
    network: nn.Module, image: Image, size: int, device: torch.device | str = "cpu"
) -> tuple[Image, NDArray[np.float32], NDArray[np.float32]]:
    """Heatmaps and tags of one image, without flip or other scales.

    Args:
        network: of `lhrnet.network`, or a `PixelNetwork`; in eval mode.
        image: (H, W, 3) RGB.
        size: short side of the input in pixels.
        device: where the network is.

    Returns:
        The input's pixels (h, w, 3), heatmaps (K, h/2, w/2) and tags (K, h/4, w/4).
    """
    pixels = fit_input(image, size)
    with torch.inference_mode():
        batch = torch.from_numpy(pixels[None]).to(device)
        heat_BKhw, tags_BKThw = batch_maps(from_pixels(network), batch, flip=False)
    return pixels, heat_BKhw[0].cpu().numpy(), tags_BKThw[0, :, 0].cpu().numpy()


def batch_maps(network: PixelNetwork, pixels_BHW3: Tensor, *, flip: bool) -> tuple[Tensor, Tensor]:
    """Heatmaps and tags of a batch, flip test included.

    Args:
        network: in eval mode.
        pixels_BHW3: RGB bytes on the network's device.
        flip: also run the mirrored batch.

    Returns:
        Heatmaps (B, K, H/2, W/2), the mean of both directions, and tags (B, K, T, H/4, W/4) with T = 2 when flipped.
    """
    if not flip:
        heat, tags = network(pixels_BHW3)
        return heat, tags.unsqueeze(2)
    heat, tags = network(torch.cat([pixels_BHW3, pixels_BHW3.flip(2)]))
    count, swap = len(heat) // 2, list(network.skeleton.flip)
    heat = (heat[:count] + heat[count:].flip(3)[:, swap]) / 2
    return heat, torch.stack([tags[:count], tags[count:].flip(3)[:, swap]], dim=2)


def merged(quarter: Tensor, half: Tensor, keypoints: int) -> tuple[Tensor, Tensor]:
    """A network's two outputs as heatmaps (B, K, H/2, W/2), the mean of both, and the first one's tags; float32.

    Further channels, which fill a layer up to a width that computes faster, are left away.
    """
    quarter, half = quarter.float(), half.float()
    upsampled = interpolate(quarter[:, :keypoints], scale_factor=2.0, mode="bilinear", align_corners=False)
    return (upsampled + half[:, :keypoints]) / 2, quarter[:, keypoints : 2 * keypoints]
