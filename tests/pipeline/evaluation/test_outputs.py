"""What an evaluation leaves behind, and where."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.evaluation.outputs import RunRecord, home, label, pictures, write
from pipeline.evaluation.predictions import Latency, Predictions
from pipeline.evaluation.worker import EvaluateConfig
from pipeline.tracking.mlflow_run import TrackingConfig, open_run


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> TrackingConfig:
    return TrackingConfig(uri=f"sqlite:///{tmp_path_factory.mktemp('recording')}/mlflow.db", experiment="e")


def _config(name: str) -> dict[str, Any]:
    return {"name": name, "storage": "s3://bucket/runs/"}


def test_an_evaluation_joins_the_run_that_training_made(tracking: TrackingConfig) -> None:
    client = MlflowClient(tracking_uri=tracking.uri)
    trained = open_run(client, experiment="e", name="a", identity="s3://bucket/runs/a", params={})
    record = RunRecord(tracking, _config("a"))
    assert record.run_id == trained.run_id
    record.metrics({"val2017/plain/ap": 0.25}, step=7)
    run = client.get_run(trained.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.metrics == {"val2017/plain/ap": 0.25}
    assert client.get_metric_history(trained.run_id, "val2017/plain/ap")[0].step == 7


def test_looking_for_a_run_makes_nothing(tracking: TrackingConfig) -> None:
    elsewhere = replace(tracking, experiment="never-written-to")
    assert RunRecord(elsewhere, _config("a")).tags() == {}
    client = MlflowClient(tracking_uri=tracking.uri)
    assert client.get_experiment_by_name("never-written-to") is None
    assert RunRecord(elsewhere, _config("a")).page.endswith(RunRecord(elsewhere, _config("a")).run_id)
    assert client.get_experiment_by_name("never-written-to") is not None


def test_a_checkpoint_without_a_run_gets_one_and_keeps_it(tracking: TrackingConfig) -> None:
    first = RunRecord(tracking, _config("lonely")).run_id
    assert RunRecord(tracking, _config("lonely")).run_id == first
    assert RunRecord(tracking, _config("other")).run_id != first
    assert MlflowClient(tracking_uri=tracking.uri).get_run(first).info.status == "FINISHED"


def test_a_config_that_names_no_run_is_refused_with_the_way_out(tracking: TrackingConfig) -> None:
    with pytest.raises(ValueError, match=r"no name and no storage, .*tracking\.enabled=false"):
        RunRecord(tracking, {"model": {}})


def test_files_lie_in_the_runs_artifacts_in_their_folders(
    tracking: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = RunRecord(tracking, _config("files"))
    record.artifacts("report", {"page.html": b"x", "figures/one.png": b"y"})
    client = MlflowClient(tracking_uri=tracking.uri)
    assert {a.path for a in client.list_artifacts(record.run_id, "report")} == {"report/page.html", "report/figures"}


def test_a_store_that_fails_is_one_clear_error(tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    record = RunRecord(tracking, _config("failing"))

    def fails(*args: Any, **more: Any) -> None:
        raise MlflowException("away\nwith a long trace")

    for name in ("log_artifacts", "log_batch"):
        monkeypatch.setattr(record.mlflow, name, fails)
    with pytest.raises(ConnectionError, match=r"artifacts of run \w+: away$"):
        record.artifacts("report", {"a": b""})
    with pytest.raises(ConnectionError, match=r"metrics of run \w+: away$"):
        record.metrics({"a": 1.0}, step=1)


@pytest.mark.parametrize(
    ("url", "belongs"),
    [
        ("s3://b/runs/mine/checkpoints/step-00000003", "s3://b/runs/mine"),
        ("/somewhere/copied", "/somewhere/copied"),
        ("https://example.org/runs/theirs/checkpoints/step-00000003", "s3://b/runs/configs"),
    ],
)
def test_files_belong_to_the_run_that_the_checkpoint_is_of(url: str, belongs: str) -> None:
    assert home(Checkpoint(url=url, step=3, config={}, weights={}), "s3://b/runs/configs") == belongs


def test_another_input_size_than_the_networks_own_has_names_of_its_own() -> None:
    checkpoint = Checkpoint(url="x", step=3, config={"model": {"r": -4, "input_size": 64}}, weights={})
    names = [label(EvaluateConfig(protocol="flip", size=size), checkpoint) for size in (None, 64, 128)]
    assert names == ["flip", "flip", "flip-128"]


def test_each_picture_is_drawn_and_one_sheet_shows_all(tmp_path: Path) -> None:
    image = np.full((80, 60, 3), 128, np.uint8)
    person = {"image_id": 3, "category_id": 1, "keypoints": [20, 30, 1] * 17, "score": 0.9}
    latency = Latency(resize_ms=0, network_ms=1, decode_ms=1, device="d", batch=1)
    found = Predictions(detections=(person,), image_ids=(3, 4), latency=latency, pictures={3: image, 4: image})
    drawn = pictures(found)
    assert sorted(drawn) == ["pictures/000000000003.jpg", "pictures/000000000004.jpg", "pictures/all.jpg"]
    assert drawn["pictures/000000000003.jpg"] != drawn["pictures/000000000004.jpg"], "the person is drawn"
    write(str(tmp_path / "out"), drawn)
    assert (tmp_path / "out" / "pictures" / "all.jpg").read_bytes().startswith(b"\xff\xd8")


def test_no_pictures_asked_for_are_no_files() -> None:
    latency = Latency(resize_ms=0, network_ms=1, decode_ms=1, device="d", batch=1)
    assert pictures(Predictions(detections=(), image_ids=(), latency=latency, pictures={})) == {}
