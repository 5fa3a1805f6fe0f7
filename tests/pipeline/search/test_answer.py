"""A search's answer and its trials' runs in MLflow, from records that lie there: whatever befell the trials."""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities import Run

from pipeline.config.tree import Config, parse
from pipeline.search import answer as module
from pipeline.search import tuner as searching
from pipeline.search.answer import Answer, measure_on_a_worker, summarise
from pipeline.search.callbacks import TuneCallbacks
from pipeline.search.latency import NetworkLatency
from pipeline.search.record import TrialRecord, TrialRecords
from pipeline.search.trial import TrialJob, run_trial, search_url, trial_name
from pipeline.search.trial_runs import TrialRuns
from pipeline.storage import store
from pipeline.tracking import mlflow_run
from pipeline.tracking.progress import Progress

NONE, HALF = ({"model.r": -4, "model.cem": cem} for cem in ("none", "half"))
MEASURED = NetworkLatency(ms=5.0, device="a test")
TRACKED = {"enabled": True}
ConfigOf = Callable[..., Config]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for an MLflow database."""
    return tmp_path_factory.mktemp("answer")


@pytest.fixture
def config_of(drawn_shards: Path, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigOf:
    """A search's config, with sections laid over it. Its networks' latency is given: to measure it takes a cluster."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(module, "measure_on_a_worker", lambda *args: MEASURED)

    def config_of(**sections: Mapping[str, Any]) -> Config:
        base: dict[str, Any] = {
            "name": "first",
            "storage": str(tmp_path),
            "data": {"train": str(drawn_shards / "train2017"), "val": str(drawn_shards / "val2017")},
            "train": {"steps": 4},
            "search": {"r": [-4], "cem": ["none", "half"]},
            "tracking": {"enabled": False, "uri": f"sqlite:///{place}/mlflow.db", "experiment": tmp_path.name},
        }
        return parse(base | {name: {**base.get(name, {}), **given} for name, given in sections.items()})

    return config_of


def kept(config: Config, *settings: dict[str, Any], **figures: Any) -> TrialRecords:
    """The records of a search, with a finished trial for each setting."""
    records = TrialRecords.read(search_url(config))
    for setting in settings:
        known: dict[str, Any] = {"state": "finished", "ap": 0.3, "step": 4, "order": len(records.by_name)} | figures
        records.write(TrialRecord(name=trial_name(config.name, setting, 0), setting=setting, seed=0, **known))
    return records


def answered(config: Config, records: TrialRecords) -> Answer:
    return summarise(config, records.in_order(), TrialRuns(config), cuda=False, stay=lambda: None)


def runs(config: Config) -> dict[str, Run]:
    mlflow = mlflow_run.connect(config.tracking)
    place = mlflow.get_experiment_by_name(config.tracking.experiment).experiment_id
    return {run.info.run_name: run for run in mlflow.search_runs([place])}


def test_a_proposed_setting_that_no_run_can_have_ends_its_trial_alone(
    config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = {"min_scale": [0.75, 1.4], "max_scale": [1.5, 1.3]}
    config = config_of(search={"algorithm": "optuna", "samples": 4, "also": {"augment": apart}}, tracking=TRACKED)
    clash = {**NONE, "augment.min_scale": 1.4, "augment.max_scale": 1.3}
    fine = {**NONE, "augment.min_scale": 0.75, "augment.max_scale": 1.3}
    said: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.tune.report", said.append)
    trial = SimpleNamespace(config={"trial": {**clash, "seed": 0}})
    run_trial(trial.config, TrialJob(tree=config.tree(), parent=""))
    assert said[0]["ended"] == "failed"
    assert "max_scale" in said[0]["error"]

    records, trial_runs = kept(config, fine), TrialRuns(config)
    with Progress(4, "search", "trials") as progress:
        watch = TuneCallbacks(config.name, records, trial_runs, progress, lambda: False)
        watch.on_trial_start(0, [], trial)
        watch.on_trial_result(0, [], trial, said[0])
    found = answered(config, records)
    assert [row["setting"] for row in found.summary["settings"]] == [fine]
    assert found.summary["trials"] == {"finished": 1, "pruned": 0, "failed": 1}
    failed = runs(config)[trial_name(config.name, clash, 0)]
    assert failed.info.status == "FAILED"
    assert "max_scale" in failed.data.tags["error"]
    assert failed.data.params["augment.min_scale"] == "1.4"
    assert failed.data.tags["mlflow.parentRunId"] == trial_runs.parent_id


def test_a_trial_that_failed_and_then_came_to_its_end_has_no_error_any_more(config_of: ConfigOf) -> None:
    config = config_of(tracking=TRACKED)
    trial_runs, [record] = TrialRuns(config), kept(config, NONE).in_order()
    assert trial_runs.settle(replace(record, state="failed", error="out of memory"))
    assert runs(config)[record.name].data.tags["error"] == "out of memory"
    assert trial_runs.settle(record)
    run = runs(config)[record.name]
    assert (run.info.status, run.data.tags.get("error", "")) == ("FINISHED", "")


def test_an_answer_that_chooses_nothing_leaves_nothing_that_was_chosen(config_of: ConfigOf) -> None:
    config = config_of(tracking=TRACKED)
    records, trial_runs = kept(config, NONE, HALF), TrialRuns(config)
    mlflow, parent = trial_runs.mlflow, trial_runs.parent
    assert mlflow is not None
    assert parent is not None
    for gate, chosen in (({}, True), ({"max_params": 1}, False), ({}, True)):
        found = answered(config_of(tracking=TRACKED, gate=gate), records)
        names = {"answer.md", "answer.json", "front.png", *(["chosen.yaml"] if chosen else [])}
        assert set(found.files) == set(store.listing(found.folder)) == names
        logged = mlflow.list_artifacts(parent.run_id, "answer")
        assert {file.path for file in logged} == {f"answer/{name}" for name in names}


def test_a_split_is_not_said_to_have_more_images_than_it_has(config_of: ConfigOf) -> None:
    config = config_of(train={"validate_images": 5000})
    assert "val2017 (20 images," in answered(config, kept(config, NONE)).summary["scored_on"]


@pytest.mark.parametrize(("size", "native"), [(None, True), (448, True), (256, False)])
def test_operations_stand_beside_the_papers_only_at_its_input(
    config_of: ConfigOf, size: int | None, native: bool
) -> None:
    config = config_of(evaluate={"size": size})
    [row] = answered(config, kept(config, {"model.r": -2, "model.cem": "none"})).summary["settings"]
    assert row["native"] is native


def test_a_search_told_to_leave_while_it_measures_leaves_with_its_run_closed(
    config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(tracking=TRACKED)
    kept(config, NONE, HALF)

    def told_to_leave(*args: Any, **rest: Any) -> tuple[list[Any], list[Any]]:
        os.kill(os.getpid(), signal.SIGTERM)
        return [], [args]

    monkeypatch.setattr("pipeline.search.tuner.connect_to_ray", lambda **how: None)
    monkeypatch.setattr("ray.cluster_resources", lambda: {"CPU": 4.0})
    monkeypatch.setattr("ray.remote", lambda **needs: lambda task: SimpleNamespace(remote=lambda *args, **rest: args))
    monkeypatch.setattr("ray.wait", told_to_leave)
    monkeypatch.setattr(module, "measure_on_a_worker", measure_on_a_worker)
    monkeypatch.setattr(searching, "cluster_nodes", lambda: [{"CPU": 4.0}])
    monkeypatch.setattr(searching, "_run", lambda *args: None)
    with pytest.raises(RuntimeError, match="told to stop with 2 of 2 trials over; the same command continues it"):
        searching.search(config)
    assert runs(config)["first search"].info.status == "KILLED"
