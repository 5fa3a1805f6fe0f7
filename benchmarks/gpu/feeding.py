"""The loop fed by real shards from a local folder: how many loader workers keep one card busy.

Scenes of 640 pixels as COCO's, warped to the network's input with the reference's augmentation.
"""

import os
import time
import traceback
from collections.abc import Iterator

import torch

from benchmarks.gpu.limit import Limit, synchronise, time_calls
from benchmarks.gpu.parts import Put, Setup
from benchmarks.gpu.scenes import wait_for
from benchmarks.gpu.work import new_stepper, noise_batch
from lhrnet.network import ModelConfig
from pipeline.data.augment import AugmentConfig
from pipeline.data.prefetch import feed
from pipeline.data.stream import Batch, StreamConfig, TrainStream
from pipeline.training.stepper import Stepper, timed

LANES = 24


def run(setup: Setup, limit: Limit, put: Put) -> None:
    """The step without data, then with each number of loader workers."""
    r, side, batch = (-4, 64, 4) if setup.small else (-2, 448, 64)
    counts = (0, 1) if setup.small else (12, 8, 4, 2, 1)
    stepper = new_stepper(ModelConfig(r=r, input_size=side), setup, batch=batch)
    still = noise_batch(batch, side, setup.device)
    alone = batch * 1000 / time_calls(lambda: stepper.step(still, 0), setup.device, seconds=1.0, most=40).median
    stepper.stopwatch.take()
    put(loader_workers="none: one batch on the device", images_s=alone, network=f"r={r}, {side}, batch {batch}, eager")
    url = str(wait_for(setup.data, "large", limit.left / 2) / "train2017")
    cores = len(os.sched_getaffinity(0))
    for number, workers in enumerate(counts):
        if limit.left < (1 if setup.small else 6):
            return
        seconds = 0.5 if setup.small else max(2.0, min(5.0, limit.left / (len(counts) - number) / 1.3 - 3.5))
        try:
            row = fed(stepper, url, setup, batch=batch, side=side, workers=workers, seconds=seconds)
        except Exception as error:
            traceback.print_exc()
            put(loader_workers=workers, note=f"failed: {type(error).__name__}: {str(error)[:200]}")
            continue
        alone_rate = None
        if workers in (counts[0], counts[-1], 4) and limit.left > 4:
            alone_rate = loaded(url, batch=batch, side=side, workers=workers, seconds=seconds / 2)
        need = alone / (alone_rate / max(1, workers)) if alone_rate else None
        put(loader_workers=workers, cores=cores, **row, loader_alone_images_s=alone_rate, workers_to_feed_one_card=need)


def stream_of(url: str, *, batch: int, side: int, workers: int) -> TrainStream:
    """The training stream of a split, as one worker alone reads it."""
    return TrainStream(
        url,
        stream=StreamConfig(lanes=LANES, loader_workers=workers),
        augment=AugmentConfig(),
        size=side,
        global_batch=batch,
        rank=0,
        world=1,
        seed=0,
    )


def fed(
    stepper: Stepper, url: str, setup: Setup, *, batch: int, side: int, workers: int, seconds: float
) -> dict[str, float]:
    """Train for so many seconds from the stream, by the trainer's own loop."""
    stream = feed(stream_of(url, batch=batch, side=side, workers=workers).batches(), setup.device)
    batches = timed(stream, stepper.stopwatch)
    for _ in range(3):
        stepper.step(next(batches), 0)
    synchronise(setup.device)
    stepper.stopwatch.take()
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        stepper.step(next(batches), 0)
        steps += 1
        if steps % 10 == 0:
            synchronise(setup.device)
    synchronise(setup.device)
    took = time.perf_counter() - begun
    parts = stepper.stopwatch.take()
    stepper.take_rows()
    batches.close()
    _close(stream)
    return {"images_s": batch * steps / took, "data_wait_share": parts["time/data_wait"] * steps / took}


def loaded(url: str, *, batch: int, side: int, workers: int, seconds: float) -> float:
    """Images a second of the stream alone."""
    stream = stream_of(url, batch=batch, side=side, workers=workers).batches()
    for _ in range(2 + 2 * workers):  # what was prepared ahead
        next(stream)
    begun, images = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        images += len(next(stream).images)
    took = time.perf_counter() - begun
    _close(stream)
    return images / took


def _close(stream: Iterator[Batch]) -> None:
    close = getattr(stream, "close", None)
    if close:
        close()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
