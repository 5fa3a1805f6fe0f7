"""The deaths that take long to recover from, with the real commands: a driver killed, a node lost and found."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]


def until(condition: Callable[[], Any], seconds: float = 150.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come")


def settings_file(folder: Path, shards: Path, storage: str, **train: Any) -> Path:
    few = {"global_batch": 8, "micro_batch": 4, "log_every": 5, "validate_images": 3, "validate_every": 0}
    tree = {
        "name": "drill",
        "storage": storage,
        "data": {"train": str(shards / "train2017"), "val": str(shards / "val2017")},
        "model": {"r": -4, "input_size": 64},
        "stream": {"lanes": 4, "loader_workers": 0},
        "loss": {"push": "hinge", "tag_weight": 0.05},
        "train": few | {"device": "cpu", "workers": 2, "checkpoint_every": 10} | train,
        "tracking": {"enabled": False},
    }
    file = folder / "drill.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


def driver(file: Path, address: str, log: Path) -> subprocess.Popen[str]:
    """`lhrnet train`, as a job's entry point runs it."""
    command = [sys.executable, "-m", "jobs.cli", "train", "-c", str(file), "--json"]
    with log.open("a") as errors:
        return subprocess.Popen(
            command, env=os.environ | {"RAY_ADDRESS": address}, stdout=subprocess.PIPE, stderr=errors, text=True
        )


def last_step(run_url: str) -> int:
    return max((entry.step for entry in checkpoint.listing(run_url)), default=0)


def told_by(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, log.read_text()[-3000:]
    return dict(json.loads([line for line in output.splitlines() if line.startswith("{")][-1]))


@pytest.mark.stack
def test_a_killed_driver_submitted_again_goes_on(stack: Any, s3: str, drawn_shards: Path, tmp_path: Path) -> None:
    file = settings_file(tmp_path, drawn_shards, s3, steps=150)
    run_url, log = f"{s3}/drill", tmp_path / "log"
    first = driver(file, stack.ray_address, log)
    until(lambda: last_step(run_url) >= 10)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    killed, saved = time.monotonic(), last_step(run_url)
    again = driver(file, stack.ray_address, log)
    until(lambda: last_step(run_url) > saved + 10)
    recovered = time.monotonic() - killed
    third = driver(file, stack.ray_address, tmp_path / "refused")
    third.communicate(timeout=120)
    assert third.returncode == 1
    assert "is being worked on by process" in (tmp_path / "refused").read_text()
    told = told_by(again, log)
    assert (told["finished"], told["steps"]) == (True, 150)
    assert told["resumed_from"] >= saved
    print(f"driver killed: saved at {saved}, resumed from {told['resumed_from']}, {recovered:.0f} s to 10 steps more")


@pytest.mark.stack
def test_a_driver_told_to_end_saves_and_leaves_in_order(
    stack: Any, s3: str, drawn_shards: Path, tmp_path: Path
) -> None:
    file = settings_file(tmp_path, drawn_shards, s3, steps=5000, checkpoint_every=2000)
    run_url, log = f"{s3}/drill", tmp_path / "log"
    process = driver(file, stack.ray_address, log)
    until(lambda: "images/s" in log.read_text() or "/40,000 images" in log.read_text())
    process.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    told = told_by(process, log)
    assert not told["finished"]
    assert 0 < told["steps"] < 5000
    assert last_step(run_url) == told["steps"]
    print(f"driver told to end: left at step {told['steps']} after {time.monotonic() - asked:.0f} s")


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A cluster of a head without work and two nodes for a worker each."""
    import ray
    from ray.cluster_utils import Cluster

    before = os.environ.pop("RAY_ADDRESS", None)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0.1, "object_store_memory": 100_000_000})
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=100_000_000) for _ in range(2)]
    yield cluster, nodes
    ray.shutdown()
    cluster.shutdown()
    if before is not None:
        os.environ["RAY_ADDRESS"] = before


def test_a_lost_node_leaves_one_worker_and_a_new_one_brings_back_two(
    two_nodes: Any, drawn_shards: Path, tmp_path: Path
) -> None:
    cluster, nodes = two_nodes
    file = settings_file(tmp_path, drawn_shards, str(tmp_path / "runs"), steps=400, min_workers=1, cpus_per_worker=1)
    run_url, log = str(tmp_path / "runs" / "drill"), tmp_path / "log"
    process = driver(file, cluster.address, log)
    until(lambda: last_step(run_url) >= 10)
    cluster.remove_node(nodes[1], allow_graceful=False)
    lost, saved = time.monotonic(), last_step(run_url)
    until(lambda: last_step(run_url) > saved + 10)
    print(f"node lost: {time.monotonic() - lost:.0f} s to 10 steps more on one worker")
    cluster.add_node(num_cpus=1, object_store_memory=100_000_000)
    told = told_by(process, log)
    assert (told["finished"], told["steps"]) == (True, 400)
    print(f"ended on {told['workers']} workers")
