"""Training targets rendered on the device: heatmaps and tag indices of a whole batch from its joints.

B images, P people (padded), K joints, h x w map pixels. Nothing here loops over images or people. On a device nothing
moves a value to the host or has a shape that depends on data, so rendering stays in its queue and compiles whole.
"""

from typing import Final, Literal

import torch
from torch import Tensor

Centre = Literal["floor", "subpixel"]
"""Where a joint's Gaussian peaks: on the centre of the pixel that holds it, or exactly on the joint."""

CENTRES: Final = ("floor", "subpixel")


def pixels(joints_BPK3: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Find the map pixel that holds each joint.

    Args:
        joints_BPK3: x, y in map pixels and v; joints with v <= 0 are not labelled.
        size: (h, w) of the map.

    Returns:
        x and y (B,P,K) int64, 0 where not valid, and valid (B,P,K) bool: labelled and on the map. Coordinates are
        truncated towards zero as in the reference code, so a joint less than a pixel above or left of the map still
        falls on its first row or column.
    """
    height, width = size
    x, y, visible = joints_BPK3.unbind(-1)
    valid = (visible > 0) & (x > -1) & (y > -1) & (x < width) & (y < height)
    return torch.where(valid, x, 0).long(), torch.where(valid, y, 0).long(), valid


def tag_indices(joints_BPK3: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Find the index of each joint's tag in the flattened tag maps.

    Args:
        joints_BPK3: x, y in map pixels and v.
        size: (h, w) of the tag maps.

    Returns:
        index (B,P,K) int64 into a flattened (K,h,w) map, k * h * w + y * w + x, and valid (B,P,K) bool. Where a
        joint is not labelled or off the map, valid is False and index is that of the map's first pixel.
    """
    height, width = size
    x, y, valid = pixels(joints_BPK3, size)
    joint = torch.arange(joints_BPK3.shape[2], device=joints_BPK3.device)
    return (joint * height + y) * width + x, valid


def render_heatmaps(joints_BPK3: Tensor, size: tuple[int, int], sigma: float = 2.0, centre: Centre = "floor") -> Tensor:
    """Render a Gaussian of height 1 around every labelled joint; where people overlap, the larger value counts.

    A joint reaches the pixels within 3 sigma + 1 of its own in x and in y (a window of 6 sigma + 3, as the reference
    code).

    Args:
        joints_BPK3: x, y in map pixels and v; joints with v <= 0 or off the map draw nothing.
        size: (h, w) of the heatmaps.
        sigma: standard deviation in map pixels.
        centre: "floor" peaks on the centre of the joint's pixel (the reference); "subpixel" on the joint itself.

    Returns:
        (B,K,h,w) float32.

    Raises:
        ValueError: sigma is not positive or centre is not one of CENTRES.
    """
    if not sigma > 0:
        raise ValueError(f"sigma is {sigma}; it must be a positive number of map pixels")
    if centre not in CENTRES:
        raise ValueError(f"centre is {centre!r}; it must be one of {', '.join(CENTRES)}")
    height, width = size
    images, joints, device = joints_BPK3.shape[0], joints_BPK3.shape[2], joints_BPK3.device
    x, y, valid = pixels(joints_BPK3, size)
    peak = joints_BPK3[..., :2] - 0.5
    drawn = torch.arange(images * joints, device=device).view(images, 1, joints).expand(x.shape)
    if device.type == "cpu" and not torch.compiler.is_compiling():
        # On the CPU, values can be read without a wait: dropping the padding saves most of the work.
        x, y, peak, drawn, valid = x[valid], y[valid], peak[valid], drawn[valid], valid[valid]

    reach = int(3 * sigma + 1)
    window = torch.arange(-reach, reach + 1, device=device)
    column, row = x[..., None] + window, y[..., None] + window  # (joints..., window)
    centre_x, centre_y = (x, y) if centre == "floor" else torch.where(valid[..., None], peak, 0).unbind(-1)
    # A Gaussian is row times column, in double as the reference's table is: float32 then agrees to the last bit.
    beside = torch.exp((column - centre_x[..., None]).double().square() / (-2 * sigma**2))
    beneath = torch.exp((row - centre_y[..., None]).double().square() / (-2 * sigma**2))
    beside = beside * ((column >= 0) & (column < width))
    beneath = beneath * ((row >= 0) & (row < height) & valid[..., None])
    gaussian = (beneath[..., :, None] * beside[..., None, :]).float()  # (joints..., window, window)

    # Pixels off the map are written to its border as zeros, which do not change a maximum.
    line = (drawn[..., None] * height + row.clamp(0, height - 1)) * width
    place = line[..., :, None] + column.clamp(0, width - 1)[..., None, :]
    heat = torch.zeros(images * joints * height * width, device=device)
    return heat.scatter_reduce_(0, place.flatten(), gaussian.flatten(), "amax").view(images, joints, height, width)
