"""Folded weights and the plan of runs say the same as the 3x3 weights and the order of channels."""

from typing import get_args

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from lhrnet.network.config import CEM
from lhrnet.network.exchange import channel_plan
from lhrnet.network.folding import ChannelRun, _fold, channel_runs, flatten, fold, unflatten
from lhrnet.network.scaling import tapped_widths

EXCHANGES = [cem for cem in get_args(CEM) if cem != "none"]


def test_folding_adds_up_taps_that_read_the_same_pixel() -> None:
    weight = torch.arange(9.0).view(1, 1, 3, 3)
    assert fold(weight).tolist() == [[[[0, 3], [9, 24]]]]


def test_runs_tell_the_same_order_in_fewer_words() -> None:
    for cem in EXCHANGES:
        for row in channel_plan(tapped_widths(0), cem):
            found = channel_runs(row)
            assert [(run.source, c) for run in found for c in range(400)[run.channels]] == row
            assert len(found) < 14


def test_a_plan_survives_as_plain_numbers() -> None:
    plan = tuple(channel_runs(row) for row in channel_plan(tapped_widths(-2), "half-reordered"))
    assert unflatten(flatten(plan), 4) == plan


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_folding_is_an_operator_that_compiler_and_autograd_understand(layout: torch.memory_format) -> None:
    row = (ChannelRun(0, 1, 4, 2), ChannelRun(3, 0, 1, 3), ChannelRun(1, 2, 1, 1), ChannelRun(2, 0, 1, 2))
    weight = torch.randn(3, 8, 3, 3, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(_fold, (weight, flatten((row,)), 2), test_utils=checks)
    near, _ = _fold(weight, flatten((row,)), 2)
    with FakeTensorMode() as fake:
        told, _ = _fold(fake.from_tensor(weight), flatten((row,)), 2)
    assert near.stride() == told.stride()
    torch.autograd.gradcheck(lambda w: _fold(w, flatten((row,)), 2), (weight,))


def test_a_branch_without_far_sources_has_no_far_weights() -> None:
    near, far = _fold(torch.randn(3, 4, 3, 3), flatten(((ChannelRun(1, 0, 1, 4),),)), 1)
    assert near.shape == (3, 4, 2, 2)
    assert far.shape == (3, 0, 1, 1)
