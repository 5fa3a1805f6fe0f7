"""Images to people: a network with its input size, test protocol and device.

import lhrnet

network = lhrnet.create_model(lhrnet.ModelConfig(r=-4, input_size=256))
people = lhrnet.Predictor(network, size=256)("photo.jpg")
"""

import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from lhrnet.decoder.device_grouping import group_on_device
from lhrnet.decoder.enlarged import factor_of
from lhrnet.decoder.grouping import Groups, group_batch
from lhrnet.draw import MIN_SCORE
from lhrnet.geometry import Matrix, fit, input_size, inverse
from lhrnet.image_file import read_image
from lhrnet.inference import Image, InferenceProtocol, batch_maps, fit_input, from_pixels, protocol_named
from lhrnet.network.config import check_short_side
from lhrnet.person import Person
from lhrnet.skeleton import Skeleton


@dataclass(kw_only=True)
class Timings:
    """Seconds spent, summed over calls."""

    images: int = 0
    resize: float = 0.0
    network: float = 0.0
    """Normalising, the network, averaging, and bringing maps to one size where there are several scales or a GPU."""
    decode: float = 0.0
    """Grouping, and mapping keypoints back to image pixels."""


class Predictor:
    """Finds people in images: resizing, network, flip test, scales and grouping, as the protocol says.

    Args:
        network: takes normalised (B, 3, H, W), gives maps at 1/4 and 1/2 (see `lhrnet.network`), or a `PixelNetwork`.
            It is moved to the device and put into eval mode.
        size: short side of the input in pixels, rounded up to a multiple of 64.
        protocol: one of `PROTOCOLS` by name, or settings.
        device: what the network runs on.
        batch: maximum images per forward pass.
        pool: threads that group several images in parallel.
        min_score: people below are rather nobody: they are found, as COCO counts them, and not drawn. Best is what an
            evaluation found; None: `lhrnet.draw.MIN_SCORE`.

    Attributes:
        skeleton: the keypoints of the people it finds.
        timings: seconds spent so far; assign a new `Timings` to start from zero.

    Raises:
        ValueError: the protocol is unknown, or the size not from 32 to 4096.
    """

    def __init__(
        self,
        network: nn.Module,
        size: int,
        protocol: InferenceProtocol | str = "plain",
        device: torch.device | str = "cpu",
        *,
        batch: int = 8,
        pool: ThreadPoolExecutor | None = None,
        min_score: float | None = None,
    ) -> None:
        self.min_score = MIN_SCORE if min_score is None else min_score
        self.protocol = protocol_named(protocol) if isinstance(protocol, str) else protocol
        check_short_side(size)
        self.network = network.to(device).eval()
        self.size = size
        self.device = device
        self.batch = batch
        self.pool = pool
        self.timings = Timings()
        self._of_pixels = from_pixels(self.network)
        self._grouping = replace(self.protocol.grouping, order=self._of_pixels.skeleton.order)

    @property
    def skeleton(self) -> Skeleton:
        """The keypoints of the people it finds."""
        return self._of_pixels.skeleton

    def __call__(self, image: Image | str | Path) -> list[Person]:
        """The people in one image, in its pixels, highest score first.

        Args:
            image: (H, W, 3) RGB uint8, or the path of an image file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not an image.
        """
        return self.many([image if isinstance(image, np.ndarray) else read_image(Path(image))])[0]

    def many(self, images: Sequence[Image]) -> list[list[Person]]:
        """The people in each of several images.

        Args:
            images: (H, W, 3) RGB uint8, of any sizes; those with the same input size share a batch.

        Returns:
            For each image its people in image pixels, highest score first.

        Raises:
            ValueError: an image is not RGB of bytes.
        """
        by_size: dict[tuple[int, int], list[int]] = defaultdict(list)
        for i, image in enumerate(images):
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
                raise ValueError(f"image {i} is {image.dtype} {image.shape}; it must be uint8 RGB of shape (H, W, 3)")
            by_size[self._sides(image)].append(i)
        found: list[list[Person]] = [[] for _ in images]
        for sides, members in by_size.items():
            for first in range(0, len(members), self.batch):
                chosen = members[first : first + self.batch]
                for i, people in zip(chosen, self._same_size([images[i] for i in chosen], sides), strict=True):
                    found[i] = people
        return found

    def _sides(self, image: Image) -> tuple[int, int]:
        """(width, height) of the input at scale 1."""
        return input_size(image.shape[1], image.shape[0], self.size, min_scale=min(self.protocol.scales))

    def _same_size(self, images: Sequence[Image], sides: tuple[int, int]) -> list[list[Person]]:
        heat, tags = self._maps(images, sides)
        started = time.perf_counter()
        if heat.device.type == "cpu":
            small_tags = np.moveaxis(tags.numpy(), 2, -1)
            groups = group_batch(heat.numpy(), small_tags, self._grouping, size=sides[::-1], pool=self.pool)
        else:
            groups = group_on_device(heat, tags, self._grouping, pool=self.pool)
        people = [
            people_of(found, inverse(fit(image.shape[1], image.shape[0], sides)))
            for found, image in zip(groups, images, strict=True)
        ]
        self.timings.decode += time.perf_counter() - started
        self.timings.images += len(images)
        return people

    def _maps(self, images: Sequence[Image], sides: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Heatmaps (B, K, h, w), the mean over all scales, and tags (B, K, T, h', w').

        On a GPU both are as large as the input. On the CPU they are left as small as they are, where grouping can read
        them so.
        """
        target = sides[::-1]
        heat_sum: Tensor | None = None
        tags = torch.empty(0)
        scales = self.protocol.scales
        for scale in scales:
            started = time.perf_counter()
            pixels = np.stack([fit_input(image, self.size, scale=scale, min_scale=min(scales)) for image in images])
            self.timings.resize += time.perf_counter() - started
            started = time.perf_counter()
            with torch.inference_mode():
                batch = torch.from_numpy(pixels).to(self.device)
                heat, scale_tags = batch_maps(self._of_pixels, batch, flip=self.protocol.flip)
                heat = self._ready(heat, target) if len(scales) == 1 else _bring_to(heat, target)
                heat_sum = heat if heat_sum is None else heat_sum + heat
                if scale == 1:
                    tags = self._ready(scale_tags.flatten(1, 2), target)
                    tags = tags.view(*scale_tags.shape[:3], *tags.shape[2:])
            self.timings.network += time.perf_counter() - started
        assert heat_sum is not None
        started = time.perf_counter()
        heat = heat_sum / len(scales) if len(scales) > 1 else heat_sum
        if heat.is_cuda:
            torch.cuda.synchronize(heat.device)
        self.timings.network += time.perf_counter() - started
        return heat, tags

    def _ready(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Maps that grouping can read at this height and width."""
        readable = maps.device.type == "cpu" and factor_of(maps.shape[2:], size) is not None
        return maps if readable else _bring_to(maps, size)


def _bring_to(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps at another (height, width), bilinear, edges on edges."""
    if tuple(maps.shape[2:]) == size:
        return maps
    return interpolate(maps, size=size, mode="bilinear", align_corners=False)


def people_of(groups: Groups, to_image: Matrix) -> list[Person]:
    """People in image pixels, highest score first.

    Args:
        groups: of one image, in map coordinates.
        to_image: (2, 3), map coordinates to image pixels.
    """
    return [
        Person(keypoints=groups.keypoints[i], score=float(groups.scores[i]), tag=groups.tags[i]).moved(to_image)
        for i in np.argsort(-groups.scores, kind="stable")
    ]
