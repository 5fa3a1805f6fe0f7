"""The pieces keep the shapes and orders that the paper's figures show."""

import torch
from torch import nn

from lhrnet.network.blocks import BasicBlock, Bottleneck, LiteConv, channel_shuffle


def test_shuffle_deals_the_runs_out_in_turn() -> None:
    x = torch.arange(6.0).view(1, 6, 1, 1)
    assert channel_shuffle(*x.chunk(2, dim=1)).flatten().tolist() == [0, 3, 1, 4, 2, 5]


def test_shuffle_keeps_the_order_of_memory() -> None:
    x = torch.randn(2, 6, 4, 5)
    shuffled = channel_shuffle(*x.chunk(2, dim=1))
    assert shuffled.is_contiguous()
    last = channel_shuffle(*x.contiguous(memory_format=torch.channels_last).chunk(2, dim=1))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(last, shuffled)


def test_lite_conv_halves_the_resolution_and_leaves_half_of_the_channels_alone() -> None:
    block = LiteConv(8, 16).eval()
    x = torch.randn(1, 8, 8, 12)
    y = block(x)
    assert y.shape == (1, 16, 4, 6)
    assert block.add is not None
    first_half = channel_shuffle(*torch.cat([block.keep(x), block.add(x)], dim=1).chunk(2, dim=1))[:, :8]
    assert torch.equal(y[:, ::2], first_half)
    with torch.no_grad():
        block.refine.conv.weight.zero_()
    untouched = block(x)
    assert torch.equal(untouched[:, ::2], y[:, ::2])
    assert not torch.equal(untouched[:, 1::2], y[:, 1::2])


def test_lite_conv_adds_nothing_where_nothing_is_to_be_added() -> None:
    block = LiteConv(16, 16)
    assert block.add is None
    assert block(torch.randn(2, 16, 8, 8)).shape == (2, 16, 4, 4)


def test_blocks_without_weights_are_identities_of_what_is_positive() -> None:
    for block, channels in ((BasicBlock(8), 8), (Bottleneck(32, 8), 32)):
        for module in block.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.zeros_(module.weight)
        x = torch.randn(2, channels, 4, 4)
        assert torch.equal(block(x), x.relu())


def test_bottleneck_changes_channels_by_a_shortcut() -> None:
    assert Bottleneck(16, 8)(torch.randn(2, 16, 4, 4)).shape == (2, 32, 4, 4)
