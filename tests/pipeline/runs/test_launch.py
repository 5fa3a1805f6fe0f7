"""Runs as people start them: checked before they begin, on Ray, through the death of workers."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from pipeline.checkpoints import checkpoint
from pipeline.cluster.lease import Lease
from pipeline.config.tree import Config, parse
from pipeline.runs import launch
from pipeline.tracking import mlflow_run
from pipeline.tracking.config import TrackingConfig
from pipeline.training.stepper import HopelessError, Stepper


def config_of(shards: Path, storage: str, *, tracking: Mapping[str, Any] | None = None, **train: Any) -> Config:
    few = {"steps": 4, "global_batch": 8, "micro_batch": 4, "checkpoint_every": 2, "log_every": 1, "precision": "fp32"}
    return parse(
        {
            "name": "a",
            "storage": storage,
            "data": {"train": str(shards / "train2017"), "val": str(shards / "val2017")},
            "model": {"r": -4, "input_size": 64},
            "stream": {"lanes": 4, "loader_workers": 0},
            "train": few | {"validate_images": 3, "device": "cpu"} | train,
            "tracking": tracking or {"enabled": False},
        }
    )


def test_a_run_in_this_process_is_summed_up_and_taken_up_again(drawn_shards: Path, tmp_path: Path) -> None:
    first = launch.run_here(config_of(drawn_shards, str(tmp_path)))
    assert (first.finished, first.steps, first.images, first.resumed_from) == (True, 4, 32, 0)
    assert first.storage == str(tmp_path / "a")
    assert (tmp_path / "a" / "config.yaml").is_file()
    again = launch.run_here(config_of(drawn_shards, str(tmp_path), steps=5))
    assert (again.resumed_from, again.steps) == (4, 5)


@pytest.mark.parametrize("steps", [4, 6], ids=["no step left", "steps left"])
@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("model", "cem", "none"), ("model", "input_size", 96), ("loss", "push_weight", 0.7), ("data", "train", "val2017")],
)
def test_another_network_or_task_is_no_resumption(
    drawn_shards: Path, tmp_path: Path, section: str, key: str, value: Any, steps: int
) -> None:
    began = config_of(drawn_shards, str(tmp_path))
    launch.run_here(began)
    kept = (tmp_path / "a" / "config.yaml").read_text()
    if section == "data":
        value = str(drawn_shards / value)
    tree = began.tree()
    tree[section][key], tree["train"]["steps"] = value, steps
    with pytest.raises(
        ValueError, match=rf"step-00000004 was trained with other settings: .*{section}\.{key} is .* and was "
    ):
        launch.run_here(parse(tree))
    assert (tmp_path / "a" / "config.yaml").read_text() == kept, "what it was trained with was overwritten"


def test_a_change_that_is_asked_for_is_made_and_both_configs_are_kept(drawn_shards: Path, tmp_path: Path) -> None:
    began = config_of(drawn_shards, str(tmp_path))
    launch.run_here(began)
    before = (tmp_path / "a" / "config.yaml").read_text()
    tree = began.tree()
    tree["loss"]["push_weight"] = 0.7
    tree["train"] |= {"steps": 5, "resume_changed": True}
    assert launch.run_here(parse(tree)).steps == 5
    assert (tmp_path / "a" / "config-001.yaml").read_text() == before
    assert "push_weight: 0.7" in (tmp_path / "a" / "config.yaml").read_text()


@pytest.mark.parametrize("name", ["weights.pt", "manifest.json"])
def test_a_damaged_newest_checkpoint_ends_no_run_before_its_start(
    drawn_shards: Path, tmp_path: Path, name: str
) -> None:
    config = config_of(drawn_shards, str(tmp_path), steps=2, checkpoint_every=1)
    launch.run_here(config)
    (Path(checkpoint.step_url(config.run_url, 2)) / name).write_bytes(b"{}")
    again = launch.run_here(config)
    assert (again.resumed_from, again.steps) == (1, 2)


def test_sigterm_saves_and_leaves_and_the_handler_is_put_back(
    drawn_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    config = config_of(drawn_shards, str(tmp_path), steps=2000, checkpoint_every=1000, validate_every=0)
    real = Stepper.step

    def step(self: Stepper, batch: Any, number: int) -> None:
        if number == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        real(self, batch, number)

    monkeypatch.setattr(Stepper, "step", step)
    left = launch.run_here(config)
    assert (left.finished, left.steps) == (False, 3)
    assert [entry.step for entry in checkpoint.listing(config.run_url)] == [left.steps]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_process_of_the_same_name_is_refused(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, str(tmp_path))
    with Lease(config.run_url, life=1.0), pytest.raises(RuntimeError, match="is being worked on by process"):
        launch.run_here(config)


def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_no_mlflow_is_told_before_anything_is_written(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, str(tmp_path), tracking={"uri": f"http://127.0.0.1:{unused_port()}"})
    with pytest.raises(ConnectionError, match=r"MLflow at .* does not answer"):
        launch.run_here(config)
    assert list(tmp_path.iterdir()) == []


def test_no_object_store_is_told_within_seconds(
    drawn_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused_port()}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match="s3://lhrnet/runs/a"):
        launch.run_here(config_of(drawn_shards, "s3://lhrnet/runs"))
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"workers": 2}, "without Ray a run has 1 worker"),
        ({"freeze": ["nosuch"]}, "no parameter's name begins with"),
        ({"init_from": "/nowhere"}, "no checkpoint at /nowhere"),
    ],
)
def test_impossible_settings_are_told_before_the_start(
    drawn_shards: Path, tmp_path: Path, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        launch.run_here(config_of(drawn_shards, str(tmp_path), **wrong))


def test_gpus_that_are_not_there_are_told(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, str(tmp_path), device="cuda")
    with pytest.raises(ValueError, match="the cluster has no GPU"):
        launch.use_gpus(config, {"CPU": 4.0})
    assert launch.use_gpus(config, {"GPU": 1.0})


def test_a_cluster_that_may_grow_is_waited_for(
    drawn_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert launch.use_gpus(config_of(drawn_shards, str(tmp_path), device="cuda"), {"CPU": 4.0})
    assert not launch.use_gpus(config_of(drawn_shards, str(tmp_path), device="auto"), {"CPU": 4.0})
    assert not launch.use_gpus(config_of(drawn_shards, str(tmp_path), device="cpu"), {"CPU": 4.0})
    assert ["wait for nodes" in caplog.messages[0], "training on CPUs" in caplog.messages[1]] == [True, True]
    assert len(caplog.messages) == 2


def test_synchronised_batch_norm_on_cpus_is_refused_before_the_start(
    drawn_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "connect_to_ray", lambda **how: None)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 4.0})
    with pytest.raises(ValueError, match=r"sync_batchnorm is set and workers are on CPUs"):
        launch.run_on_ray(config_of(drawn_shards, str(tmp_path), workers=2, sync_batchnorm=True))


@pytest.mark.parametrize(
    ("errors", "told"),
    [
        ([RuntimeError("Connection closed by peer"), ValueError("a shard\nhas another sha256")], "has another sha256"),
        ([RuntimeError("Connection closed by peer"), ConnectionError("the store is away")], "the store is away"),
        ([RuntimeError("Connection closed by peer"), HopelessError("20 steps in a row")], "20 steps in a row"),
        ([RuntimeError("the first"), RuntimeError("the second")], "the first"),
        ([AssertionError()], "AssertionError()"),
    ],
)
def test_a_failed_run_names_what_the_other_errors_follow_from(errors: list[Exception], told: str) -> None:
    from ray.train import ControllerError, WorkerGroupError

    assert launch._root(WorkerGroupError("all", dict(enumerate(errors)))) == told
    assert launch._root(ControllerError(ValueError("wrong"))) == "wrong"


@pytest.mark.parametrize(
    ("error", "ends"),
    [
        (ValueError("a shard has another sha256"), True),
        (HopelessError("20 steps in a row"), True),
        (ConnectionError("the store is away"), False),
        (RuntimeError("connection closed by peer"), False),
    ],
)
def test_what_another_try_cannot_mend_ends_the_run(error: Exception, ends: bool) -> None:
    from pipeline.runs.ray_train import EndAtOnce

    other = RuntimeError("lost its partner")
    with pytest.raises(type(error)) if ends else contextlib.nullcontext():
        EndAtOnce().after_exception(None, {0: other, 1: error})


def alive_workers() -> list[int]:
    from ray.util.state import list_actors

    found = list_actors(filters=[("class_name", "=", "RayTrainWorker"), ("state", "=", "ALIVE")])
    return [int(actor.pid) for actor in found]


def saved_steps(config: Config) -> list[int]:
    return [entry.step for entry in checkpoint.listing(config.run_url)]


def until(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come")


@pytest.mark.stack
def test_a_run_on_ray_outlives_its_workers_and_tells_every_row_once(
    stack: Any, s3: str, drawn_shards: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = config_of(
        drawn_shards,
        s3,
        tracking={"experiment": "launch", "spool": str(tmp_path)},
        workers=2,
        steps=40,
        checkpoint_every=10,
        log_every=5,
        validate_every=0,
    )
    killed = threading.Event()

    def disturb() -> None:
        until(lambda: max(saved_steps(config), default=0) >= 10)
        first = alive_workers()
        os.kill(first[-1], signal.SIGTERM)
        until(lambda: not set(alive_workers()) & set(first))
        until(lambda: max(saved_steps(config)) >= 20)
        os.kill(until(alive_workers)[0], signal.SIGKILL)
        killed.set()

    thread = threading.Thread(target=disturb, daemon=True)
    thread.start()
    result = launch.run_on_ray(config)
    assert killed.is_set()
    told = capfd.readouterr()
    assert "a worker's node is going away; all is saved at step" in told.out + told.err
    assert (result.finished, result.steps, result.workers) == (True, 40, 2)
    assert 0 < result.resumed_from < 40
    mlflow = mlflow_run.connect(TrackingConfig())
    history = mlflow.get_metric_history(result.run_id, "train/loss")
    assert [metric.step for metric in history] == list(range(5, 41, 5))
    run = mlflow.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.steps"] == "40"


def test_stores_that_come_back_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def away_twice(url: str) -> bool:
        tries.append(url)
        if len(tries) < 3:
            raise ConnectionError("away")
        return True

    monkeypatch.setattr("pipeline.storage.store.exists", away_twice)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    launch.wait_for_storage(["s3://shards/index.json", "s3://runs/a"], patience=60)
    assert tries == ["s3://shards/index.json"] * 3 + ["s3://runs/a"]
    tries.clear()
    with pytest.raises(ConnectionError):
        launch.wait_for_storage(["s3://shards/index.json"], patience=-1)
