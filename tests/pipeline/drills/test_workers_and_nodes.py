"""Workers and nodes that die: the run goes on with others, or with fewer, or when there are others again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def workers() -> list[int]:
    """Process ids of the training workers of the cluster that this process belongs to."""
    from ray.util.state import list_actors

    found = list_actors(filters=[("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")])
    return [int(actor.pid) for actor in found]


@pytest.mark.stack
def test_a_killed_worker_is_replaced(stack: Any, drill: Any, tell: Any) -> None:
    drill.address = stack.ray_address
    process = drill.start()
    drill.until_saved(20)
    os.kill(workers()[0], signal.SIGKILL)
    killed = time.time()
    told = drill.end(process)
    assert (told["finished"], told["steps"], told["workers"]) == (True, 150, 2)
    assert told["resumed_from"] >= 20
    lost, seconds = drill.price(killed, told["resumed_from"])
    tell("a worker is killed (SIGKILL)", lost=lost, seconds=seconds)


@pytest.mark.stack
def test_workers_told_that_their_node_is_to_go_save_first(stack: Any, drill: Any, tell: Any) -> None:
    drill.address = stack.ray_address
    drill.tree["train"] |= {"checkpoint_every": 70}
    drill.tree["stream"]["loader_workers"] = 1  # a process that bears its worker's name and must not be told
    process = drill.start()
    drill.until(lambda: len(drill.rows()) > 20, "20 rows")
    told_at = time.time()
    ray = str(stack.running["ray"].pid)
    command = [sys.executable, "-m", "pipeline.cluster.prestop", "--root", ray]
    left = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout
    assert left == "2 workers were told to leave\n"
    told = drill.end(process)
    assert (told["finished"], told["steps"], told["workers"]) == (True, 150, 2)
    assert told["resumed_from"] % 70
    lost, seconds = drill.price(told_at, told["resumed_from"])
    assert lost == 0
    tell("a spot notice: SIGTERM to the workers of a node", lost=lost, seconds=seconds)


@pytest.fixture
def cluster() -> Iterator[Callable[[int], Any]]:
    """Makes a cluster of a head without work and so many nodes for a worker each."""
    import ray
    from ray.cluster_utils import Cluster

    before = os.environ.pop("RAY_ADDRESS", None)
    made = []

    def of(nodes: int) -> Any:
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 100_000_000})
        made.append(cluster)
        return cluster, [add(cluster) for _ in range(nodes)]

    yield of
    for cluster in made:
        cluster.shutdown()
    assert not ray.is_initialized() or before
    if before is not None:
        os.environ["RAY_ADDRESS"] = before


def add(cluster: Any) -> Any:
    """A node for one worker."""
    return cluster.add_node(num_cpus=1, object_store_memory=100_000_000)


def lose(cluster: Any, node: Any) -> float:
    """Kill a node's raylet; when."""
    cluster.remove_node(node, allow_graceful=False)
    return time.time()


@pytest.mark.parametrize("spare", [True, False], ids=["with a spare", "without a spare"])
def test_a_lost_node_is_replaced(cluster: Any, drill: Any, tell: Any, spare: bool) -> None:
    nodes, (*_, last) = cluster(2)
    drill.address = nodes.address
    drill.tree["train"] |= {"cpus_per_worker": 1}
    process = drill.start()
    drill.until_saved(20)
    if spare:
        add(nodes)
    lost_at = lose(nodes, last)
    if not spare:
        time.sleep(30)
        assert process.poll() is None
        reached = drill.saved()
        time.sleep(5)
        assert drill.saved() == reached, "it waits"
        add(nodes)
    told = drill.end(process)
    assert (told["finished"], told["steps"], told["workers"]) == (True, 150, 2)
    lost, seconds = drill.price(lost_at, told["resumed_from"])
    note = "a spare takes its place" if spare else "the run waits; a new node came after 35 s"
    tell("a node is lost (raylet killed)", lost=lost, seconds=seconds, note=note)


def test_elastic_a_lost_node_leaves_one_worker_and_a_new_one_brings_back_two(
    cluster: Any, drill: Any, tell: Any
) -> None:
    nodes, (*_, last) = cluster(2)
    drill.address = nodes.address
    drill.tree["train"] |= {"steps": 5000, "cpus_per_worker": 1, "min_workers": 1}
    process = drill.start()
    drill.until_saved(20)
    lost_at = lose(nodes, last)
    resumed_from = drill.until_begun(process, 2)
    drill.until_saved(resumed_from + 20)
    lost, seconds = drill.price(lost_at, resumed_from)
    tell("elastic: a node is lost, 2 workers to 1", lost=lost, seconds=seconds)
    add(nodes)
    drill.until(lambda: "from 1 -> 2 workers" in drill.said(process), "the second worker")
    grown = time.time()
    resumed_from = drill.until_begun(process, 3)
    drill.until_saved(resumed_from + 20)
    lost, seconds = drill.price(grown, resumed_from)
    tell("elastic: a node comes, 1 worker to 2", lost=lost, seconds=seconds, note="Ray looks for nodes once a minute")
    process.send_signal(signal.SIGTERM)
    told = drill.end(process)
    assert (told["finished"], told["workers"], told["steps"]) == (False, 2, drill.saved())
