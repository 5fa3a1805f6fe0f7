"""The training loop beside a bare DDP loop over the same tensors, on two CPU workers, and on a GPU where there is one.

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
from lhrnet.network import create_model, profile
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
PEAK_BF16 = {"H200": 989e12, "H100": 989e12, "A100": 312e12}
"""Dense bf16 operations a second by the vendor's sheet."""

Row = dict[str, Any]


def run() -> list[Row]:
    """Measure on two plain processes, on two Ray Train workers, and on the GPU."""
    with tempfile.TemporaryDirectory() as folder:
        tree = config_of(Path(folder)).tree()
        plain, on_ray = on_processes(tree), on_ray_train(tree)
    rows = [
        row for where, times in (("2 processes", plain), ("2 Ray Train workers", on_ray)) for row in _rows(where, times)
    ]
    return rows + (gpu_rows(torch.device("cuda")) if torch.cuda.is_available() else [])


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


def gpu_rows(
    device: torch.device, *, scales: tuple[int, ...] = (0, -1, -2), batch: int = 64, steps: int = 30
) -> list[Row]:
    """Images a second by scale, exchange and compilation, in bf16, with the share of the card's peak."""
    card = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    peak = next((value for name, value in PEAK_BF16.items() if name in card), None)
    rows = []
    for r in scales:
        for exchange in ("folded", "plain"):
            for compiled in (False, True):
                rate = _rate(device, r=r, exchange=exchange, compiled=compiled, batch=batch, steps=steps)
                macs = profile(parse(_tree(r, exchange)).model).macs
                share = 6 * macs * rate / peak if peak else 0.0
                rows.append({
                    "name": f"r={r}, {exchange} exchange, {'compiled' if compiled else 'eager'}", "median": rate,
                    "unit": "images/s", "ratio": share, "notes": f"of {card}'s bf16 peak, 6 operations a MAC",
                })  # fmt: skip
    return rows


def _tree(r: int, exchange: str) -> dict[str, Any]:
    return {
        "name": "bench",
        "storage": "/",
        "data": {"train": "-", "val": "-"},
        "model": {"r": r, "exchange": exchange},
    }


def _rate(device: torch.device, *, r: int, exchange: str, compiled: bool, batch: int, steps: int) -> float:
    config = parse(_tree(r, exchange))
    network: Any = create_model(config.model).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = create_optimiser(network.parameters(), config.optim)
    if compiled:
        network.compile()
    side = config.model.side
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8, device=device)
    joints = torch.rand(batch, 30, 17, 3, device=device) * side
    mask = torch.ones(batch, side // 2, side // 2, dtype=torch.uint8, device=device)

    def step() -> None:
        with torch.autocast(device.type, dtype=torch.bfloat16):
            outputs = network(normalise(images).contiguous(memory_format=torch.channels_last))
        pose_loss(outputs, joints, mask, config.loss).total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()

    for _ in range(5):
        step()
    _synchronise(device)
    begun = time.perf_counter()
    for _ in range(steps):
        step()
    _synchronise(device)
    return batch * steps / (time.perf_counter() - begun)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    taken = measure(json.loads(sys.argv[1]), World.of_process_group(torch.device("cpu")))
    print(json.dumps(taken))
    dist.destroy_process_group()
