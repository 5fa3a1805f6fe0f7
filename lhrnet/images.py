"""From pixels to the network's input, on the device."""

import torch
from torch import Tensor

MEAN = (0.485, 0.456, 0.406)
"""ImageNet's mean of R, G, B in 0..1."""
STD = (0.229, 0.224, 0.225)
"""ImageNet's standard deviation of R, G, B in 0..1."""


def normalise(images_B3HW: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """RGB bytes to the numbers networks learn from: (x / 255 - mean) / std.

    Args:
        images_B3HW: uint8, RGB, on any device and in any memory format, which the result keeps.
        dtype: of the result.

    Returns:
        (B, 3, H, W).

    Raises:
        ValueError: the images are not uint8 or do not have three channels.
    """
    if images_B3HW.dtype != torch.uint8 or images_B3HW.ndim != 4 or images_B3HW.shape[1] != 3:
        found = f"{images_B3HW.dtype} {tuple(images_B3HW.shape)}"
        raise ValueError(f"images must be uint8 of shape (B, 3, H, W), not {found}")
    device = images_B3HW.device
    scale = torch.tensor([1 / (255 * s) for s in STD], dtype=dtype, device=device).view(1, 3, 1, 1)
    shift = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)], dtype=dtype, device=device).view(1, 3, 1, 1)
    return torch.addcmul(shift, images_B3HW.to(dtype), scale)
