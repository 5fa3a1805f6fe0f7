"""Shards are written, a network is trained and settings are searched across hosts; a run outlives a host cut off."""

import contextlib
import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from infra import services
from infra.hosts import Host, Network, network
from infra.keys import read_or_make
from infra.process import wait_until_ready

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
BIN = Path(sys.executable).parent
CONFIG = str(Path(__file__).parents[2] / "jobs" / "configs" / "demo.yaml")
PORTS = {"s3": 20833, "mlflow": 20500, "dashboard": 20826, "gcs": 20637, "master": 20933, "volume": 20808}
PORTS |= {"filer": 20888, "ray-client": 20100, "ray-agent": 20365, "ray-metrics": 20880}
FAST_TO_NOTICE = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "4",
}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[Network]:
    with contextlib.ExitStack() as stack:
        try:
            made = stack.enter_context(network(tmp_path))
            for name in ("store", "head", "left", "right"):
                made.add(name)
        except RuntimeError as reason:
            pytest.skip(f"this machine has no hosts to lend: {reason}")
        yield made


def moved(command: list[str], address: str) -> list[str]:
    return [word.replace("127.0.0.1", address).replace("127.0.0.2", address) for word in command]


def start_everything(hosts: Network) -> dict[str, str]:
    """Object store and MLflow on one host, a Ray head that computes nothing, and two workers of one CPU."""
    store, head = hosts.hosts["store"], hosts.hosts["head"]
    keys = read_or_make(hosts.folder)
    env = {
        **services.server_environment(PORTS, keys),
        **FAST_TO_NOTICE,
        "RAY_ADDRESS": f"{head.address}:{PORTS['gcs']}",
    }
    for name in ("AWS_ENDPOINT_URL", "MLFLOW_TRACKING_URI", "MLFLOW_S3_ENDPOINT_URL"):
        env[name] = env[name].replace("127.0.0.1", store.address)
    env["MLFLOW_SERVER_ALLOWED_HOSTS"] = f"{store.address}:{PORTS['mlflow']}"
    command = moved(services.object_store_command(hosts.folder, PORTS, keys), store.address)
    s3 = hosts.start(store, "s3", command, env=env | services.object_store_environment(hosts.folder, keys))
    mlflow = moved(services.mlflow_command(hosts.folder, PORTS), store.address)
    tracker = hosts.start(store, "mlflow", mlflow, env=env | services.mlflow_environment(hosts.folder, keys))
    ray = moved(services.ray_command(hosts.temporary, PORTS, 0), head.address)
    first = hosts.start(head, "ray", ray, env=env)
    wait_until_ready(s3, lambda: services.bucket_is_writable(PORTS, keys, host=store.address), seconds=60)
    wait_until_ready(tracker, lambda: services.answers(f"{env['MLFLOW_TRACKING_URI']}/health"), seconds=120)
    jobs = f"http://{head.address}:{PORTS['dashboard']}"
    wait_until_ready(first, lambda: services.answers(f"{jobs}/api/jobs/", token=keys.ray), seconds=120)
    env_of_clients = {**env, "RAY_ADDRESS": jobs}
    for number, name in enumerate(("left", "right"), start=2):
        # one after the other: Ray gives up on a node that needs more than 30 s for its start
        hosts.start(hosts.hosts[name], "ray", worker(hosts.hosts[name], head), env=env)
        until(f"{number} nodes", partial(nodes_are, number, env_of_clients), 90)
    return env_of_clients


def worker(host: Host, head: Host) -> list[str]:
    return [
        str(BIN / "ray"),
        "start",
        "--block",
        f"--address={head.address}:{PORTS['gcs']}",
        f"--node-ip-address={host.address}",
        "--num-cpus=1",
        "--object-store-memory=150000000",
        "--disable-usage-stats",
    ]


def submit(env: dict[str, str], log: Path, *command: str) -> subprocess.Popen[str]:
    with log.open("w") as output:
        words = [str(BIN / "ray"), "job", "submit", "--", *command]
        return subprocess.Popen(words, env=env, stdout=output, stderr=subprocess.STDOUT, text=True)


def finished(job: subprocess.Popen[str], log: Path, seconds: float) -> str:
    try:
        assert job.wait(timeout=seconds) == 0, log.read_text()[-4000:]
    except subprocess.TimeoutExpired:
        job.kill()
        pytest.fail(f"not done after {seconds} s:\n{log.read_text()[-4000:]}")
    return log.read_text()


def alive(env: dict[str, str]) -> int:
    with urllib.request.urlopen(f"{env['RAY_ADDRESS']}/api/v0/nodes", timeout=10) as response:
        rows = json.load(response)["data"]["result"]["result"]
    return sum(row["state"] == "ALIVE" for row in rows)


def nodes_are(number: int, env: dict[str, str]) -> bool:
    return alive(env) == number


def until(what: str, ready: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(1)


def write_shards(env: dict[str, str], folder: Path) -> None:
    # sources are read where the tasks run: a drawing that only this machine has goes through the object store
    drawn, place = folder / "drawn", "s3://lhrnet/drawn"
    subprocess.run([str(BIN / "lhrnet"), "draw", str(drawn), "--train", "96", "--val", "16", "--test", "4"], check=True)
    upload(drawn, place, env)
    log = folder / "shard.log"
    shards = "s3://lhrnet/shards/drawn"
    said = finished(submit(env, log, "lhrnet", "shard", place, shards, "--per-shard", "8", "--ray"), log, 180)
    assert "96 images" in said


def test_shards_and_a_run_cross_hosts_and_the_run_outlives_one(hosts: Network, tmp_path: Path) -> None:
    env = start_everything(hosts)
    write_shards(env, tmp_path)
    log = tmp_path / "train.log"
    job = submit(
        env,
        log,
        *("lhrnet", "train", "-c", CONFIG, "name=hosts", "--json", "train.min_workers=1", "train.steps=160"),
        *("train.checkpoint_every=20", "stream.lanes=4", "train.validate_images=8"),
    )
    until("a checkpoint", lambda: job.poll() is not None or "step-00000020" in listing(env), 240)
    assert job.poll() is None, log.read_text()[-4000:]
    hosts.cut(hosts.hosts["right"])
    said = finished(job, log, 500)
    result = json.loads(next(line for line in said.splitlines() if line.startswith('{"name"')))
    assert result["finished"]
    assert result["steps"] == 160
    assert result["resumed_from"] >= 20
    assert result["workers"] == 1
    assert alive(env) == 2


def test_a_search_with_repeats_spreads_its_trials_over_hosts(hosts: Network, tmp_path: Path) -> None:
    env = start_everything(hosts)
    write_shards(env, tmp_path)
    log = tmp_path / "tune.log"
    job = submit(
        env,
        log,
        *("lhrnet", "tune", "-c", CONFIG, "name=hosts", "--json", "search.r=[-4]", "search.cem=[none,half]"),
        *("search.repeats=2", "train.workers=1", "train.cpus_per_worker=0.9", "train.steps=20", "stream.lanes=4"),
        *("train.validate_images=4", "train.validate_every=0", "train.checkpoint_every=10"),
    )
    said = finished(job, log, 500)
    assert "search hosts, 2 at a time" in said
    answer = json.loads(next(line for line in said.splitlines() if line.startswith('{"name"')))
    assert answer["trials"] == {"finished": 4, "pruned": 0, "failed": 0}
    assert [row["setting"]["model.cem"] for row in answer["settings"]] == ["none", "half"]
    assert all(row["ap"]["count"] == 2 and row["ap"]["deviation"] is not None for row in answer["settings"])
    assert [gain["count"] for gain in answer["gains"]] == [2]
    assert len(hosts_of_workers(env)) == 2


def hosts_of_workers(env: dict[str, str]) -> set[str]:
    """The nodes on which workers of trainings were."""
    token = {"Authorization": f"Bearer {env['RAY_AUTH_TOKEN']}"}
    asked = urllib.request.Request(f"{env['RAY_ADDRESS']}/api/v0/actors?detail=1", headers=token)
    with urllib.request.urlopen(asked, timeout=10) as response:
        rows = json.load(response)["data"]["result"]["result"]
    return {row["node_id"] for row in rows if "RayTrainWorker" in row["class_name"]}


def upload(folder: Path, url: str, env: dict[str, str]) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.storage import store;"
        "root = Path(sys.argv[1]);"
        "[store.put_file(p, store.join(sys.argv[2], *p.relative_to(root).parts))"
        " for p in root.rglob('*') if p.is_file()]"
    )
    subprocess.run([sys.executable, "-c", code, str(folder), url], env=env, check=True, timeout=120)


def listing(env: dict[str, str]) -> str:
    code = "from pipeline.storage import store; print(*store.listing('s3://lhrnet/runs/hosts/checkpoints'))"
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=60
    )
    return done.stdout


def test_nothing_of_the_network_stays(tmp_path: Path) -> None:
    try:
        with network(tmp_path) as made:
            host = made.add("lonely")
            listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
            assert host.namespace in listed
    except RuntimeError as reason:
        pytest.skip(f"this machine has no hosts to lend: {reason}")
    left = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert host.namespace not in left
    assert not Path(f"/sys/class/net/{made.prefix}b").exists()
