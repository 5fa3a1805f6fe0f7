"""Images to people: resize, network, flip, scales, grouping and the way back, by the recipe's test-time rules."""

import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lhrnet.coco import FLIP_INDEX, K
from lhrnet.decoder.device_grouping import group_on_device
from lhrnet.decoder.grouping import GroupingConfig, Groups, group_batch
from lhrnet.geometry import Matrix, compose, fit, input_size, inverse, warp
from lhrnet.normalise import normalise
from lhrnet.person import Person

Image = NDArray[np.uint8]
Resolution = Literal["input", "half"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a network is tested. Its name stands beside every figure."""

    name: str
    """What reports call it."""
    flip: bool = False
    """Average with the mirrored image's heatmaps; its tags become a second tag dimension."""
    scales: tuple[float, ...] = (1.0,)
    """Input sizes relative to the one asked for, whose heatmaps are averaged; 1 gives the tags."""
    decode: Resolution = "input"
    """Group on maps brought to the input's size (the recipe), or on maps of half that size (faster)."""
    grouping: GroupingConfig = field(default_factory=GroupingConfig)
    """How people are put together."""

    def __post_init__(self) -> None:
        if 1 not in self.scales or any(scale <= 0 for scale in self.scales):
            raise ValueError(f"scales are {self.scales}; they must be above 0 and 1 must be among them")
        if self.decode not in get_args(Resolution):
            raise ValueError(f"decode is {self.decode!r}; it must be one of {get_args(Resolution)}")


PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(name="plain"),
        Protocol(name="flip", flip=True),
        Protocol(name="multi-scale", flip=True, scales=(0.5, 1.0, 2.0)),
    )
}


class PixelNetwork(nn.Module):
    """A network that takes pixels as they are, as exported ones do.

    Its forward takes RGB bytes (B, H, W, 3), H and W multiples of 32, and returns heatmaps (B, 17, H/2, W/2), the mean
    of both resolutions, and tags (B, 17, H/4, W/4), both float32 on the CPU.
    """


@dataclass(kw_only=True)
class Timings:
    """Seconds spent, added up over calls of `predict`."""

    images: int = 0
    resize: float = 0.0
    network: float = 0.0
    """Normalising, the network, averaging and bringing maps to one size."""
    decode: float = 0.0
    """Grouping and the way back to image pixels."""


def predict(
    network: nn.Module,
    images: Sequence[Image],
    size: int,
    protocol: Protocol | str = "plain",
    device: torch.device | str = "cpu",
    *,
    batch: int = 8,
    pool: ThreadPoolExecutor | None = None,
    timings: Timings | None = None,
) -> list[list[Person]]:
    """Find the people in images.

    Args:
        network: takes normalised (B, 3, H, W), gives maps at 1/4 and 1/2 (see `lhrnet.network`), or a `PixelNetwork`;
            in eval mode.
        images: RGB, uint8, (H, W, 3), of any sizes; those that give the same input size go through together.
        size: the short side of the input, rounded up to a multiple of 64.
        protocol: settings, or the name of one of `PROTOCOLS`.
        device: where the network is.
        batch: most images at once.
        pool: threads that group several images at a time.
        timings: if given, seconds are added to it.

    Returns:
        For each image its people in image pixels, the surest first.

    Raises:
        ValueError: an image is not RGB of bytes, or the protocol is unknown.
    """
    if isinstance(protocol, str):
        if protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {protocol!r}; it must be one of {', '.join(PROTOCOLS)}")
        protocol = PROTOCOLS[protocol]
    by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
    for i, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"image {i} is {image.dtype} {image.shape}; it must be uint8 RGB of shape (H, W, 3)")
        by_size[input_size(image.shape[1], image.shape[0], size, min_scale=min(protocol.scales))].append(i)
    found: list[list[Person]] = [[] for _ in images]
    timings = timings or Timings()
    for members in by_size.values():
        for first in range(0, len(members), batch):
            chosen = members[first : first + batch]
            people = _predict_same_size(network, [images[i] for i in chosen], size, protocol, device, pool, timings)
            for i, of_image in zip(chosen, people, strict=True):
                found[i] = of_image
    return found


def _predict_same_size(
    network: nn.Module,
    images: Sequence[Image],
    size: int,
    protocol: Protocol,
    device: torch.device | str,
    pool: ThreadPoolExecutor | None,
    timings: Timings,
) -> list[list[Person]]:
    height, width = images[0].shape[:2]
    base = input_size(width, height, size, min_scale=min(protocol.scales))
    target = (base[1], base[0]) if protocol.decode == "input" else (base[1] // 2, base[0] // 2)
    heat_sum: Tensor | None = None
    tags = torch.empty(0)
    for scale in protocol.scales:
        started = time.perf_counter()
        sides = round(base[0] * scale), round(base[1] * scale)
        pixels = np.stack([warp(image, fit(image.shape[1], image.shape[0], sides), sides) for image in images])
        timings.resize += time.perf_counter() - started
        started = time.perf_counter()
        with torch.inference_mode():
            if isinstance(network, PixelNetwork):
                heat, scale_tags = pixel_maps(network, torch.from_numpy(pixels), flip=protocol.flip)
            else:
                inputs = normalise(torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2))
                heat, scale_tags = network_maps(network, inputs, flip=protocol.flip)
            heat = _bring_to(heat, target)
            heat_sum = heat if heat_sum is None else heat_sum + heat
            if scale == 1:
                tags = _bring_to(scale_tags.flatten(1, 2), target).view(*scale_tags.shape[:3], *target)
        timings.network += time.perf_counter() - started
    assert heat_sum is not None
    started = time.perf_counter()
    heat = heat_sum / len(protocol.scales)
    if heat.is_cuda:
        torch.cuda.synchronize(heat.device)
    timings.network += time.perf_counter() - started
    started = time.perf_counter()
    if heat.device.type == "cpu":
        groups = group_batch(heat.numpy(), np.moveaxis(tags.numpy(), 2, -1), protocol.grouping, pool=pool)
    else:
        groups = group_on_device(heat, tags, protocol.grouping, pool=pool)
    to_input = np.diag([base[0] / target[1], base[1] / target[0], 0.0])[:2]
    people = [
        people_of(found, compose(inverse(fit(image.shape[1], image.shape[0], base)), to_input))
        for found, image in zip(groups, images, strict=True)
    ]
    timings.decode += time.perf_counter() - started
    timings.images += len(images)
    return people


def network_maps(network: nn.Module, inputs_B3HW: Tensor, *, flip: bool) -> tuple[Tensor, Tensor]:
    """Heatmaps and tags of a batch, flip test included.

    Args:
        network: as in `predict`.
        inputs_B3HW: normalised.
        flip: also look at the mirrored batch.

    Returns:
        Heatmaps (B, 17, H/2, W/2), the mean of both resolutions and of both directions, and the 1/4 resolution's tags
        (B, 17, T, H/4, W/4) with T = 2 when flipped; both float32.
    """
    heat, tags = merged(*network(torch.cat([inputs_B3HW, inputs_B3HW.flip(3)]) if flip else inputs_B3HW))
    return _unmirrored(heat, tags) if flip else (heat, tags.unsqueeze(2))


def pixel_maps(network: PixelNetwork, pixels_BHW3: Tensor, *, flip: bool) -> tuple[Tensor, Tensor]:
    """As `network_maps`, of a network that takes RGB bytes."""
    heat, tags = network(torch.cat([pixels_BHW3, pixels_BHW3.flip(2)]) if flip else pixels_BHW3)
    return _unmirrored(heat, tags) if flip else (heat, tags.unsqueeze(2))


def merged(quarter: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """A network's two outputs as heatmaps (B, 17, H/2, W/2), the mean of both, and the first one's tags; float32."""
    quarter, half = quarter.float(), half.float()
    upsampled = interpolate(quarter[:, :K], scale_factor=2.0, mode="bilinear", align_corners=False)
    return (upsampled + half[:, :K]) / 2, quarter[:, K : 2 * K]


def _unmirrored(heat: Tensor, tags: Tensor) -> tuple[Tensor, Tensor]:
    """Maps of a batch and then of the same mirrored, as the mean of both and tags of two dimensions."""
    count, swap = len(heat) // 2, list(FLIP_INDEX)
    heat = (heat[:count] + heat[count:].flip(3)[:, swap]) / 2
    return heat, torch.stack([tags[:count], tags[count:].flip(3)[:, swap]], dim=2)


def _bring_to(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Maps at another size, bilinear, edges on edges."""
    if tuple(maps.shape[2:]) == tuple(size):
        return maps
    return interpolate(maps, size=tuple(size), mode="bilinear", align_corners=False)


def people_of(groups: Groups, to_image: Matrix) -> list[Person]:
    """People in image pixels, the surest first.

    Args:
        groups: of one image, in map coordinates.
        to_image: (2, 3), map coordinates to image pixels.
    """
    return [
        Person(keypoints=groups.keypoints[i], score=float(groups.scores[i]), tag=groups.tags[i]).moved(to_image)
        for i in np.argsort(-groups.scores, kind="stable")
    ]
