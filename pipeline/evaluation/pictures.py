"""What a network sees in a few fixed images: people, heatmaps and tags side by side."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import nn

from lhrnet.draw import contact_sheet, draw_heatmaps, draw_people, draw_tags
from lhrnet.inference import from_pixels, maps_of
from lhrnet.predictor import Predictor
from pipeline.data.samples import Sample, read_samples

Image = NDArray[np.uint8]
JPEG_QUALITY = 92
LEGIBLE = 384
"""Minimum short side of drawn maps in pixels, approximately."""


def picture_grid(
    network: nn.Module, samples: Sequence[Sample], *, size: int, min_score: float | None = None, device: Any = "cpu"
) -> Image:
    """Draw a row for each sample: the people found, the heatmaps, the tags where there are heatmaps.

    Args:
        network: in eval mode on the device.
        samples: at least one.
        size: the input's short side.
        min_score: people less sure than this are not drawn; None: `lhrnet.draw.MIN_SCORE`.
        device: where the network is.
    """
    images = [sample.image for sample in samples]
    predictor = Predictor(network, size, "plain", device, min_score=min_score)
    found = predictor.many(images)
    cells = []
    for image, people in zip(images, found, strict=True):
        _, heatmaps, tags = map_row(network, image, size, device)
        cells += [draw_people(image, people, predictor.skeleton, min_score=predictor.min_score), heatmaps, tags]
    return contact_sheet(cells, columns=3)


def map_row(network: nn.Module, image: Image, size: int, device: Any = "cpu") -> tuple[Image, Image, Image]:
    """The network's input, its heatmaps, and its tags where there are heatmaps, from one pass without flip.

    Args:
        network: in eval mode on the device.
        image: (H, W, 3) RGB.
        size: the input's short side.
        device: where the network is.

    Returns:
        Three pictures of one size, enlarged to about `LEGIBLE`.
    """
    pixels, heat_Khw, tags_Khw = maps_of(network, image, size, device)
    tags_Khw = tags_Khw.repeat(2, axis=1).repeat(2, axis=2)  # not between people's tags: a mean of two is a third's
    factor = max(1, LEGIBLE // min(pixels.shape[:2]))
    large = np.asarray(cv2.resize(pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), np.uint8)
    return large, draw_heatmaps(large, heat_Khw, from_pixels(network).skeleton), draw_tags(large, heat_Khw, tags_Khw)


def fixed_samples(url: str, count: int) -> list[Sample]:
    """The first samples of a split: the same at every call."""
    return list(islice(read_samples(url, limit=count), count))


def jpeg(image: Image) -> bytes:
    """An (H, W, 3) RGB image of uint8 as a JPEG file.

    Raises:
        ValueError: OpenCV cannot encode it.
    """
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"an image of shape {image.shape} could not be written as JPEG")
    return data.tobytes()
