"""What looking at an image promises: its input, its maps, and the flip test."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lhrnet.coco import FLIP_INDEX, K
from lhrnet.geometry import input_size
from lhrnet.inference import FromPixels, batch_maps, fit_input, from_pixels, maps_of, merged
from lhrnet.normalise import MEAN, STD


class Bright(nn.Module):
    """Heatmaps that are the red channel, tags that are the green one, each keypoint by a factor of its own."""

    def forward(self, inputs_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        colours = inputs_B3HW * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
        factor = torch.arange(1, K + 1).view(1, K, 1, 1)
        half, quarter = (nn.functional.avg_pool2d(colours, stride) for stride in (2, 4))
        return torch.cat([quarter[:, :1] * factor, quarter[:, 1:2] * factor], dim=1), 3 * half[:, :1] * factor


def noise(width: int, height: int, images: int = 1) -> np.ndarray:
    return np.random.default_rng(width).integers(0, 256, (images, height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(("width", "height"), [(96, 64), (50, 90), (640, 480)])
def test_an_input_is_of_the_size_that_geometry_says(width: int, height: int) -> None:
    (image,) = noise(width, height)
    pixels = fit_input(image, 128)
    assert pixels.shape[1::-1] == input_size(width, height, 128)
    assert fit_input(image, 128, scale=2, min_scale=0.5).shape[1::-1] == input_size(
        width, height, 128, scale=2, min_scale=0.5
    )


def test_the_flip_test_averages_and_keeps_both_tags() -> None:
    pixels = torch.from_numpy(noise(96, 64, images=2))
    network = from_pixels(Bright())
    heat, tags = batch_maps(network, pixels, flip=False)
    heat_flip, tags_flip = batch_maps(network, pixels, flip=True)
    assert (tags.shape, tags_flip.shape) == ((2, K, 1, 16, 24), (2, K, 2, 16, 24))
    torch.testing.assert_close(tags_flip[:, :, :1], tags)
    swapped = torch.arange(1, K + 1)[list(FLIP_INDEX)].view(1, K, 1, 1) / torch.arange(1, K + 1).view(1, K, 1, 1)
    torch.testing.assert_close(tags_flip[:, :, 1], tags[:, :, 0] * swapped)
    torch.testing.assert_close(heat_flip, heat * (1 + swapped) / 2)


def test_both_resolutions_are_averaged() -> None:
    quarter, half = torch.randn(2, 2 * K, 4, 6), torch.randn(2, K, 8, 12)
    heat, tags = merged(quarter, half, K)
    up = nn.functional.interpolate(quarter[:, :K], scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(heat, (up + half) / 2)
    torch.testing.assert_close(tags, quarter[:, K:])


def test_maps_of_one_image_are_those_of_its_batch() -> None:
    (image,) = noise(80, 60)
    network = Bright()
    pixels, heat, tags = maps_of(network, image, 64)
    np.testing.assert_array_equal(pixels, fit_input(image, 64))
    wanted_heat, wanted_tags = batch_maps(FromPixels(network), torch.from_numpy(pixels[None]), flip=False)
    np.testing.assert_array_equal(heat, wanted_heat[0])
    np.testing.assert_array_equal(tags, wanted_tags[0, :, 0])
    assert heat.shape == (K, pixels.shape[0] // 2, pixels.shape[1] // 2)


def test_a_network_that_takes_pixels_is_not_wrapped_again() -> None:
    network = FromPixels(Bright())
    assert from_pixels(network) is network
