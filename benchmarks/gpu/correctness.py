"""The device against the CPU: the same losses, targets, people and steps; runs that go on as if never broken off."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.gpu.limit import Limit
from benchmarks.gpu.parts import Put, Setup
from benchmarks.gpu.work import new_stepper, noise_batch
from lhrnet.coco import K
from lhrnet.decoder.device_grouping import group_on_device
from lhrnet.losses.pose_loss import REFERENCE, LossConfig, pose_loss
from lhrnet.losses.targets import render_heatmaps
from lhrnet.network import ModelConfig
from pipeline.training.stepper import Stepper

CPU = torch.device("cpu")
Check = Callable[[Setup], dict[str, Any]]


def run(setup: Setup, limit: Limit, put: Put) -> None:
    """One row a check: how far the device is off, and how far it may be."""
    for check in CHECKS:
        name = (check.__doc__ or "").splitlines()[0].rstrip(".")
        if limit.left < 1:
            put(check=name, error=None, allowed=None, passed=None, note="left out: no time")
            continue
        try:
            found = check(setup)
        except Exception as error:
            traceback.print_exc()
            found = {"error": None, "allowed": None, "passed": False, "note": f"{type(error).__name__}: {error}"[:300]}
        put(check=name, **{key: found.get(key) for key in ("error", "allowed", "passed", "note")})


def within(error: float, allowed: float, note: str = "") -> dict[str, Any]:
    """A check's row."""
    return {"error": error, "allowed": allowed, "passed": error <= allowed, "note": note}


def relative(found: Tensor, wanted: Tensor) -> float:
    """|found - wanted| / |wanted|."""
    found, wanted = found.detach().double().cpu(), wanted.detach().double().cpu()
    return float((found - wanted).norm() / wanted.norm().clamp(min=1e-12))


def targets(setup: Setup) -> dict[str, Any]:
    """Heatmap targets are the CPU's."""
    worst = 0.0
    for centre in ("floor", "subpixel"):
        joints = noise_batch(4, 128, CPU, people=8).joints / 2
        wanted = render_heatmaps(joints, (64, 64), 2.0, centre)
        found = render_heatmaps(joints.to(setup.device), (64, 64), 2.0, centre)
        worst = max(worst, float((found.cpu() - wanted).abs().max()))
    return within(worst, 1e-6)


def losses(setup: Setup) -> dict[str, Any]:
    """Losses and their gradients are the CPU's."""
    worst = 0.0
    batch = noise_batch(4, 128, CPU)
    random = torch.Generator().manual_seed(0)
    maps = [torch.randn(4, 34, side, side, generator=random) for side in (32, 64)]
    for config in (LossConfig(), REFERENCE):
        found = []
        for device in (CPU, setup.device):
            quarter, half = (x.detach().to(device).requires_grad_() for x in maps)
            total = pose_loss((quarter, half), batch.joints.to(device), batch.mask.to(device), config)
            total.total.backward()  # type: ignore[no-untyped-call]
            assert quarter.grad is not None
            assert half.grad is not None
            found.append([torch.stack([part.detach() for part in total]), quarter.grad, half.grad])
        worst = max([worst, *(relative(ours, cpus) for cpus, ours in zip(*found, strict=True))])
    return within(worst, 1e-5)


def grouping(setup: Setup) -> dict[str, Any]:
    """Grouping finds the CPU's people."""
    random = torch.Generator().manual_seed(0)
    blur = torch.nn.functional.avg_pool2d
    heat = blur(torch.rand((8, K, 64, 64), generator=random) ** 3, 3, 1, 1)
    tags = blur(torch.randn((8, K, 64, 64), generator=random) * 6, 5, 1, 2).unsqueeze(2)
    wanted = group_on_device(heat, tags)
    found = group_on_device(heat.to(setup.device), tags.to(setup.device))
    if [len(groups.scores) for groups in found] != [len(groups.scores) for groups in wanted]:
        return {"passed": False, "note": "other numbers of people"}
    worst = max(float(np.abs(f.keypoints - w.keypoints).max()) for f, w in zip(found, wanted, strict=True))
    return within(worst, 1e-3, f"{sum(len(groups.scores) for groups in wanted)} people, in map pixels")


@contextmanager
def exact(setup: Setup) -> Iterator[None]:
    """fp32 as it is written, without TF32, and algorithms that give the same bits each time."""
    if setup.device.type != "cuda":
        yield
        return
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark
    cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = False, True, False
    try:
        yield
    finally:
        cudnn.allow_tf32, cudnn.deterministic, cudnn.benchmark = before


MODEL = ModelConfig(r=-4, input_size=128)


def fp32_step(setup: Setup) -> dict[str, Any]:
    """A training step in fp32 has the CPU's losses and gradients."""
    found: list[list[Tensor]] = []
    note = ""
    with exact(setup):
        for device in (CPU, setup.device):
            stepper = new_stepper(
                MODEL, Setup(device=device, data=setup.data, small=setup.small), batch=4, precision="fp32"
            )
            parts = stepper._backward(noise_batch(4, 128, device))
            gradient = torch.cat([p.grad.flatten() for p in stepper.parameters if p.grad is not None])
            found.append([parts.cpu(), gradient.cpu()])
            note = f"gradient of {gradient.numel()} numbers"
    (losses_cpu, gradient_cpu), (losses_device, gradient_device) = found
    note += f"; losses off by {relative(losses_device, losses_cpu):.1e}"
    return within(relative(gradient_device, gradient_cpu), 2e-3, note)


def bf16_steps(setup: Setup) -> dict[str, Any]:
    """Ten steps in bf16 stay finite and the loss falls."""
    stepper = new_stepper(MODEL, setup, batch=8)
    batch = noise_batch(8, 128, setup.device)
    seen = []
    for _ in range(2):
        for _ in range(5):
            stepper.step(batch, 500_000)
        seen.append(stepper.take_rows())
    falls = seen[1].get("loss", float("nan")) < seen[0].get("loss", float("nan"))
    note = f"loss {seen[0].get('loss', float('nan')):.4f}, then {seen[1].get('loss', float('nan')):.4f}"
    return {"passed": falls and seen[1]["skipped_steps"] == 0, "note": note}


def skipped_step(setup: Setup) -> dict[str, Any]:
    """A step whose gradient is not finite changes nothing and is counted."""
    stepper = new_stepper(MODEL, setup, batch=4)
    batch = noise_batch(4, 128, setup.device)
    stepper.step(batch, 0)
    before = {name: tensor.clone() for name, tensor in stepper.network.state_dict().items()}
    handle = stepper.parameters[0].register_hook(lambda gradient: gradient * float("nan"))  # type: ignore[no-untyped-call]
    stepper.step(batch, 1)
    handle.remove()
    changed = [
        name
        for name, tensor in stepper.network.state_dict().items()
        if tensor.is_floating_point() and not torch.equal(tensor, before[name])
    ]
    skipped = int(stepper.counters.sums[-1].item())
    stepper.step(batch, 2)
    moved = not torch.equal(stepper.parameters[0], before[_name_of(stepper)])
    return {"passed": not changed and skipped == 1 and moved, "note": f"skipped {skipped}, changed {changed[:3]}"}


def _name_of(stepper: Stepper) -> str:
    return next(name for name, p in stepper.network.named_parameters() if p is stepper.parameters[0])


def resumed_run(setup: Setup) -> dict[str, Any]:
    """A run that was broken off and resumed ends in the same weights, bit for bit."""
    from types import SimpleNamespace

    from pipeline.data.order import Cursor
    from pipeline.runs import state

    settings: dict[str, Any] = {"seed": 0, "data": {"train": ""}, "train": {"global_batch": 4}}
    settings["stream"] = {"lanes": 1, "window": 1, "images": "all"}
    tree: Any = SimpleNamespace(tree=lambda: settings)
    batches = [noise_batch(4, 128, setup.device, seed=n) for n in range(6)]
    with exact(setup):
        whole, again = [new_stepper(MODEL, setup, batch=4) for _ in range(2)]
        for number in range(6):
            whole.step(batches[number], number)
            again.step(batches[number], number)
        repeats = _apart(whole, again)
        first, second = [new_stepper(MODEL, setup, batch=4) for _ in range(2)]
        for number in range(3):
            first.step(batches[number], number)
        saved = state.capture(first, step=3, cursor=Cursor(), config=tree, metrics={}, validated={})
        state.restore(saved, second, tree)
        for number in range(3, 6):
            second.step(batches[number], number)
    return within(_apart(whole, second), 2 * repeats, f"two runs that were not broken off are {repeats:.1e} apart")


def _apart(one: Stepper, other: Stepper) -> float:
    pairs = zip(one.network.state_dict().values(), other.network.state_dict().values(), strict=True)
    return max(float((a.double() - b.double()).abs().max()) for a, b in pairs)


def no_waiting(setup: Setup) -> dict[str, Any]:
    """No operation of a step waits for the device."""
    if setup.device.type != "cuda":
        return {"passed": None, "note": "only a GPU can tell"}
    stepper = new_stepper(MODEL, setup, batch=4)
    batch = noise_batch(4, 128, setup.device)
    for number in range(3):
        stepper.step(batch, number)
    torch.cuda.set_sync_debug_mode("error")
    try:
        stepper.step(batch, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"passed": True}


CHECKS: tuple[Check, ...] = (
    targets,
    losses,
    grouping,
    fp32_step,
    bf16_steps,
    skipped_step,
    no_waiting,
    resumed_run,
)
