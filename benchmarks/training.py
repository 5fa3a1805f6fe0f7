"""The training loop beside a bare DDP loop over the same tensors, on two CPU workers.

Both loops run in the same processes in turns, so that what else the machine does falls on both. The bare loop is the
least that trains: forward, loss, backward, clip, step. Ours adds the moving average, the skipping of what is not
finite, clocks, the vote on stopping, rows and a progress line.
"""

import io
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from lhrnet.losses.pose_loss import pose_loss
from lhrnet.network import create_model
from lhrnet.normalise import normalise
from pipeline.cluster.world import World
from pipeline.config.tree import Config, parse
from pipeline.data.stream import Batch
from pipeline.runs.loop import Trainer
from pipeline.scenes.synthetic import SceneConfig, write_coco
from pipeline.sharding.plan import make_plans
from pipeline.sharding.write import serial, write_split
from pipeline.tracking.gauges import Gauges
from pipeline.tracking.monitor import Monitor
from pipeline.tracking.progress import Progress
from pipeline.training.optimiser import create_optimiser

BLOCK, BLOCKS, BATCHES = 8, 7, 4

Row = dict[str, Any]


def run() -> list[Row]:
    """Measure on two plain processes and on two Ray Train workers."""
    with tempfile.TemporaryDirectory() as folder:
        tree = config_of(Path(folder)).tree()
        plain, on_ray = on_processes(tree), on_ray_train(tree)
    return [
        row for where, times in (("2 processes", plain), ("2 Ray Train workers", on_ray)) for row in _rows(where, times)
    ]


def config_of(folder: Path) -> Config:
    """The demo's network and batch, on a few drawn images."""
    coco = write_coco(folder / "coco", train=256, val=8, test=1, seed=0, config=SceneConfig(), workers=1)
    for plan in make_plans(str(coco), str(folder / "shards"), ("train2017", "val2017"), per_shard=32, dataset="drawn"):
        write_split(plan, runner=serial)
    return parse(
        {
            "name": "bench",
            "storage": str(folder / "runs"),
            "data": {split: str(folder / "shards" / f"{split}2017") for split in ("train", "val")},
            "model": {"r": -4, "input_size": 128},
            "stream": {"loader_workers": 0},
            "train": {"workers": 2, "device": "cpu", "log_every": 10},
            "tracking": {"enabled": False},
        }
    )


def measure(tree: dict[str, Any], world: World) -> dict[str, list[float]]:
    """Seconds a step of both loops in turns, and of waiting for data in a loop over the real stream."""
    torch.set_num_threads(1)
    ours = Trainer(parse(tree), world=world)
    real = ours.stream.batches
    batches = list(islice(real(), BATCHES))
    bare = bare_loop(parse(tree), world, batches)
    seconds: dict[str, list[float]] = {"bare": [], "ours": [], "wait": [], "streamed": []}
    silent = Progress(1, "bench", file=io.StringIO()) if world.first else None
    gauges = Gauges("bench") if world.first else None
    batch = ours.config.train.global_batch
    with Monitor(ours.tracker, silent, global_batch=batch, device=world.device, gauges=gauges) as ours.monitor:
        for block in range(BLOCKS):
            ours.stream.batches = lambda start: cycle(batches)  # type: ignore[method-assign, assignment, misc]
            for kind, loop in (("bare", bare), ("ours", lambda: _steps(ours))):
                begun = time.perf_counter()
                loop()
                if block:
                    seconds[kind].append((time.perf_counter() - begun) / BLOCK)
        ours.stream.batches = real  # type: ignore[method-assign]
        ours.stepper.stopwatch.take()
        begun = time.perf_counter()
        _steps(ours, 3 * BLOCK)
        seconds["streamed"].append((time.perf_counter() - begun) / (3 * BLOCK))
        seconds["wait"].append(ours.monitor.waited / (3 * BLOCK))
    return seconds


def _steps(run: Trainer, steps: int = BLOCK) -> None:
    run.plan = replace(run.plan, total=run.done + steps, validate_at=frozenset(), checkpoint_at=frozenset())
    run.steps(lambda: False)


def bare_loop(config: Config, world: World, batches: list[Batch]) -> Callable[[], None]:
    """The least that trains the same network on the same tensors."""
    network = create_model(config.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parallel = DistributedDataParallel(network, forward_sync_buffers=False, gradient_as_bucket_view=True)
    optimiser = create_optimiser(network.parameters(), config.optim)
    endless = cycle(batches)

    def loop() -> None:
        for batch in islice(endless, BLOCK):
            with torch.autocast(world.device.type, dtype=torch.bfloat16):
                outputs = parallel(normalise(batch.images).contiguous(memory_format=torch.channels_last))
            pose_loss(outputs, batch.joints, batch.mask, config.loss).total.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.optim.grad_clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=False)

    return loop


def on_processes(tree: dict[str, Any]) -> dict[str, list[float]]:
    """`measure` on two processes with a gloo group."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", "benchmarks.training", json.dumps(tree)]
    workers = [
        subprocess.Popen(command, env=environment | {"RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    answers = [worker.communicate(timeout=300)[0] for worker in workers]
    return dict(json.loads(answers[0].splitlines()[-1]))


def on_ray_train(tree: dict[str, Any]) -> dict[str, list[float]]:
    """`measure` on two Ray Train workers of a cluster of our own."""
    import ray
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    ray.init(address="local", num_cpus=3, logging_level="error", log_to_driver=False, include_dashboard=False)
    try:
        with tempfile.TemporaryDirectory() as folder:
            trainer = TorchTrainer(
                _ray_worker,
                train_loop_config=tree,
                scaling_config=ScalingConfig(num_workers=2),
                run_config=RunConfig(name="bench", storage_path=folder),
            )
            return dict(trainer.fit().return_value)
    finally:
        ray.shutdown()


def _ray_worker(tree: dict[str, Any]) -> dict[str, list[float]]:
    return measure(tree, World.of_process_group(torch.device("cpu")))


def _rows(where: str, seconds: dict[str, list[float]]) -> list[Row]:
    bare, ours = statistics.median(seconds["bare"]), statistics.median(seconds["ours"])
    overhead = statistics.median(o / b for o, b in zip(seconds["ours"], seconds["bare"], strict=True))
    streamed, wait = seconds["streamed"][0], seconds["wait"][0]
    return [
        {"name": f"bare DDP loop, {where}", "median": bare * 1000, "unit": "ms a step"},
        {"name": f"training loop, {where}", "median": ours * 1000, "unit": "ms a step", "ratio": overhead,
         "notes": "of the bare loop's time, median of blocks in turns"},
        {"name": f"with the real stream, {where}", "median": streamed * 1000, "unit": "ms a step",
         "ratio": wait / streamed, "notes": "of it waiting for data, decoded in the same process"},
    ]  # fmt: skip


if __name__ == "__main__":
    dist.init_process_group("gloo")
    taken = measure(json.loads(sys.argv[1]), World.of_process_group(torch.device("cpu")))
    print(json.dumps(taken))
    dist.destroy_process_group()
