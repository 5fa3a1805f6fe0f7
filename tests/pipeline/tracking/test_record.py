"""Results are added to the run that they belong to, and to no other."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.tracking import mlflow_run
from pipeline.tracking.client import TrackingError
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.mlflow_run import close_run, open_run
from pipeline.tracking.record import RunRecord


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> TrackingConfig:
    return TrackingConfig(uri=f"sqlite:///{tmp_path_factory.mktemp('recording')}/mlflow.db", experiment="e")


def _config(name: str) -> dict[str, Any]:
    return {"name": name, "storage": "s3://bucket/runs/"}


def test_an_evaluation_joins_the_run_that_training_made(tracking: TrackingConfig) -> None:
    client = MlflowClient(tracking_uri=tracking.uri)
    trained = open_run(client, experiment="e", name="a", identity="s3://bucket/runs/a", params={})
    record = RunRecord.of_checkpoint(tracking, _config("a"))
    assert record.run_id == trained.run_id
    record.metrics({"val2017/plain/ap": 0.25}, step=7)
    run = client.get_run(trained.run_id)
    assert run.info.status == "RUNNING"
    assert run.data.metrics == {"val2017/plain/ap": 0.25}
    assert client.get_metric_history(trained.run_id, "val2017/plain/ap")[0].step == 7


def test_looking_for_a_run_makes_nothing(tracking: TrackingConfig) -> None:
    elsewhere = replace(tracking, experiment="never-written-to")
    assert RunRecord.of_checkpoint(elsewhere, _config("a")).tags() == {}
    client = MlflowClient(tracking_uri=tracking.uri)
    assert client.get_experiment_by_name("never-written-to") is None
    made = RunRecord.of_checkpoint(elsewhere, _config("a"))
    assert made.page.endswith(RunRecord.of_checkpoint(elsewhere, _config("a")).run_id)
    assert client.get_experiment_by_name("never-written-to") is not None


def test_a_checkpoint_without_a_run_gets_one_and_keeps_it(tracking: TrackingConfig) -> None:
    first = RunRecord.of_checkpoint(tracking, _config("lonely")).run_id
    assert RunRecord.of_checkpoint(tracking, _config("lonely")).run_id == first
    assert RunRecord.of_checkpoint(tracking, _config("other")).run_id != first
    assert MlflowClient(tracking_uri=tracking.uri).get_run(first).info.status == "FINISHED"


def test_a_config_that_names_no_run_is_refused_with_the_way_out(tracking: TrackingConfig) -> None:
    with pytest.raises(ValueError, match=r"no name and no storage, .*tracking\.enabled=false"):
        RunRecord.of_checkpoint(tracking, {"model": {}})


def test_files_lie_in_the_runs_artifacts_in_their_folders(
    tracking: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = RunRecord.of_checkpoint(tracking, _config("files"))
    record.artifacts("report", {"page.html": b"x", "figures/one.png": b"y"})
    client = MlflowClient(tracking_uri=tracking.uri)
    assert {a.path for a in client.list_artifacts(record.run_id, "report")} == {"report/page.html", "report/figures"}


def test_a_store_that_fails_is_one_clear_error(tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    record = RunRecord.of_checkpoint(tracking, _config("failing"))

    def fails(*args: Any, **more: Any) -> None:
        raise MlflowException("away\nwith a long trace")

    for name in ("log_artifacts", "log_batch"):
        monkeypatch.setattr(record.mlflow, name, fails)
    with pytest.raises(ConnectionError, match=r"store artifacts of run \w+: away$"):
        record.artifacts("report", {"a": b""})
    with pytest.raises(ConnectionError, match=r"log metrics of run \w+: away$"):
        record.metrics({"a": 1.0}, step=1)


def test_what_replaces_an_earlier_answer_leaves_nothing_of_it(tracking: TrackingConfig) -> None:
    record = RunRecord.of_checkpoint(tracking, _config("answers"))
    record.artifacts("answer", {"page.md": b"old", "chosen.yaml": b"old"})
    record.artifacts("answer", {"page.md": b"new"}, replace=True)
    client = MlflowClient(tracking_uri=tracking.uri)
    assert [file.path for file in client.list_artifacts(record.run_id, "answer")] == ["answer/page.md"]
    assert Path(client.download_artifacts(record.run_id, "answer/page.md")).read_bytes() == b"new"


def test_a_quote_in_a_runs_url_neither_breaks_the_search_nor_hides_the_run(tracking: TrackingConfig) -> None:
    config = {"name": "quoted", "storage": "/runs/o'neill"}
    first = RunRecord.of_checkpoint(tracking, config).run_id
    assert RunRecord.of_checkpoint(tracking, config).run_id == first


@pytest.mark.parametrize("call", ["log_batch", "create_run"])
def test_a_run_whose_start_the_server_answers_with_an_error_is_not_shown_as_running(
    tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    mlflow, real = MlflowClient(tracking_uri=tracking.uri), getattr(MlflowClient, call)

    def done_and_answered_500(self: MlflowClient, *args: Any, **more: Any) -> None:
        real(self, *args, **more)
        raise MlflowException("API request failed with error code 500")

    monkeypatch.setattr(MlflowClient, call, done_and_answered_500)
    with pytest.raises(TrackingError, match="error code 500"):
        open_run(mlflow, experiment=f"e-{call}", name="half", identity="half", params={"lr": 1})
    (left,) = mlflow.search_runs([mlflow.get_experiment_by_name(f"e-{call}").experiment_id])
    assert left.info.status == "FAILED"
    monkeypatch.undo()
    again = open_run(mlflow, experiment=f"e-{call}", name="half", identity="half", params={"lr": 1})
    assert (again.run_id, mlflow.get_run(again.run_id).info.status) == (left.info.run_id, "RUNNING")


def test_a_run_that_ends_as_the_server_falters_is_ended_by_another_try(
    tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow, real = MlflowClient(tracking_uri=tracking.uri), MlflowClient.set_terminated
    failed: list[int] = []

    def falters_once(self: MlflowClient, *args: Any, **more: Any) -> None:
        if not failed:
            failed.append(1)
            raise MlflowException("API request failed with error code 500")
        real(self, *args, **more)

    run = open_run(mlflow, experiment="e", name="ends", identity="ends", params={})
    monkeypatch.setattr(MlflowClient, "set_terminated", falters_once)
    monkeypatch.setattr(mlflow_run, "PAUSES", (0.0,))
    assert close_run(run, "FINISHED")
    assert mlflow.get_run(run.run_id).info.status == "FINISHED"
