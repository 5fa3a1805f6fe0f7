"""A training from random weights on drawn scenes, for as long as the part may take, and its AP at the end.

The settings are those of jobs/configs/demo.yaml but for the network, the input and the batch, which are a GPU's.
"""

import copy
import os
import time

import torch

from benchmarks.gpu.feeding import _close
from benchmarks.gpu.limit import Limit, synchronise
from benchmarks.gpu.parts import Put, Setup
from benchmarks.gpu.scenes import wait_for
from benchmarks.gpu.work import new_stepper
from lhrnet.network import ModelConfig
from pipeline.data.augment import AugmentConfig
from pipeline.data.prefetch import feed
from pipeline.data.stream import StreamConfig, TrainStream
from pipeline.evaluation.validate import validate
from pipeline.training.optimiser import OptimConfig
from pipeline.training.stepper import Stepper, timed

LANES = 48
SCORING = 15.0
"""Seconds that are kept for the validation."""


def run(setup: Setup, limit: Limit, put: Put) -> None:
    """Train, score, and keep the weights for the inference part."""
    r, side, batch = (-4, 64, 8) if setup.small else (-2, 256, 128)
    model = ModelConfig(r=r, input_size=side)
    shards = wait_for(setup.data, "learn", limit.left / 2)
    optim = OptimConfig(lr=1e-2, weight_decay=1e-4, warmup=0.1, grad_clip=5.0, ema_decay=0.998)
    workers = 1 if setup.small else max(w for w in (1, 2, 3, 4, 6, 8, 12) if w <= max(1, _cores() - 2))
    stream = TrainStream(
        str(shards / "train2017"),
        stream=StreamConfig(lanes=LANES, loader_workers=workers, prefetch=4),
        augment=AugmentConfig(min_scale=0.8, max_scale=1.25, rotation=15, translation=20, flip=0.5),
        size=side,
        global_batch=batch,
        rank=0,
        world=1,
        seed=0,
    )
    fed = feed(stream.batches(), setup.device)
    trial = new_stepper(model, setup, batch=batch, optim=optim)
    trying = timed(fed, trial.stopwatch)
    count = 2 if setup.small else 30
    for _ in range(count):
        trial.step(next(trying), 0)
    synchronise(setup.device)
    begun = time.perf_counter()
    for _ in range(2 * count):
        trial.step(next(trying), 0)
    synchronise(setup.device)
    rate = 2 * count / (time.perf_counter() - begun)
    del trial, trying
    kept = 3.0 if setup.small else SCORING
    steps = 10 if setup.small else max(50, int(0.93 * rate * max(5.0, limit.left - kept)))
    stepper = new_stepper(model, setup, batch=batch, steps=steps, optim=optim)
    _train(stepper, timed(fed, stepper.stopwatch), steps, Limit(limit.until - kept / 2), setup, put, stream)
    _close(fed)
    judge = copy.deepcopy(stepper.network).eval()
    assert stepper.average
    judge.load_state_dict(stepper.average.weights())
    torch.save({name: tensor.cpu() for name, tensor in judge.state_dict().items()}, setup.data / "learned.pt")
    began = time.perf_counter()
    found = validate(judge, str(shards / "val2017"), size=side, world=stepper.world)
    if found:
        scores = found.scores.as_dict()
        put(
            what="scored",
            network=f"r={r}, {side}",
            images=found.images,
            seconds=time.perf_counter() - began,
            **{name: float(scores[name]) for name in ("ap", "ap50", "ap75", "ar")},
        )


def _train(
    stepper: Stepper,
    batches: object,
    steps: int,
    limit: Limit,
    setup: Setup,
    put: Put,
    stream: TrainStream,
) -> None:
    begun, rows = time.perf_counter(), max(1, steps // 6)
    batch = stepper.plan.local_batch
    for done in range(1, steps + 1):
        stepper.step(next(batches), done - 1)  # type: ignore[call-overload]
        if done % rows and done < steps:
            continue
        figures = stepper.take_rows() | stepper.stopwatch.take()
        took = time.perf_counter() - begun
        put(
            step=done,
            of=steps,
            seconds=took,
            images_s=batch * done / took,
            epochs=batch * done / stream.images,
            loss=figures.get("loss"),
            pull=figures.get("loss_pull"),
            push=figures.get("loss_push"),
            data_wait_ms=1000 * figures["time/data_wait"],
            skipped=figures["skipped_steps"],
        )
        if limit.left < 0.5:
            put(what="cut", note=f"after {done} of {steps} steps: the learning rate had not come down")
            return


def _cores() -> int:
    return len(os.sched_getaffinity(0))
