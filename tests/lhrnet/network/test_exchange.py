"""The exchange trades what the paper's tables say, and its folded form is the plain one without the cost."""

from collections.abc import Sequence
from typing import get_args

import pytest
import torch
from torch import Tensor

from lhrnet.network.config import CEM
from lhrnet.network.exchange import channel_plan, channels_taken, exchange
from lhrnet.network.scaling import branch_widths, tapped_widths

TABLES = {
    (-2, "full"): [[6, 8, 10, 0], [0, 0, 14, 18], [6, 8, 24, 58], [12, 16, 48, 188]],
    (-2, "half-reordered"): [[12, 0, 12, 0], [0, 20, 0, 12], [3, 4, 60, 29], [9, 8, 24, 223]],
    (-1, "half-reordered"): [[12, 0, 12, 0], [0, 25, 1, 14], [3, 5, 65, 31], [9, 10, 26, 243]],
    (0, "half-reordered"): [[12, 0, 12, 0], [0, 25, 2, 13], [3, 5, 70, 34], [9, 10, 28, 273]],
}
SCALES = (0, -1, -2, -3, -4)
EXCHANGES: Sequence[CEM] = [cem for cem in get_args(CEM) if cem != "none"]


def backbone_maps(r: int, batch: int, height: int, width: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    sizes = [(height // 2**n, width // 2**n) for n in (2, 3, 4, 5)]
    return [
        torch.randn(batch, channels, *size, dtype=dtype, requires_grad=True)
        for channels, size in zip(tapped_widths(r), sizes, strict=True)
    ]


@pytest.mark.parametrize(("r", "cem"), TABLES)
def test_channels_taken_are_those_of_the_papers_tables(r: int, cem: CEM) -> None:
    assert channels_taken(r, cem) == TABLES[r, cem]


def test_an_unknown_variant_is_refused() -> None:
    with pytest.raises(ValueError, match="cem='quarter' is not allowed; choose one of none, full"):
        channels_taken(-2, "quarter")  # type: ignore[arg-type]


@pytest.mark.parametrize("cem", get_args(CEM))
@pytest.mark.parametrize("r", SCALES)
def test_every_channel_is_used_exactly_once(r: int, cem: CEM) -> None:
    widths = tapped_widths(r)
    plan = channel_plan(widths, cem)
    assert [len(row) for row in plan] == list(widths)
    everything = [(n, c) for n, width in enumerate(widths) for c in range(width)]
    assert sorted(pair for row in plan for pair in row) == everything
    if cem == "none":
        assert [pair for row in plan for pair in row] == everything


def test_half_exchange_keeps_the_second_half_in_place() -> None:
    exchanges: tuple[CEM, CEM] = ("half", "half-reordered")
    for cem in exchanges:
        for n, row in enumerate(channel_plan((24, 32, 96, 264), cem)):
            assert row[len(row) // 2 :] == [(n, c) for c in range(len(row) // 2, len(row))]


@pytest.mark.parametrize("cem", EXCHANGES)
@pytest.mark.parametrize("r", SCALES)
def test_folded_form_equals_the_plain_one(r: int, cem: CEM) -> None:
    compare_forms(r, cem, backbone_maps(r, 2, 64, 96))


@pytest.mark.parametrize(("r", "cem"), [(-2, "half-reordered"), (-4, "full")])
def test_folded_form_equals_the_plain_one_on_a_large_uneven_input(r: int, cem: CEM) -> None:
    compare_forms(r, cem, backbone_maps(r, 1, 448, 640))


def test_folded_form_equals_the_plain_one_in_channels_last() -> None:
    maps = [
        x.detach().contiguous(memory_format=torch.channels_last).requires_grad_() for x in backbone_maps(-2, 2, 64, 96)
    ]
    compare_forms(-2, "half-reordered", maps)


def compare_forms(r: int, cem: CEM, maps: list[Tensor]) -> None:
    plain, folded = (exchange(tapped_widths(r), branch_widths(r), cem, form).double() for form in ("plain", "folded"))
    folded.load_state_dict(plain.state_dict())
    wanted, got = plain(maps), folded(maps)
    for a, b in zip(wanted, got, strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-10)
    directions = [torch.randn_like(x) for x in wanted]
    wanted_gradients = torch.autograd.grad(wanted, [*maps, *plain.parameters()], directions)
    got_gradients = torch.autograd.grad(got, [*maps, *folded.parameters()], directions)
    for a, b in zip(wanted_gradients, got_gradients, strict=True):
        torch.testing.assert_close(b, a, rtol=0, atol=1e-10)


@pytest.mark.parametrize("r", [-2, 0])
def test_folded_form_keeps_no_more_for_the_backward_pass_than_no_exchange(r: int) -> None:
    side = 512 + 32 * r
    maps = backbone_maps(r, 4, side, side, torch.float32)
    assert bytes_kept(r, "half-reordered", maps) <= 1.05 * bytes_kept(r, "none", maps)


def bytes_kept(r: int, cem: CEM, maps: list[Tensor]) -> int:
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    module = exchange(tapped_widths(r), branch_widths(r), cem, "folded")
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = module(maps)
    assert all(x.requires_grad for x in outputs)
    return sum(kept.values())
