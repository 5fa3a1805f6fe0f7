"""Gathering copies exactly the pixels that strided convolutions read, and its operators keep torch's rules."""

import pytest
import torch
from torch import Tensor

from lhrnet.network.exchange import channel_plan
from lhrnet.network.folding import ChannelRun, Plan, channel_runs, flatten
from lhrnet.network.gathering import _gather, gather

WIDTHS = (8, 8, 16, 32)
CHECKS = ("test_schema", "test_autograd_registration", "test_faketensor")
PLAN: Plan = tuple(channel_runs(row) for row in channel_plan(WIDTHS, "half-reordered"))


def maps(layout: torch.memory_format = torch.contiguous_format) -> list[Tensor]:
    return [
        torch.randn(2, width, 16 >> n, 32 >> n, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
        for n, width in enumerate(WIDTHS)
    ]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_operators_are_understood_by_compiler_and_autograd(layout: torch.memory_format) -> None:
    torch.library.opcheck(_gather, (maps(layout), flatten(PLAN)), test_utils=CHECKS)


def test_gradient_is_the_transpose_of_the_copies() -> None:
    given = maps()
    torch.autograd.gradcheck(lambda *x: _gather(list(x), flatten(PLAN)), given, fast_mode=True)


def test_channels_last_maps_give_channels_last_buffers_and_gradients() -> None:
    given = maps(torch.channels_last)
    buffers = [buffer for pair in gather(PLAN, given) for buffer in pair if buffer is not None]
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in buffers)
    gradients = torch.autograd.grad(buffers, given, [torch.ones_like(x) for x in buffers])
    assert all(x.is_contiguous(memory_format=torch.channels_last) for x in gradients)


def test_near_and_far_hold_what_a_convolution_of_stride_four_reads() -> None:
    fine, middle, coarse = (torch.arange(float((64 >> n) ** 2)).view(1, 1, 64 >> n, 64 >> n) for n in range(3))
    plan: Plan = (
        (ChannelRun(1, 0, 1, 1),),
        (ChannelRun(2, 0, 1, 1),),
        (ChannelRun(0, 0, 1, 1), ChannelRun(1, 0, 1, 1), ChannelRun(2, 0, 1, 1)),
    )
    (up, nothing), (twice, none), (own, far) = gather(plan, [fine, middle, coarse])
    assert nothing is None
    assert none is None
    assert torch.equal(up[0, 0], middle[0, 0].repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert torch.equal(twice[0, 0, 1:, 1:], coarse[0, 0].repeat_interleave(2, 0).repeat_interleave(2, 1))
    assert not own[0, 0, 0].any()
    assert not own[0, 0, :, 0].any()
    assert torch.equal(own[0, 0, 1:, 1:], coarse[0, 0])
    assert far is not None
    taps = [(i, k) for i in (-1, 0, 1) for k in (-1, 0, 1)]
    for channel, (i, k) in enumerate(taps):
        assert far[0, channel, 3, 5] == fine[0, 0, 12 + i, 20 + k]
        assert far[0, channel, 0, 0] == (0 if -1 in (i, k) else fine[0, 0, i, k])
    for channel, (i, k) in enumerate([(-1, -1), (-1, 0), (0, -1), (0, 0)]):
        assert far[0, 9 + channel, 3, 5] == middle[0, 0, 6 + i, 10 + k]
