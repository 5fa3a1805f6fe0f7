"""Gathering what the folded exchange reads (see `folding`), and scattering its gradient back.

A far source with stride 2 and taps -1 and 0 (4x4 pixels) becomes four channels at the branch's resolution (2x2), one
for each pair of taps; what lies before the border is 0:

    source            A       B       C       D
    D C D C           0 0     0 0     0 C     D D
    B A B A    ->     0 A     B B     0 C     D D
    D C D C
    B A B A

A near source of branches 1 to 3 is copied, upsampled where it is coarser, into a buffer with a row of zeros above and a
column of zeros to the left, which are its pixels -1:

    x x               0 0 0
    x x        ->     0 x x
                      0 x x

Both directions are custom operators, which the compiler takes as a whole: traced one by one, the copies make a graph
of about a hundred nested slices. They only copy; autograd of a slice would zero and add a whole map each time.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lhrnet.network.folding import Plan, flatten, has_far, taps, unflatten


def gather(plan: Plan, maps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    """Inputs of each branch's near and far convolution; None for far where a branch reads no finer map.

    Near is (B, C, h, w) for the first branch and (B, C, h + 1, w + 1), zero at the top and left, for the others; far is
    (B, C', h, w). Nothing is kept for the backward pass.
    """
    buffers = list(_gather(list(maps), flatten(plan)))
    return [(buffers.pop(0), buffers.pop(0) if has_far(n, row) else None) for n, row in enumerate(plan)]


def _buffers(plan: Plan, maps: Sequence[Tensor]) -> list[Tensor]:
    """Buffers for the inputs of the branches' convolutions, zero beyond the border, otherwise not initialised."""
    buffers = []
    for n, row in enumerate(plan):
        batch, _, height, width = maps[n].shape
        border = int(n > 0)
        near = sum(run.length for run in row if run.source >= n)
        buffers.append(_empty((batch, near, height + border, width + border), maps[0]))
        if border:
            buffers[-1][:, :, 0].zero_()
            buffers[-1][:, :, :, 0].zero_()
        if has_far(n, row):
            far = sum(run.length * len(taps(run.source)) ** 2 for run in row if run.source < n)
            buffers.append(_empty((batch, far, height, width), maps[0]).zero_())
    return buffers


def _maps(plan: Plan, buffers: Sequence[Tensor], widths: Sequence[int]) -> list[Tensor]:
    """Zeros in the shapes of the maps that these buffers were gathered from."""
    batch, _, height, width = buffers[0].shape
    return [_empty((batch, channels, height >> n, width >> n), buffers[0]).zero_() for n, channels in enumerate(widths)]


def _empty(shape: Sequence[int], like: Tensor) -> Tensor:
    channels_last = like.is_contiguous(memory_format=torch.channels_last) and not like.is_contiguous()
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=memory_format)


def _pairs(plan: Plan, maps: Sequence[Tensor], buffers: Sequence[Tensor]) -> Iterator[tuple[Tensor, Tensor, int]]:
    """Views of a map's pixels and of their destination in a buffer, with the upsampling factor between them."""
    remaining = iter(buffers)
    for n, row in enumerate(plan):
        height, width = maps[n].shape[2:]
        near = next(remaining)[:, :, -height:, -width:]
        far = next(remaining) if has_far(n, row) else near
        near_at = far_at = 0
        for run in row:
            x = maps[run.source][:, run.channels]
            if run.source >= n:
                yield x, near[:, near_at : near_at + run.length], 2 ** (run.source - n)
                near_at += run.length
                continue
            stride, read = 2 ** (n - run.source), taps(run.source)
            windows = torch.unflatten(far[:, far_at : far_at + run.length * len(read) ** 2], 1, (run.length, -1))
            far_at += run.length * len(read) ** 2
            for i, down in enumerate(read):
                rows, to_rows = _reads(down, stride, height)
                for k, right in enumerate(read):
                    columns, to_columns = _reads(right, stride, width)
                    yield x[:, :, rows, columns], windows[:, :, i * len(read) + k, to_rows, to_columns], 1


def _reads(tap: int, stride: int, size: int) -> tuple[slice, slice]:
    """Slices of a source's pixels stride * p + tap, p = 0 .. size - 1, and of p, without those before the border."""
    if tap < 0:
        return slice(stride + tap, (size - 1) * stride, stride), slice(1, None)
    return slice(tap, None, stride), slice(None)


@torch.library.custom_op("lhrnet::gather", mutates_args=())
def _gather(maps: list[Tensor], plan: list[int]) -> list[Tensor]:
    rows = unflatten(plan, len(maps))
    buffers = _buffers(rows, maps)
    for x, place, factor in _pairs(rows, maps, buffers):
        if factor == 1:
            place.copy_(x)
        else:
            blocks = torch.unflatten(torch.unflatten(place, 3, (-1, factor)), 2, (-1, factor))
            blocks.copy_(x[:, :, :, None, :, None])
    return buffers


@_gather.register_fake
def _(maps: list[Tensor], plan: list[int]) -> list[Tensor]:
    return _buffers(unflatten(plan, len(maps)), maps)


@torch.library.custom_op("lhrnet::scatter", mutates_args=())
def _scatter(gradients: list[Tensor], plan: list[int], widths: list[int]) -> list[Tensor]:
    rows = unflatten(plan, len(widths))
    maps = _maps(rows, gradients, widths)
    for x, place, factor in _pairs(rows, maps, gradients):
        x += place if factor == 1 else functional.avg_pool2d(place, factor, divisor_override=1)
    return maps


@_scatter.register_fake
def _(gradients: list[Tensor], plan: list[int], widths: list[int]) -> list[Tensor]:
    return _maps(unflatten(plan, len(widths)), gradients, widths)


def _remember(ctx: Any, inputs: tuple[list[Tensor], list[int]], output: list[Tensor]) -> None:
    maps, ctx.plan = inputs
    ctx.widths = [x.shape[1] for x in maps]


def _backward(ctx: Any, gradients: list[Tensor]) -> tuple[list[Tensor], None]:
    return _scatter(gradients, ctx.plan, ctx.widths), None


_gather.register_autograd(_backward, setup_context=_remember)
