"""Where a step's time goes: its parts on the device's clock, its costliest kernels, how busy they keep the card."""

import time
from typing import Any

from torch.profiler import ProfilerActivity, profile

from benchmarks.gpu.limit import Limit, synchronise, time_calls
from benchmarks.gpu.parts import Put, Setup
from benchmarks.gpu.work import new_stepper, noise_batch
from lhrnet.losses.pose_loss import pose_loss
from lhrnet.losses.targets import render_heatmaps
from lhrnet.network import ModelConfig
from pipeline.data.prefetch import to_device
from pipeline.data.stream import Batch
from pipeline.training.stepper import Stepper

STEPS = 4


def run(setup: Setup, limit: Limit, put: Put) -> None:
    """The parts of a step at r = -2 in bf16, then the kernels, then the same for r = 0."""
    for r, side in ((-4, 64),) if setup.small else ((-2, 448), (0, 512)):
        if limit.left < (1 if setup.small else 4):
            return
        model = ModelConfig(r=r, input_size=side)
        images = 2 if setup.small else 64
        stepper = new_stepper(model, setup, batch=images)
        batch = noise_batch(images, side, setup.device)
        what = f"r={r}, {side}, batch {images}"
        parts(stepper, batch, setup, what, put)
        kernels(stepper, batch, setup, what, put)


def parts(stepper: Stepper, batch: Batch, setup: Setup, what: str, put: Put) -> None:
    """Milliseconds of each part, timed alone and in steady state."""
    device, loss = setup.device, stepper.loss
    seconds = 0.1 if setup.small else 0.5

    def forward() -> Any:
        with stepper._autocast():
            return stepper.parallel(stepper._prepare(batch.images))

    def backward() -> None:
        pose_loss(forward(), batch.joints, batch.mask, loss).total.backward()  # type: ignore[no-untyped-call]

    def update() -> None:
        stepper.optimiser.found_inf = (~stepper._clip().isfinite()).float()
        stepper.optimiser.step()

    def average() -> None:
        assert stepper.average
        stepper.average.update()

    outputs = tuple(output.detach().requires_grad_() for output in forward())
    sides = [output.shape[2] for output in outputs]

    def losses() -> None:
        pose_loss((outputs[0], outputs[1]), batch.joints, batch.mask, loss).total.backward()  # type: ignore[no-untyped-call]

    host = Batch(batch.images.cpu(), batch.joints.cpu(), batch.mask.cpu(), batch.image_ids, batch.cursor)
    calls = {
        "whole step": lambda: stepper.step(batch, 0),
        "normalising": lambda: stepper._prepare(batch.images),
        "normalising and forward": forward,
        "forward, losses, backward": backward,
        "targets and losses, there and back": losses,
        "targets alone": lambda: [
            render_heatmaps(batch.joints / (2 * sides[1] / side), (side, side), loss.sigma, loss.centre)
            for side in sides
        ],
        "clipping and update": update,
        "moving average": average,
    }
    if device.type == "cuda":
        calls["copy of a batch to the card"] = lambda: to_device(host, device)
    for name, call in calls.items():
        timing = time_calls(call, device, seconds=seconds, most=30)
        put(step=what, part=name, ms=timing.median, ms_p10=timing.low, ms_p90=timing.high)
    stepper.stopwatch.take()


def kernels(stepper: Stepper, batch: Batch, setup: Setup, what: str, put: Put) -> None:
    """The ten costliest kernels, and how much of the time the card computes at all."""
    gpu = setup.device.type == "cuda"
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if gpu else [])
    stepper.step(batch, 0)
    synchronise(setup.device)
    with profile(activities=activities) as profiler:
        begun = time.perf_counter()
        for _ in range(STEPS):
            stepper.step(batch, 0)
        synchronise(setup.device)
        wall = time.perf_counter() - begun
    stepper.stopwatch.take()
    events = [event for event in profiler.key_averages() if _own(event, gpu) > 0]
    if gpu:  # operators carry their kernels' time a second time
        events = [event for event in events if str(event.device_type).endswith("CUDA")]
    events = [event for event in events if not getattr(event, "is_user_annotation", False)]
    total = sum(_own(event, gpu) for event in events)
    put(
        step=what,
        kernels_a_step=sum(event.count for event in events) / STEPS,
        busy_ms_a_step=total / 1000 / STEPS,
        wall_ms_a_step_with_the_profiler=wall * 1000 / STEPS,
    )
    for event in sorted(events, key=lambda event: -_own(event, gpu))[:10]:
        own = _own(event, gpu)
        put(step=what, kernel=event.key[:90], share=own / total, calls=event.count / STEPS, ms=own / 1000 / STEPS)


def _own(event: Any, gpu: bool) -> float:
    """Microseconds."""
    return float(event.self_device_time_total if gpu else event.self_cpu_time_total)
