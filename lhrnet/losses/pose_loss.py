"""What training minimises: heatmap and associative-embedding losses of a whole batch on the device.

B images, P people (padded), K joints, T pairs, h x w map pixels. Everything is float32 whatever the network's
precision. Nothing here loops over images or people, moves a value to the host or has a shape that depends on data.
"""

from dataclasses import dataclass
from math import inf
from typing import Final, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from lhrnet.losses.targets import CENTRES, Centre, render_heatmaps, tag_indices

Push = Literal["exp", "hinge"]
"""How tags of different people repel each other."""

PUSHES: Final = ("exp", "hinge")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What the loss consists of. The defaults train from random weights; `REFERENCE` is the reference's recipe."""

    push: Push = "hinge"
    """"hinge": max(0, margin - d) / margin of two people's mean tags at distance d, whose gradient is the same at any
    distance below the margin. "exp" (the reference): exp(-d²), whose gradient vanishes where the tags coincide:
    training from random weights gets stuck there."""
    push_margin: float = 2.0
    """Distance in tag units from which the hinge no longer pushes. 1 is the reference's "max" form."""
    tag_weight: float = 0.05
    """Weight of the tag loss, pull + push_weight * push, in the total (the reference: 0.001)."""
    push_weight: float = 1.0
    """Weight of push relative to pull (the reference: 1)."""
    quarter_weight: float = 1.0
    """Weight of the heatmap loss at 1/4 resolution (the reference: 1)."""
    half_weight: float = 1.0
    """Weight of the heatmap loss at 1/2 resolution (the reference: 1)."""
    positive_weight: float = 10.0
    """w in the heatmap loss's pixel weight 1 + w * target, which makes the few pixels near joints count more (the
    reference: 0, the plain mean)."""
    sigma: float = 2.0
    """Standard deviation of a joint's Gaussian, in map pixels of either resolution (the reference: 2)."""
    centre: Centre = "subpixel"
    """Where a Gaussian peaks: "subpixel" at the joint, "floor" at the centre of its pixel (the reference)."""
    tags_at_half: bool = False
    """Train tags on the 1/2-resolution output too (the reference: no). The network needs tag maps there, see
    `model.tags_at_half`; inference does not read them."""

    def __post_init__(self) -> None:
        """Raises ValueError: a value is out of range."""
        for key, allowed in (("push", PUSHES), ("centre", CENTRES)):
            if getattr(self, key) not in allowed:
                raise ValueError(f"loss.{key} is {getattr(self, key)!r}; it must be one of {', '.join(allowed)}")
        for key in ("push_margin", "sigma"):
            if not 0 < getattr(self, key) < inf:
                raise ValueError(f"loss.{key} is {getattr(self, key)}; it must be above 0 and finite")
        for key in ("tag_weight", "push_weight", "quarter_weight", "half_weight", "positive_weight"):
            if not 0 <= getattr(self, key) < inf:
                raise ValueError(f"loss.{key} is {getattr(self, key)}; it must be 0 or above and finite")


REFERENCE: Final = LossConfig(push="exp", tag_weight=0.001, positive_weight=0.0, centre="floor")
"""HigherHRNet's published recipe, for training from ImageNet weights."""


class Losses(NamedTuple):
    """The loss of one batch: float32 scalars on the device, means over its images."""

    total: Tensor
    """What to minimise: heatmap + tag_weight * (pull + push_weight * push)."""
    heatmap: Tensor
    """Weighted sum over the two resolutions."""
    pull: Tensor
    """Spread of tags within people, unweighted; summed over the resolutions at which tags are trained."""
    push: Tensor
    """Closeness of tags between people, unweighted: 0.5 where all coincide; summed likewise."""


def pose_loss(outputs: tuple[Tensor, Tensor], joints_BPK3: Tensor, mask_half_Bhw: Tensor, config: LossConfig) -> Losses:
    """Compare the network's two outputs with the people in the images.

    Args:
        outputs: (B,2K,H/4,W/4) and (B,2K or K,H/2,W/2): heatmaps, then tags.
        joints_BPK3: x, y in input pixels and v (> 0: labelled), padded with zeros to any number of people.
        mask_half_Bhw: (B,H/2,W/2), nonzero where a pixel counts in the heatmap loss. At 1/4 resolution a pixel
            counts if all of its four do.
        config: which terms and factors.

    Returns:
        The losses, with gradients.

    Raises:
        ValueError: the outputs, the mask and the joints do not fit together.
    """
    quarter, half = outputs
    _check(quarter, half, joints_BPK3, mask_half_Bhw, config)
    counts, keypoints = (mask_half_Bhw != 0).float(), joints_BPK3.shape[2]
    heatmap = pull = push = joints_BPK3.new_zeros((), dtype=torch.float32)
    for output, stride, mask, weight, tagged in (
        (quarter, 4, -functional.max_pool2d(-counts, 2), config.quarter_weight, True),
        (half, 2, counts, config.half_weight, config.tags_at_half),
    ):
        size = (output.shape[2], output.shape[3])
        joints = joints_BPK3 / stride  # v too: only its sign is read
        heat, tags = torch.split(output.float(), [keypoints, output.shape[1] - keypoints], dim=1)
        target = render_heatmaps(joints, size, config.sigma, config.centre)
        heatmap = heatmap + weight * heatmap_loss(heat, target, mask, config.positive_weight).mean()
        if tagged:
            index, valid = tag_indices(joints, size)
            apart = tag_loss(tags, index, valid, push=config.push, margin=config.push_margin)
            pull, push = pull + apart[0].mean(), push + apart[1].mean()
    total = heatmap + config.tag_weight * (pull + config.push_weight * push)
    return Losses(total, heatmap, pull, push)


def heatmap_loss(heat_BKhw: Tensor, target_BKhw: Tensor, mask_Bhw: Tensor, positive_weight: float = 0.0) -> Tensor:
    """Mean over all of an image's map pixels of mask * (1 + positive_weight * target) * (heat - target)².

    Masked pixels add 0 to the sum but are counted in the mean's denominator, as in the reference code.

    Returns:
        (B,) float32.
    """
    weight = mask_Bhw[:, None]
    if positive_weight:
        weight = weight * (1 + positive_weight * target_BKhw)
    return ((heat_BKhw - target_BKhw).square() * weight).mean(dim=(1, 2, 3))


def tag_loss(
    tags_BKhw: Tensor, index_BPK: Tensor, valid_BPK: Tensor, *, push: Push = "exp", margin: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Associative embedding (Newell et al. 2017): one person's tags together, different people's apart.

    Over the N people of an image who have a valid joint: pull is the mean over people of the mean squared distance
    of a person's tags from their mean; push is Σ_{i<j} f(|m_i - m_j|) / (N (N - 1)) over their means, where f is
    exp(-d²) ("exp") or max(0, margin - d) / margin ("hinge"). No people: 0 and 0; one: push 0.

    Args:
        tags_BKhw: the tag maps.
        index_BPK: of each joint's pixel in a flattened (K,h,w) map.
        valid_BPK: False where a joint has no tag.
        push: the form of f.
        margin: the hinge's reach in tag units.

    Returns:
        pull and push, (B,) each.
    """
    tags_BPK = tags_BKhw.flatten(1).gather(1, index_BPK.flatten(1)).view(index_BPK.shape)
    joints_BP = valid_BPK.sum(-1)
    here_BP = joints_BP > 0
    count_BP, count_B = joints_BP.clamp(min=1), here_BP.sum(-1)
    mean_BP = torch.where(valid_BPK, tags_BPK, 0).sum(-1) / count_BP
    offset_BPK = torch.where(valid_BPK, tags_BPK - mean_BP[..., None], 0)
    pull_B = (offset_BPK.square().sum(-1) / count_BP).sum(-1) / count_B.clamp(min=1)

    apart_BPP = mean_BP[:, :, None] - mean_BP[:, None, :]
    if push == "exp":
        force_BPP = torch.exp(-apart_BPP.square())
    else:
        # Not abs(): its gradient is 0 where two means coincide. Here every pair is pushed, the later person upwards.
        distance_BPP = apart_BPP * torch.where(apart_BPP > 0, 1, -1)
        force_BPP = (margin - distance_BPP).clamp(min=0) / margin
    pair_BPP = (here_BP[:, :, None] & here_BP[:, None, :]).triu(1)
    push_B = torch.where(pair_BPP, force_BPP, 0).sum((1, 2)) / (count_B * (count_B - 1)).clamp(min=1)
    return pull_B, push_B


def _check(quarter: Tensor, half: Tensor, joints: Tensor, mask: Tensor, config: LossConfig) -> None:
    images, channels, height, width = quarter.shape
    count = channels // 2
    shapes = f"outputs {tuple(quarter.shape)} and {tuple(half.shape)}, joints {tuple(joints.shape)}, "
    shapes += f"mask {tuple(mask.shape)}"
    if channels != 2 * count or half.shape[1] not in (count, 2 * count):
        raise ValueError(f"{shapes}: K keypoints need outputs of 2 K and of K or 2 K channels")
    if config.tags_at_half and half.shape[1] != 2 * count:
        raise ValueError(f"{shapes}: loss.tags_at_half needs an output at 1/2 resolution of {2 * count} channels")
    if half.shape[0] != images or half.shape[2:] != (2 * height, 2 * width) or mask.shape != half[:, 0].shape:
        raise ValueError(f"{shapes}: the second output and the mask must be twice as large as the first output")
    if joints.dim() != 4 or joints.shape[0] != images or joints.shape[2:] != (count, 3):
        raise ValueError(f"{shapes}: the joints must be (images, people, {count}, 3)")
