"""The losses are the reference's with their gradients, hold in every edge case, and stay on the device."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lhrnet.coco import MAX_PEOPLE, K
from lhrnet.losses.pose_loss import PUSHES, REFERENCE, LossConfig, Losses, Push, heatmap_loss, pose_loss, tag_loss
from lhrnet.losses.targets import render_heatmaps, tag_indices

DEFAULT = LossConfig()
INPUT = 64


def backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]


def gradient(of: Tensor) -> Tensor:
    assert of.grad is not None
    return of.grad


def cases(golden: Path, kind: str) -> list[dict[str, Any]]:
    return [case for case in json.loads((golden / "losses.json").read_text()) if case["kind"] == kind]


def golden_tags(arrays: Any, key: str, size: int) -> tuple[Tensor, Tensor, Tensor]:
    table = torch.from_numpy(arrays[f"{key}_joints"]).long()
    valid = table[..., 1] > 0
    tags = torch.from_numpy(arrays[f"{key}_tags"]).view(-1, K, size, size)
    return tags.requires_grad_(), torch.where(valid, table[..., 0], 0), valid


def people(images: int = 2, count: int = MAX_PEOPLE, seed: int = 0) -> Tensor:
    """Joints in input pixels, some off the map, some not labelled, padded to 30 people."""
    generator = torch.Generator().manual_seed(seed)
    joints = torch.zeros(images, MAX_PEOPLE, K, 3)
    joints[:, :count, :, :2] = torch.rand(images, count, K, 2, generator=generator) * INPUT * 1.2 - 6
    joints[:, :count, :, 2] = torch.randint(0, 3, (images, count, K), generator=generator).float()
    return joints


def maps(images: int = 2, half_channels: int = 2 * K, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    quarter = torch.randn(images, 2 * K, INPUT // 4, INPUT // 4, generator=generator)
    half = torch.randn(images, half_channels, INPUT // 2, INPUT // 2, generator=generator)
    return quarter.requires_grad_(), half.requires_grad_()


def all_count(images: int = 2) -> Tensor:
    return torch.ones(images, INPUT // 2, INPUT // 2, dtype=torch.uint8)


def by_definition(tags: Tensor, index: Tensor, valid: Tensor, push: Push, margin: float) -> tuple[Tensor, Tensor]:
    """One image's pull and push, person by person."""
    means, pull = [], tags.new_zeros(())
    for person in range(len(index)):
        own = tags.flatten()[index[person][valid[person]]]
        if len(own):
            means.append(own.mean())
            pull = pull + (own - own.mean()).square().mean()
    repulsion = tags.new_zeros(())
    for one, other in combinations(means, 2):
        apart = (one - other).abs()
        repulsion = repulsion + (torch.exp(-(apart**2)) if push == "exp" else (margin - apart).clamp(min=0) / margin)
    number = len(means)
    return pull / max(number, 1), repulsion / max(number * (number - 1), 1)


def test_tag_loss_and_gradient_equal_the_reference(golden: Path) -> None:
    arrays = np.load(golden / "losses.npz")
    for case in cases(golden, "ae"):
        key = case["key"]
        tags, index, valid = golden_tags(arrays, key, 32)
        form: Push = "exp" if case["type"] == "exp" else "hinge"
        pull, push = tag_loss(tags, index, valid, push=form, margin=1.0)
        backward((pull + push).sum())
        expected = torch.zeros(tags.flatten(1).shape)
        expected[arrays[f"{key}_grad_b"], arrays[f"{key}_grad_i"]] = torch.from_numpy(arrays[f"{key}_grad_v"]).float()
        for result, name in ((pull, "pull"), (push, "push")):
            np.testing.assert_allclose(
                result.detach(), arrays[f"{key}_{name}"], rtol=1e-6, atol=1e-7, err_msg=case["name"]
            )
        torch.testing.assert_close(gradient(tags).flatten(1), expected, rtol=1e-6, atol=1e-8, msg=case["name"])


def test_heatmap_loss_and_gradient_equal_the_reference(golden: Path) -> None:
    arrays = np.load(golden / "losses.npz")
    for case in cases(golden, "heatmap"):
        key = case["key"]
        heat = torch.from_numpy(arrays[f"{key}_pred"]).requires_grad_()
        target, mask = (torch.from_numpy(arrays[f"{key}_{name}"]) for name in ("gt", "mask"))
        loss = heatmap_loss(heat, target, mask)
        backward(loss.sum())
        np.testing.assert_allclose(loss.detach(), arrays[f"{key}_loss"], rtol=1e-6, atol=1e-8, err_msg=case["name"])
        np.testing.assert_allclose(gradient(heat), arrays[f"{key}_grad"], rtol=1e-6, atol=1e-10, err_msg=case["name"])


def test_both_resolutions_together_equal_the_reference(golden: Path) -> None:
    arrays = np.load(golden / "losses.npz")
    for stage in (0, 1):
        output, target, mask = (torch.from_numpy(arrays[f"mlf_{name}{stage}"]) for name in ("out", "hm", "mask"))
        loss = heatmap_loss(output[:, :K], target, mask)
        np.testing.assert_allclose(loss, arrays[f"mlf_heatmap_loss{stage}"], rtol=1e-6)
    tags = torch.from_numpy(arrays["mlf_out0"])[:, K:]
    table = torch.from_numpy(arrays["mlf_joints"]).long()
    pull, push = tag_loss(tags, table[..., 0], table[..., 1] > 0)
    np.testing.assert_allclose(REFERENCE.tag_weight * pull, arrays["mlf_pull0"], rtol=1e-5)
    np.testing.assert_allclose(REFERENCE.tag_weight * push, arrays["mlf_push0"], rtol=1e-5)


@pytest.mark.parametrize("push", PUSHES)
@pytest.mark.parametrize("count", [0, 1, 2, MAX_PEOPLE])
def test_pose_loss_is_the_sum_of_its_definitions(push: Push, count: int) -> None:
    config = LossConfig(
        push=push, tag_weight=0.3, push_weight=3, centre="floor", quarter_weight=0.5, half_weight=0.25,
        positive_weight=7, tags_at_half=True,
    )  # fmt: skip
    outputs, joints = maps(), people(count=count)
    mask = (torch.rand(2, 32, 32, generator=torch.Generator().manual_seed(2)) > 0.2).to(torch.uint8) * 255
    losses = pose_loss(outputs, joints, mask, config)
    quarter_mask = mask.view(2, 16, 2, 16, 2).amin((2, 4))
    heatmap, pulls, pushes = 0.0, 0.0, 0.0
    for output, stride, counts, weight in ((outputs[0], 4, quarter_mask, 0.5), (outputs[1], 2, mask, 0.25)):
        size = (INPUT // stride, INPUT // stride)
        on_map = torch.cat((joints[..., :2] / stride, joints[..., 2:]), -1)
        target = render_heatmaps(on_map, size)
        error = (output[:, :K] - target) ** 2 * (counts > 0)[:, None] * (1 + 7 * target)
        heatmap += weight * error.mean().item()
        index, valid = tag_indices(on_map, size)
        for image in range(2):
            pull, repulsion = by_definition(output[image, K:], index[image], valid[image], push, 2.0)
            pulls, pushes = pulls + pull.item() / 2, pushes + repulsion.item() / 2
    assert losses.heatmap.item() == pytest.approx(heatmap, rel=1e-5)
    assert losses.pull.item() == pytest.approx(pulls, rel=1e-5)
    assert losses.push.item() == pytest.approx(pushes, rel=1e-5)
    assert losses.total.item() == pytest.approx(heatmap + 0.3 * (pulls + 3 * pushes), rel=1e-5)


@pytest.mark.parametrize("push", PUSHES)
def test_gradients_are_those_of_finite_differences(push: Push) -> None:
    generator = torch.Generator().manual_seed(0)
    tags = torch.randn(2, 3, 4, 4, dtype=torch.float64, generator=generator, requires_grad=True)
    index = torch.randint(0, 48, (2, 5, 3), generator=generator)
    valid = torch.rand(2, 5, 3, generator=generator) > 0.3
    assert torch.autograd.gradcheck(lambda t: tag_loss(t, index, valid, push=push, margin=2.0), (tags,))


def test_a_zero_mask_leaves_no_heatmap_loss_and_no_gradient() -> None:
    outputs = maps()
    losses = pose_loss(outputs, people(), torch.zeros(2, 32, 32, dtype=torch.uint8), LossConfig(tag_weight=0))
    backward(losses.total)
    assert losses.heatmap == 0
    assert all(not gradient(output).any() for output in outputs)


def test_a_quarter_pixel_counts_only_if_all_its_four_do() -> None:
    mask = all_count(1)
    mask[0, 6, 9] = 0
    outputs = maps(1)
    backward(pose_loss(outputs, people(1, 0), mask, REFERENCE).total)
    quarter, half = (gradient(output)[0, :K].any(0) for output in outputs)
    assert quarter.logical_not().nonzero().tolist() == [[3, 4]]
    assert half.logical_not().nonzero().tolist() == [[6, 9]]


@pytest.mark.parametrize("count", [0, 1, MAX_PEOPLE])
@pytest.mark.parametrize("config", [REFERENCE, DEFAULT], ids=["reference", "default"])
def test_losses_are_finite_and_float32_under_bf16(count: int, config: LossConfig) -> None:
    joints = people(count=count)
    low = tuple(output.detach().bfloat16().requires_grad_() for output in maps())
    exact = pose_loss((low[0].float(), low[1].float()), joints, all_count(), config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = pose_loss((low[0], low[1]), joints, all_count(), config)
    backward(losses.total)
    assert all(part.dtype == torch.float32 for part in losses)
    assert losses == exact
    assert all(torch.isfinite(gradient(output)).all() for output in low)


def test_huge_tags_leave_losses_and_gradients_finite() -> None:
    quarter, half = maps()
    far = (quarter.detach() * 1e4).requires_grad_()
    for config in (REFERENCE, DEFAULT):
        losses = pose_loss((far, half), people(), all_count(), config)
        assert all(torch.isfinite(part) for part in losses)
        assert torch.isfinite(torch.autograd.grad(losses.total, far)[0]).all()


def test_a_broken_tag_where_nobody_stands_does_no_harm() -> None:
    tags = torch.zeros(1, K, 8, 8)
    tags[0, 0, 0, 0] = float("nan")  # the pixel that joints without a tag point to
    tags.requires_grad_()
    index, valid = tag_indices(torch.tensor([[4.0, 4.0, 2.0], [5.0, 5.0, 0.0]])[:, None].expand(1, 2, K, 3), (8, 8))
    pull, push = tag_loss(tags, index, valid)
    backward((pull + push).sum())
    assert torch.isfinite(pull + push).all()
    assert torch.isfinite(gradient(tags)).all()


def mean_tags_after(push: Push, start: Tensor, steps: int = 300) -> tuple[Tensor, Tensor]:
    """Descend the tag loss from two people's tags (2,K): the means reached and the first gradient."""
    tags = start.clone().view(1, K * 2, 1, 1).requires_grad_()
    index, valid = torch.arange(2 * K).view(1, 2, K), torch.ones(1, 2, K, dtype=torch.bool)
    first = torch.empty(0)
    for step in range(steps):
        pull, repulsion = tag_loss(tags, index, valid, push=push, margin=2.0)
        (gradient,) = torch.autograd.grad((pull + repulsion).sum(), tags)
        first = gradient if step == 0 else first
        tags = (tags - 0.5 * gradient).detach().requires_grad_()
    return tags.detach().view(2, K).mean(1), first


def test_exp_has_a_saddle_where_tags_coincide_and_the_hinge_leads_out_of_it() -> None:
    alike = torch.zeros(2, K)
    means, gradient = mean_tags_after("exp", alike)
    assert not gradient.any(), "exp: coincident tags feel nothing"
    assert means.tolist() == [0, 0]
    means, gradient = mean_tags_after("hinge", alike)
    assert gradient.abs().min() > 0.01, "hinge: every tag of both people is pushed"
    assert (means[1] - means[0]).item() == pytest.approx(2.0, abs=0.05)


def test_nearly_coincident_tags_escape_a_hundred_times_faster_under_the_hinge() -> None:
    nearly = torch.tensor([[-5e-4], [5e-4]]).expand(2, K)
    _, slow = mean_tags_after("exp", nearly, steps=1)
    _, fast = mean_tags_after("hinge", nearly, steps=1)
    assert fast.abs().max() > 100 * slow.abs().max()


def test_push_is_a_half_where_all_people_coincide() -> None:
    for push in PUSHES:
        index, valid = torch.arange(4 * K).view(1, 4, K), torch.ones(1, 4, K, dtype=torch.bool)
        assert tag_loss(torch.ones(1, 4 * K, 1, 1), index, valid, push=push, margin=2.0)[1].item() == 0.5


def test_half_resolution_tags_are_trained_only_when_asked() -> None:
    for at_half in (False, True):
        outputs = maps()
        backward(pose_loss(outputs, people(), all_count(), LossConfig(tags_at_half=at_half)).total)
        assert gradient(outputs[0])[:, K:].any()
        assert bool(gradient(outputs[1])[:, K:].any()) == at_half


def test_an_output_without_half_resolution_tags_loses_nothing() -> None:
    quarter, half = maps()
    full = pose_loss((quarter, half), people(), all_count(), REFERENCE)
    assert pose_loss((quarter, half[:, :K]), people(), all_count(), REFERENCE) == full


def test_memory_layout_changes_nothing() -> None:
    outputs = maps()
    last = tuple(o.detach().contiguous(memory_format=torch.channels_last).requires_grad_() for o in outputs)
    losses = [pose_loss(pair, people(), all_count(), DEFAULT) for pair in (outputs, (last[0], last[1]))]
    for one, other in zip(*losses, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)
    for loss in losses:
        backward(loss.total)
    for plain, other_layout in zip(outputs, last, strict=True):
        torch.testing.assert_close(gradient(plain), gradient(other_layout), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("config", [REFERENCE, DEFAULT], ids=["reference", "default"])
def test_forward_and_backward_ask_the_device_for_nothing(config: LossConfig) -> None:
    # A tensor on "meta" has no values: whatever needs one (item(), nonzero, bool) raises.
    outputs = tuple(output.detach().to("meta").requires_grad_() for output in maps())
    losses = pose_loss((outputs[0], outputs[1]), people().to("meta"), all_count().to("meta"), config)
    backward(losses.total)
    assert all(output.grad is not None for output in outputs)


def test_the_whole_loss_compiles_into_one_graph() -> None:
    compiled = torch.compile(pose_loss, fullgraph=True, backend="aot_eager")
    outputs, joints = maps(), people()
    expected: Losses = pose_loss(outputs, joints, all_count(), DEFAULT)
    for one, other in zip(compiled(outputs, joints, all_count(), DEFAULT), expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"push": "max"}, "loss.push is 'max'; it must be one of exp, hinge"),
        ({"centre": "left"}, "loss.centre is 'left'; it must be one of floor, subpixel"),
        ({"sigma": 0}, "loss.sigma is 0; it must be above 0"),
        ({"push_margin": -1}, "loss.push_margin is -1"),
        ({"tag_weight": float("nan")}, "loss.tag_weight is nan"),
        ({"positive_weight": -2}, "loss.positive_weight is -2; it must be 0 or above"),
        ({"push_margin": float("inf")}, "loss.push_margin is inf; it must be above 0 and finite"),
        ({"tag_weight": float("inf")}, "loss.tag_weight is inf; it must be 0 or above and finite"),
    ],
)
def test_settings_out_of_range_are_named(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LossConfig(**setting)


def test_shapes_that_do_not_fit_are_refused() -> None:
    quarter, half = maps()
    joints, mask = people(), all_count()
    for arguments, message in (
        ((quarter[:, :K], half), "channels"),
        ((quarter, half[:, :20]), "channels"),
        ((half, quarter), "twice as large"),
        ((quarter, half[:1]), "twice as large"),
    ):
        with pytest.raises(ValueError, match=message):
            pose_loss(arguments, joints, mask, REFERENCE)
    with pytest.raises(ValueError, match="twice as large"):
        pose_loss((quarter, half), joints, mask[:, ::2, ::2], REFERENCE)
    with pytest.raises(ValueError, match="joints must be"):
        pose_loss((quarter, half), joints[:1], mask, REFERENCE)
    with pytest.raises(ValueError, match="tags_at_half"):
        pose_loss((quarter, half[:, :K]), joints, mask, LossConfig(tags_at_half=True))
