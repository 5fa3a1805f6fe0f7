"""What a network makes of a few fixed images, to look at: people, heatmaps and tags side by side."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lhrnet.draw import contact_sheet, draw_heatmaps, draw_people, draw_tags
from lhrnet.geometry import fit, input_size, warp
from lhrnet.inference import network_maps, predict
from lhrnet.normalise import normalise
from pipeline.data.samples import Sample, read_samples

Image = NDArray[np.uint8]
SHOWN_SCORE = 0.2
"""People less sure than this are not drawn."""
JPEG_QUALITY = 92


def picture_grid(network: nn.Module, samples: Sequence[Sample], *, size: int, device: Any = "cpu") -> Image:
    """Draw a row for each sample: the people found, the heatmaps, the tags where there are heatmaps.

    Args:
        network: in eval mode on the device.
        samples: at least one.
        size: the input's short side.
        device: where the network is.
    """
    images = [sample.image for sample in samples]
    found = predict(network, images, size, "plain", device)
    cells = []
    for image, people in zip(images, found, strict=True):
        sides = input_size(image.shape[1], image.shape[0], size)
        pixels = warp(image, fit(image.shape[1], image.shape[0], sides), sides)
        with torch.inference_mode():
            inputs = normalise(torch.from_numpy(pixels[None]).to(device).permute(0, 3, 1, 2))
            heat_BKhw, tags_BKThw = network_maps(network, inputs, flip=False)
        heat, tags = heat_BKhw[0].cpu().numpy(), tags_BKThw[0, :, 0].cpu().numpy()
        tags = np.stack([cv2.resize(tag, heat.shape[:0:-1], interpolation=cv2.INTER_LINEAR) for tag in tags])
        cells += [
            draw_people(image, people, least_score=SHOWN_SCORE),
            draw_heatmaps(pixels, heat),
            draw_tags(pixels, heat, tags),
        ]
    return contact_sheet(cells, columns=3)


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
