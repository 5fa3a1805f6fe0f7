"""Data-parallel steps: a process a card where there are several, else two processes on the one card.

Two processes cannot share a card under NCCL; then gloo carries the gradients. Under torchrun each of its processes
does its part: `torchrun --nproc-per-node 8 -m benchmarks gpu --out DIR`.
"""

import json
import os
import socket
import subprocess
import sys
import time
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from benchmarks.gpu.limit import Limit, synchronise
from benchmarks.gpu.parts import Put, Setup
from benchmarks.gpu.work import new_stepper, noise_batch
from lhrnet.network import ModelConfig
from pipeline.cluster.world import World

REPOSITORY = Path(__file__).resolve().parents[2]


def run(setup: Setup, limit: Limit, put: Put) -> None:
    """One process, then several, by NCCL or by what works."""
    cards = torch.cuda.device_count() if setup.device.type == "cuda" else 0
    count = cards if cards > 1 else 2
    where = f"{count} cards" if cards > 1 else f"{count} processes on one {'card' if cards else 'CPU'}"
    for backend in (["nccl"] if cards else []) + ["gloo"]:
        if limit.left < 5:
            return
        answer, error = launch(count, backend, setup, limit.part(0.5 if backend == "nccl" else 0.9))
        if answer:
            put(where=where, backend=backend, **answer, note="")
            return
        put(where=where, backend=backend, note=f"does not work here: {error}")


def launch(count: int, backend: str, setup: Setup, limit: Limit) -> tuple[dict[str, Any], str]:
    """What the first of so many processes measured, or why nothing was."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [sys.executable, "-m", "benchmarks.gpu.processes", backend, setup.device.type, str(int(setup.small))]
    environment = os.environ | {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    workers = [
        subprocess.Popen(
            command,
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    failed_at = None
    while limit.left and any(worker.poll() is None for worker in workers):
        if failed_at is None and any(worker.poll() for worker in workers):
            failed_at = time.monotonic()
        if failed_at and time.monotonic() > failed_at + 3:  # the others wait for it
            break
        time.sleep(0.1)
    late = [worker for worker in workers if worker.poll() is None]
    for worker in late:
        worker.kill()
    answers, errors = zip(*(worker.communicate() for worker in workers), strict=True)
    if late and not failed_at:
        errors = (*errors, "it did not end within its time")
    lines = [line for line in "".join(answers).splitlines() if line.startswith("{")]
    if lines:
        return json.loads(lines[0]), ""
    print("\n".join(errors), flush=True)
    said = [line for error in errors for line in error.splitlines() if "Error" in line or "uplicate" in line]
    return {}, (said or [*errors, "nothing was said"])[-1][:200]


def under_torchrun(out: Path, device: str, *, small: bool) -> int:
    """One of torchrun's processes; the first writes the results."""
    from benchmarks.gpu.results import Results

    answer = measure("nccl" if device == "cuda" else "gloo", device, small=small)
    if answer:
        results = Results(out, ["processes"])
        results.row("processes", {"where": f"{os.environ['WORLD_SIZE']} processes of torchrun", **answer})
        results.end_of("processes", "done", "")
        print(results.summary())
    return 0


def measure(backend: str, kind: str, *, small: bool) -> dict[str, Any]:
    """Images a second of all processes together, as the first of them sees it; nothing on the others."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    device = torch.device(kind)
    if kind == "cuda":
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
        torch.cuda.set_device(device)
    dist.init_process_group(backend, timeout=timedelta(seconds=30))
    ones = torch.ones(1, device=device)
    dist.all_reduce(ones)
    if ones.item() != size:
        raise RuntimeError(f"{size} processes sum ones to {ones.item()}")
    found = _rates(backend, World.of_process_group(device), small)
    dist.destroy_process_group()
    return found if rank == 0 else {}


def _rates(backend: str, world: World, small: bool) -> dict[str, Any]:
    r, side, batch, count = (-4, 64, 2, 3) if small else (-2, 448, 32, 20)
    model = ModelConfig(r=r, input_size=side)
    setup = Setup(device=world.device, data=Path(), small=small)
    batches = noise_batch(batch, side, world.device, seed=world.rank)
    rates = []
    for each in (World(device=world.device), world):  # first everyone by itself, side by side
        stepper = new_stepper(model, setup, batch=batch * each.size, world=each)
        for _ in range(3):
            stepper.step(batches, 0)
        synchronise(world.device)
        dist.barrier(group=world.control)
        begun = time.perf_counter()
        for _ in range(count):
            stepper.step(batches, 0)
        synchronise(world.device)
        rates.append(batch * world.size * count / (time.perf_counter() - begun))
    weights = torch.cat([parameter.detach().flatten() for parameter in stepper.parameters]).double().sum()
    sums = world.gather(float(weights))
    return {
        "network": f"r={r}, {side}, batch {batch} a process",
        "images_s_side_by_side": rates[0],
        "images_s_together": rates[1],
        "efficiency": rates[1] / rates[0],
        "same_weights_everywhere": len(set(sums)) == 1,
        "backend_used": backend,
    }


if __name__ == "__main__":
    try:
        found = measure(sys.argv[1], sys.argv[2], small=sys.argv[3] == "1")
    except Exception:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)  # an orderly end would wait for those that wait for us
    if found:
        print(json.dumps(found), flush=True)
