"""Zero padding of channels for speed: inference runtimes compute in blocks of 4, 8 or 16 channels."""

import torch
from torch import Tensor, nn

from lhrnet.network.stages import PoseNetwork

MULTIPLE = 4
"""onnxruntime uses its blocked convolutions only for multiples of 4; larger multiples were not faster."""


def align(network: PoseNetwork, multiple: int = MULTIPLE) -> None:
    """Pad the channels of a network in place to a multiple; its output maps do not change.

    The added channels are zero throughout: zero weights and biases produce them, and zero weights read them. At the
    quarter resolution, maps of zeros may follow the tags.

    Args:
        network: from `deploy`: without batch norm.
        multiple: that all channel counts become multiples of.
    """
    for module in network.entry.modules():
        if isinstance(module, nn.Conv2d):
            _widen(module, multiple, inputs=False)
    for module in network.stages.modules():
        if isinstance(module, nn.Conv2d):
            _widen(module, multiple)
    head = network.head
    up = head.deconv[0]
    assert isinstance(up, nn.ConvTranspose2d)
    width = head.final0.in_channels
    weight = up.weight.detach()
    weight = torch.cat([_padded(part, 0, multiple) for part in (weight[:width], weight[width:])])
    up.weight = nn.Parameter(_padded(weight, 1, multiple), requires_grad=False)
    if up.bias is not None:
        up.bias = nn.Parameter(_padded(up.bias.detach(), 0, multiple), requires_grad=False)
    up.in_channels, up.out_channels = up.weight.shape[:2]
    for module in head.blocks.modules():
        if isinstance(module, nn.Conv2d):
            _widen(module, multiple)
    _widen(head.final0, multiple)
    _widen(head.final1, multiple, outputs=False)


def _widen(conv: nn.Conv2d, multiple: int, *, inputs: bool = True, outputs: bool = True) -> None:
    weight = conv.weight.detach()
    if inputs:
        weight = _padded(weight, 1, multiple)
    if outputs:
        weight = _padded(weight, 0, multiple)
        if conv.bias is not None:
            conv.bias = nn.Parameter(_padded(conv.bias.detach(), 0, multiple), requires_grad=False)
    conv.weight = nn.Parameter(weight, requires_grad=False)
    conv.out_channels, conv.in_channels = weight.shape[:2]


def _padded(x: Tensor, axis: int, multiple: int) -> Tensor:
    missing = -x.shape[axis] % multiple
    shape = list(x.shape)
    shape[axis] = missing
    return torch.cat([x, x.new_zeros(shape)], dim=axis)
