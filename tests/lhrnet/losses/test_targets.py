"""Heatmaps and tag indices are the reference's, from any joints, without leaving the device."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lhrnet.coco import MAX_PEOPLE, K
from lhrnet.losses.targets import CENTRES, Centre, render_heatmaps, tag_indices

SIZE = (24, 40)


def joints_at(*places: tuple[float, float, float], joint: int = 0) -> Tensor:
    """One image; each place is a person with that joint only."""
    joints = torch.zeros(1, max(len(places), 1), K, 3)
    for person, place in enumerate(places):
        joints[0, person, joint] = torch.tensor(place)
    return joints


def nodes(index_PK: Tensor, valid_PK: Tensor) -> np.ndarray:
    """The reference's layout: 30 people, each with its tags' places first."""
    table = np.zeros((MAX_PEOPLE, K, 2), dtype=np.int32)
    for person, (index, valid) in enumerate(zip(index_PK, valid_PK, strict=True)):
        found = index[valid]
        table[person, : len(found), 0] = found
        table[person, : len(found), 1] = 1
    return table


def golden_cases(golden: Path) -> list[dict[str, Any]]:
    return [case for case in json.loads((golden / "targets.json").read_text())["targets"] if case["key"] != "t_shared"]


def test_heatmaps_equal_the_reference_to_the_last_bit(golden: Path) -> None:
    arrays = np.load(golden / "targets.npz")
    for case in golden_cases(golden):
        joints = torch.from_numpy(arrays[f"{case['key']}_joints"])[None]
        sigma = case["res"] / 64 if case["sigma"] == -1 else case["sigma"]
        heat = render_heatmaps(joints, (case["res"], case["res"]), sigma)[0].numpy()
        np.testing.assert_array_equal(heat, arrays[f"{case['key']}_heatmap"], err_msg=case["key"])


def test_tag_indices_equal_the_reference(golden: Path) -> None:
    arrays = np.load(golden / "targets.npz")
    for case in golden_cases(golden):
        joints = torch.from_numpy(arrays[f"{case['key']}_joints"])[None]
        index, valid = tag_indices(joints, (case["res"], case["res"]))
        np.testing.assert_array_equal(nodes(index[0], valid[0]), arrays[f"{case['key']}_nodes"], err_msg=case["key"])


def test_a_batch_renders_as_its_images_do_one_by_one(golden: Path) -> None:
    arrays = np.load(golden / "targets.npz")
    keys = [case["key"] for case in golden_cases(golden) if case["res"] == 112]
    batch = torch.zeros(len(keys), MAX_PEOPLE, K, 3, dtype=torch.float64)
    for image, key in enumerate(keys):
        joints = arrays[f"{key}_joints"]
        batch[image, : len(joints)] = torch.from_numpy(joints)
    heat = render_heatmaps(batch, (112, 112)).numpy()
    index, valid = tag_indices(batch, (112, 112))
    for image, key in enumerate(keys):
        np.testing.assert_array_equal(heat[image], arrays[f"{key}_heatmap"], err_msg=key)
        np.testing.assert_array_equal(nodes(index[image], valid[image]), arrays[f"{key}_nodes"], err_msg=key)


def test_a_tag_index_counts_joint_then_row_then_column() -> None:
    index, valid = tag_indices(joints_at((7.9, 3.2, 2), joint=5), SIZE)
    assert valid.sum() == 1
    assert index[0, 0, 5] == (5 * 24 + 3) * 40 + 7


@pytest.mark.parametrize(
    ("place", "on_map"),
    [
        ((0, 0, 1), True),
        ((39.99, 23.99, 2), True),
        ((-0.5, -0.5, 2), True),  # truncation towards zero, the reference's
        ((-1, 5, 2), False),
        ((40, 5, 2), False),
        ((5, 24, 2), False),
        ((5, 5, 0), False),
        ((float("nan"), 5, 2), False),
        ((float("inf"), 5, 2), False),
        ((float("nan"), float("nan"), 0), False),
        ((1e30, -1e30, 2), False),
    ],
)
@pytest.mark.parametrize("centre", CENTRES)
def test_joints_off_the_map_or_unlabelled_leave_no_trace(
    place: tuple[float, float, float], on_map: bool, centre: Centre
) -> None:
    joints = joints_at(place)
    index, valid = tag_indices(joints, SIZE)
    heat = render_heatmaps(joints, SIZE, centre=centre)
    assert bool(valid.any()) == on_map
    assert bool(heat.any()) == on_map
    assert torch.isfinite(heat).all()
    assert ((index >= 0) & (index < K * 24 * 40)).all()


def test_no_people_make_an_empty_map() -> None:
    assert render_heatmaps(torch.zeros(2, 0, K, 3), SIZE).shape == (2, K, *SIZE)
    assert not render_heatmaps(torch.zeros(2, MAX_PEOPLE, K, 3), SIZE).any()


def test_overlapping_people_keep_the_larger_value() -> None:
    first, second = (10.5, 10.5, 2.0), (13.5, 11.5, 2.0)
    apart = torch.maximum(render_heatmaps(joints_at(first), SIZE), render_heatmaps(joints_at(second), SIZE))
    assert torch.equal(render_heatmaps(joints_at(first, second), SIZE), apart)


def test_a_subpixel_peak_is_the_gaussian_around_the_joint_itself() -> None:
    x, y, sigma = 12.3, 9.8, 2.0
    heat = render_heatmaps(joints_at((x, y, 2)), SIZE, sigma, centre="subpixel")[0, 0].double()
    columns, rows = torch.arange(40) + 0.5, torch.arange(24) + 0.5
    near = ((columns - 12.5).abs() <= 7)[None] & ((rows - 9.5).abs() <= 7)[:, None]
    expected = torch.exp(-((columns[None] - x) ** 2 + (rows[:, None] - y) ** 2) / (2 * sigma**2)) * near
    torch.testing.assert_close(heat, expected.double(), rtol=0, atol=1e-6)
    assert (heat.sum(0) @ columns.double() / heat.sum()).item() == pytest.approx(x, abs=2e-3)


def test_mirrored_joints_render_mirrored_heatmaps() -> None:
    joints = joints_at((12.3, 9.8, 2), (30.6, 4.1, 2))
    mirrored = joints.clone()
    mirrored[..., 0] = 40 - mirrored[..., 0]
    for centre in CENTRES:
        heat, flipped = (render_heatmaps(j, SIZE, centre=centre) for j in (joints, mirrored))
        torch.testing.assert_close(heat.flip(-1), flipped, rtol=0, atol=1e-5)


@pytest.mark.parametrize("centre", CENTRES)
def test_rendering_asks_the_device_for_nothing(centre: Centre) -> None:
    # A tensor on "meta" has no values: whatever needs one (item(), nonzero, bool) raises.
    joints = torch.zeros(2, MAX_PEOPLE, K, 3, device="meta")
    assert render_heatmaps(joints, SIZE, centre=centre).shape == (2, K, *SIZE)
    assert tag_indices(joints, SIZE)[0].shape == (2, MAX_PEOPLE, K)


@pytest.mark.parametrize(("sigma", "centre", "message"), [(0, "floor", "sigma is 0"), (2, "middle", "floor, subpixel")])
def test_bad_settings_are_refused(sigma: float, centre: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_heatmaps(joints_at((1, 1, 2)), SIZE, sigma, centre)  # type: ignore[arg-type]


@pytest.mark.parametrize("centre", CENTRES)
def test_the_compiled_form_draws_the_same(centre: Centre) -> None:
    # On the CPU the plain form leaves the padding out, which a graph of fixed shapes cannot.
    joints = torch.zeros(3, MAX_PEOPLE, K, 3)
    generator = torch.Generator().manual_seed(0)
    joints[:, :4] = torch.rand(3, 4, K, 3, generator=generator) * 60 - 10
    compiled = torch.compile(render_heatmaps, fullgraph=True, backend="aot_eager")
    heat = render_heatmaps(joints, SIZE, centre=centre)
    assert heat.any()
    torch.testing.assert_close(compiled(joints, SIZE, centre=centre), heat, rtol=0, atol=0)
