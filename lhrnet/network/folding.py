"""Weights of the folded channel exchange: the same maps as the paper's recipe, computed without upsampling to 1/4.

After nearest upsampling by f, a 3x3 convolution of stride s reads only the pixels floor((s p + t) / f), t = -1, 0, 1,
of a map. Branch n (counted from 0) has s = 2^n, source j has f = 2^j. Hence, exactly:

- branch 0: the plain 3x3 convolution, of the few channels that it takes, upsampled where they are coarser;
- other branches, sources j >= n (near): 2x2 weights [w0, w1 + w2] on each axis at the pixels p - 1 and p of the source,
  upsampled by 2^(j - n);
- other branches, sources j < n (far): the pixels q - 1 and q, q = 2^(n - j) p, and for j = 0 also q + 1 with the
  unfolded weights. Each such pixel becomes a channel of its own at the branch's resolution, for a 1x1 convolution.

On one axis, branch 1 and source 1 (s = f = 2), around output pixel p:

    source pixels     [  p - 1  ][    p    ]
    upsampled by 2    [    |    ][    |    ]
    3x3 taps at 2p          w0    w1    w2
    folded weights    [   w0    ][ w1 + w2 ]
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class ChannelRun(NamedTuple):
    """Channels first, first + step, ... of one source that are neighbours in A'_n."""

    source: int
    first: int
    step: int
    length: int

    @property
    def channels(self) -> slice:
        """As a slice of the source's channels."""
        return slice(self.first, self.first + self.step * (self.length - 1) + 1, self.step)


Plan = tuple[tuple[ChannelRun, ...], ...]
"""The runs of A'_1..A'_4."""


def channel_runs(row: Sequence[tuple[int, int]]) -> tuple[ChannelRun, ...]:
    """Group the channels of A'_n, given as (source, channel), into runs of equal steps, from first to last."""
    found: list[ChannelRun] = []
    for source, channel in row:
        last = found[-1] if found else None
        if last and last.source == source and last.length == 1 and channel > last.first:
            found[-1] = ChannelRun(source, last.first, channel - last.first, 2)
        elif last and last.source == source and channel == last.first + last.step * last.length:
            found[-1] = last._replace(length=last.length + 1)
        else:
            found.append(ChannelRun(source, channel, 1, 1))
    return tuple(found)


def has_far(n: int, row: Sequence[ChannelRun]) -> bool:
    """Whether branch n reads maps that are finer than itself."""
    return any(run.source < n for run in row)


def taps(source: int) -> tuple[int, ...]:
    """Offsets from q = 2^(n - j) p, in pixels of a far source j, that are read on each axis."""
    return (-1, 0, 1) if source == 0 else (-1, 0)


def flatten(plan: Plan) -> list[int]:
    """The plan as a list of integers: a custom operator of torch takes no other structure."""
    return [number for n, row in enumerate(plan) for run in row for number in (n, *run)]


def unflatten(numbers: Sequence[int], branches: int) -> Plan:
    """The inverse of `flatten`."""
    rows: list[list[ChannelRun]] = [[] for _ in range(branches)]
    for at in range(0, len(numbers), 5):
        rows[numbers[at]].append(ChannelRun(*numbers[at + 1 : at + 5]))
    return tuple(tuple(row) for row in rows)


def fold(weight: Tensor) -> Tensor:
    """2x2 weights (O, C, 2, 2) of a 3x3 kernel (O, C, 3, 3): [w0, w1 + w2] on each axis."""
    weight = torch.cat([weight[:, :, :1], weight[:, :, 1:2] + weight[:, :, 2:]], dim=2)
    return torch.cat([weight[..., :1], weight[..., 1:2] + weight[..., 2:]], dim=3)


def fold_for(n: int, row: tuple[ChannelRun, ...], weight: Tensor) -> tuple[Tensor, Tensor]:
    """Weights (O, C, 2, 2) of branch n's near and (O, C', 1, 1) of its far convolution from its 3x3 weights, n > 0."""
    near, far = _fold(weight, flatten((row,)), n)
    return near, far


@torch.library.custom_op("lhrnet::fold", mutates_args=())
def _fold(weight: Tensor, numbers: list[int], n: int) -> tuple[Tensor, Tensor]:
    (row,) = unflatten(numbers, 1)
    lengths = [run.length for run in row]
    pieces, folded = torch.split(weight, lengths, dim=1), torch.split(fold(weight), lengths, dim=1)
    near = [piece for piece, run in zip(folded, row, strict=True) if run.source >= n]
    far = [(pieces if run.source == 0 else folded)[k].flatten(1) for k, run in enumerate(row) if run.source < n]
    whole = torch.cat(near, dim=1).contiguous(memory_format=_format(weight))
    return whole, torch.cat([*far, weight.new_empty(len(weight), 0)], dim=1)[:, :, None, None]


def _format(weight: Tensor) -> torch.memory_format:
    """Memory format of the folded weights: that of the weights, so that the compiler can predict it."""
    channels_last = weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if channels_last else torch.contiguous_format


@_fold.register_fake
def _(weight: Tensor, numbers: list[int], n: int) -> tuple[Tensor, Tensor]:
    (row,) = unflatten(numbers, 1)
    near = sum(run.length for run in row if run.source >= n)
    far = sum(run.length * len(taps(run.source)) ** 2 for run in row if run.source < n)
    whole = weight.new_empty(len(weight), near, 2, 2).contiguous(memory_format=_format(weight))
    return whole, weight.new_empty(len(weight), far, 1, 1)


@torch.library.custom_op("lhrnet::unfold", mutates_args=())
def _unfold(near: Tensor, far: Tensor, numbers: list[int], n: int) -> Tensor:
    (row,) = unflatten(numbers, 1)
    gradient = near.new_empty(len(near), sum(run.length for run in row), 3, 3)
    at = near_at = far_at = 0
    for run in row:
        place = gradient[:, at : at + run.length]
        at += run.length
        if run.source >= n:
            place.copy_(_spread(near[:, near_at : near_at + run.length]))
            near_at += run.length
        else:
            read = len(taps(run.source))
            given = far[:, far_at : far_at + run.length * read**2].reshape(len(far), run.length, read, read)
            place.copy_(given if run.source == 0 else _spread(given))
            far_at += run.length * read**2
    return gradient


@_unfold.register_fake
def _(near: Tensor, far: Tensor, numbers: list[int], n: int) -> Tensor:
    (row,) = unflatten(numbers, 1)
    return near.new_empty(len(near), sum(run.length for run in row), 3, 3)


def _spread(gradient: Tensor) -> Tensor:
    """The gradient of `fold`: that of a sum goes to both of its taps."""
    gradient = torch.cat([gradient, gradient[:, :, 1:]], dim=2)
    return torch.cat([gradient, gradient[..., 1:]], dim=3)


def _remember(ctx: Any, inputs: tuple[Tensor, list[int], int], output: tuple[Tensor, Tensor]) -> None:
    _, ctx.numbers, ctx.n = inputs


def _backward(ctx: Any, near: Tensor, far: Tensor) -> tuple[Tensor, None, None]:
    return _unfold(near, far, ctx.numbers, ctx.n), None, None


_fold.register_autograd(_backward, setup_context=_remember)
