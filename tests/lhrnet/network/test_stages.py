"""Stages join, fuse and grow branches as their specification says."""

import torch
from torch.nn import functional

from lhrnet.network.stages import Fuse, Head, Stage, StageSpec


def branches(*widths: int) -> list[torch.Tensor]:
    return [torch.randn(2, width, 16 >> n, 32 >> n) for n, width in enumerate(widths)]


def test_fuse_sums_every_branch_at_the_size_and_width_of_each_output() -> None:
    fuse, maps = Fuse((4, 8, 16), outputs=3).eval(), branches(4, 8, 16)
    fused = fuse([x.clone() for x in maps])
    for target, (got, own) in enumerate(zip(fused, maps, strict=True)):
        total = own.clone()
        for source, x in enumerate(maps):
            if source == target:
                continue
            part = fuse.paths[target][source](x)  # type: ignore[index]
            assert part.shape == own.shape
            if source > target:
                factor = 2 ** (source - target)
                assert torch.equal(part, functional.interpolate(part[..., ::factor, ::factor], scale_factor=factor))
            total += part
        torch.testing.assert_close(got, total.relu())


def test_fuse_leaves_its_inputs_alone() -> None:
    maps = branches(4, 8)
    before = [x.clone() for x in maps]
    Fuse((4, 8), outputs=2)(maps)
    assert all(torch.equal(x, y) for x, y in zip(maps, before, strict=True))


def test_new_branches_come_from_the_entry_or_grow_from_the_coarsest() -> None:
    entries = branches(4, 8, 16)
    joined = Stage(StageSpec(widths=(4, 8, 16), modules=1, blocks=1), previous=(4, 8))
    assert [x.shape for x in joined(entries[:2], entries)] == [x.shape for x in entries]
    assert len(joined.grow) == 0
    grown = Stage(StageSpec(widths=(4, 8, 16), modules=1, blocks=1, grow=True), previous=(4, 8))
    assert [x.shape for x in grown(entries[:2], [])] == [x.shape for x in entries]


def test_carried_branches_pass_a_convolution_and_the_last_module_puts_out_what_is_asked() -> None:
    stage = Stage(StageSpec(widths=(4, 8), modules=2, blocks=1, outputs=1, carry=True), previous=(4, 8))
    (out,) = stage(branches(4, 8), [])
    assert out.shape == (2, 4, 16, 32)
    assert sum(p.numel() for p in stage.carry.parameters()) == 9 * (16 + 64) + 3 * (4 + 8)


def test_head_sees_its_own_first_maps_at_the_second_resolution() -> None:
    head, x = Head(4, blocks=1, keypoints=17, half_channels=17).eval(), torch.randn(2, 4, 8, 8)
    quarter, half = head(x)
    assert (quarter.shape, half.shape) == ((2, 34, 8, 8), (2, 17, 16, 16))
    with torch.no_grad():
        assert head.final0.bias is not None
        head.final0.bias += 1
    changed_quarter, changed_half = head(x)
    torch.testing.assert_close(changed_quarter, quarter + 1)
    assert not torch.allclose(changed_half, half)
