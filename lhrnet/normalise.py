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
    # filled on the device: a list of numbers would be copied there, and the host would wait for that
    scale = torch.cat([torch.full((1, 1, 1, 1), 1 / (255 * s), dtype=dtype, device=device) for s in STD], dim=1)
    shifts = [-m / s for m, s in zip(MEAN, STD, strict=True)]
    shift = torch.cat([torch.full((1, 1, 1, 1), value, dtype=dtype, device=device) for value in shifts], dim=1)
    return torch.addcmul(shift, images_B3HW.to(dtype), scale)
