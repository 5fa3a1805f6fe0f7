"""A transposed convolution written as an ordinary one gives the same maps."""

import pytest
import torch
from torch import nn

from lhrnet.network.subpixel import SubpixelUp


@pytest.mark.parametrize("size", [(1, 1), (5, 8)])
def test_maps_are_the_same(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    up = nn.ConvTranspose2d(6, 5, 4, 2, 1)
    x = torch.randn(2, 6, *size)
    with torch.inference_mode():
        torch.testing.assert_close(SubpixelUp(up)(x), up(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("up", [nn.ConvTranspose2d(4, 4, 2, 2), nn.ConvTranspose2d(4, 4, 4, 2, 1, bias=False)])
def test_another_transposed_convolution_is_refused(up: nn.ConvTranspose2d) -> None:
    with pytest.raises(ValueError, match="4x4"):
        SubpixelUp(up)
