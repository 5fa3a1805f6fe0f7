"""Several workers: the same run as one worker's, whichever of them meets something odd."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.distributed as dist

from lhrnet.normalise import normalise
from pipeline.checkpoints import checkpoint
from pipeline.cluster.world import Vote, World
from pipeline.config.tree import Config, parse
from pipeline.runs.loop import Trainer
from pipeline.training import stepper


def config_of(shards: Path, runs: Path, **train: Any) -> Config:
    few = {"steps": 4, "global_batch": 8, "micro_batch": 4, "checkpoint_every": 2, "log_every": 1, "precision": "fp32"}
    return parse(
        {
            "name": "a",
            "storage": str(runs),
            "data": {"train": str(shards / "train2017"), "val": str(shards / "val2017")},
            "model": {"r": -4, "input_size": 64},
            "stream": {"lanes": 4, "loader_workers": 0},
            "train": few | {"validate_images": 3} | train,
            "tracking": {"enabled": False},
        }
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def enter(rank: int, size: int, port: int) -> World:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), OMP_NUM_THREADS="1")
    dist.init_process_group("gloo", rank=rank, world_size=size)
    return World.of_process_group(torch.device("cpu"))


def on_two_workers(work: Callable[[int, int, dict[str, Any]], None], config: Config) -> None:
    """Run a function of this file in two processes; fail where either does."""
    port = free_port()
    command = [sys.executable, __file__, work.__name__]
    processes = [
        subprocess.Popen([*command, str(rank), str(port), json.dumps(config.tree())], stderr=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)


def half_then_leave(rank: int, port: int, tree: dict[str, Any]) -> None:
    """Two workers; the second is told to leave during the first step."""
    outcome = Trainer(parse(tree), world=enter(rank, 2, port)).run(lambda: rank == 1)
    assert (outcome.finished, outcome.steps) == (False, 2), outcome
    dist.destroy_process_group()


def one_sees_nothing_finite(rank: int, port: int, tree: dict[str, Any]) -> None:
    """Two workers; the images of the second spoil one step."""
    world = enter(rank, 2, port)
    run = Trainer(parse(tree), world=world)
    batches = run.stream.batches()
    run.stepper.step(next(batches), 0)
    before = {name: tensor.clone() for name, tensor in run.stepper.network.named_parameters()}
    spoilt = (lambda images: normalise(images) * float("nan")) if rank == 1 else normalise
    with patch.object(stepper, "normalise", spoilt):
        run.stepper.step(next(batches), 1)
    for name, tensor in run.stepper.network.named_parameters():
        assert torch.equal(tensor, before[name]), name
    assert run.stepper.take_rows()["skipped_steps"] == 1
    run.stepper.step(next(batches), 2)
    assert not torch.equal(next(run.stepper.network.parameters()), next(iter(before.values())))
    assert all(buffer.isfinite().all() for buffer in run.stepper.network.buffers())
    weights = world.gather({name: tensor.detach() for name, tensor in run.stepper.network.named_parameters()})
    if weights:
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    dist.destroy_process_group()


def test_begun_on_two_workers_and_ended_on_one_it_is_the_run_of_one(drawn_shards: Path, tmp_path: Path) -> None:
    alone = Trainer(config_of(drawn_shards, tmp_path / "alone")).run()
    config = config_of(drawn_shards, tmp_path / "two", workers=2)
    on_two_workers(half_then_leave, config)
    ended = Trainer(config_of(drawn_shards, tmp_path / "two")).run()
    assert (ended.resumed_from, ended.steps) == (2, 4)
    one, two = (checkpoint.load(outcome.checkpoint, training=True).training for outcome in (alone, ended))
    assert one["cursor"] == two["cursor"]
    learnt = [name for name in one["network"] if "running" not in name and "tracked" not in name]
    for name in learnt:
        torch.testing.assert_close(two["network"][name], one["network"][name], rtol=2e-3, atol=2e-4, msg=name)


def test_a_bad_step_of_one_worker_is_skipped_on_all(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, tmp_path, workers=2)
    on_two_workers(one_sees_nothing_finite, config)


def test_a_worker_alone_agrees_with_itself() -> None:
    world = World()
    assert world.first
    assert world.gather(3) == [3]
    assert world.from_first("a") == "a"
    assert Vote(world).cast(True)


@pytest.mark.parametrize("micro", [0, 4])
def test_only_passes_of_equal_size_make_the_number_of_workers_irrelevant(
    micro: int, drawn_shards: Path, tmp_path: Path
) -> None:
    run = Trainer(config_of(drawn_shards, tmp_path, micro_batch=micro))
    assert run.plan.passes == (1 if micro == 0 else 2)


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
