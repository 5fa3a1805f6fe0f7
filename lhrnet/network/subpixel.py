"""A transposed convolution as an ordinary one, which runtimes compute faster and can quantise to int8."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class SubpixelUp(nn.Module):
    """The same function as a 4x4 transposed convolution of stride 2 and padding 1, (B, C, h, w) to (B, D, 2h, 2w).

    Each output pixel is made of two by two input pixels. One 2x2 convolution computes all four kinds of output pixels
    (even and odd rows and columns) around every corner between input pixels; they are then interleaved (pixel shuffle).

    Args:
        up: the convolution to replace, with bias.
    """

    def __init__(self, up: nn.ConvTranspose2d) -> None:
        super().__init__()
        if (up.kernel_size, up.stride, up.padding, up.groups) != ((4, 4), (2, 2), (1, 1), 1) or up.bias is None:
            raise ValueError(f"{up} is no 4x4 transposed convolution of stride 2 and padding 1 with bias")
        taps = [3, 1], [2, 0]  # of even and of odd rows, from the first to the second input row
        weight = up.weight.detach()
        kinds = [weight[:, :, rows][..., columns].transpose(0, 1) for rows in taps for columns in taps]
        self.width = up.out_channels
        self.conv = nn.Conv2d(up.in_channels, 4 * self.width, 2, padding=1)
        assert self.conv.bias is not None
        self.conv.weight = nn.Parameter(torch.cat(kinds), requires_grad=False)
        self.conv.bias = nn.Parameter(up.bias.detach().repeat(4), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = self.conv(x)
        parts = []
        for kind in range(4):
            row, column = divmod(kind, 2)
            part = corners[:, kind * self.width : (kind + 1) * self.width]
            # cut from the start and the end, so that an exporter needs no sizes
            part = part[:, :, row:] if row else part[:, :, :-1]
            parts.append(part[..., column:] if column else part[..., :-1])
        return functional.pixel_shuffle(torch.stack(parts, dim=2).flatten(1, 2), 2)
