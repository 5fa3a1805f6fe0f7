"""A search's answer and its trials' runs in MLflow, from records that lie there: whatever befell the trials."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow.entities import Run

from pipeline.config import Config, parse
from pipeline.latency import NetworkLatency
from pipeline.progress import Progress
from pipeline.search import answer as module
from pipeline.search.answer import Answer, answer
from pipeline.search.children import Children
from pipeline.search.record import Record, Records
from pipeline.search.trial import Job, run_trial, search_url, trial_name
from pipeline.search.watch import Watch

NONE, HALF = ({"model.r": -4, "model.cem": cem} for cem in ("none", "half"))
ConfigOf = Callable[..., Config]


@pytest.fixture
def config_of(drawn_shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigOf:
    """A search's config, with sections laid over it. Its networks' latency is given: to measure it takes a cluster."""
    monkeypatch.setattr(module, "_measure", lambda *args: NetworkLatency(ms=5.0, device="a test"))

    def config_of(**sections: Mapping[str, Any]) -> Config:
        base: dict[str, Any] = {
            "name": "first",
            "storage": str(tmp_path),
            "data": {"train": str(drawn_shards / "train2017"), "val": str(drawn_shards / "val2017")},
            "train": {"steps": 4},
            "search": {"r": [-4], "cem": ["none", "half"]},
            "tracking": {"uri": f"sqlite:///{tmp_path}/mlflow.db", "spool": str(tmp_path)},
        }
        return parse(base | {name: {**base.get(name, {}), **given} for name, given in sections.items()})

    return config_of


def kept(config: Config, *settings: dict[str, Any], **figures: Any) -> Records:
    """The records of a search, with a finished trial for each setting."""
    records = Records.read(search_url(config))
    for setting in settings:
        known: dict[str, Any] = {"state": "finished", "ap": 0.3, "step": 4, "order": len(records.by_name)} | figures
        records.write(Record(name=trial_name(config.name, setting, 0), setting=setting, seed=0, **known))
    return records


def answered(config: Config, records: Records) -> Answer:
    return answer(config, records.in_order(), Children(config), cuda=False)


def runs(config: Config) -> dict[str, Run]:
    mlflow = Children(config).mlflow
    assert mlflow is not None
    place = mlflow.get_experiment_by_name(config.tracking.experiment).experiment_id
    return {run.info.run_name: run for run in mlflow.search_runs([place])}


def test_a_proposed_setting_that_no_run_can_have_ends_its_trial_alone(
    config_of: ConfigOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    apart = {"scale_min": [0.75, 1.4], "scale_max": [1.5, 1.3]}
    config = config_of(search={"algorithm": "optuna", "settings": 4, "also": {"augment": apart}})
    clash = {**NONE, "augment.scale_min": 1.4, "augment.scale_max": 1.3}
    fine = {**NONE, "augment.scale_min": 0.75, "augment.scale_max": 1.3}
    said: list[dict[str, Any]] = []
    monkeypatch.setattr("ray.tune.report", said.append)
    trial = SimpleNamespace(config={"trial": {**clash, "seed": 0}})
    run_trial(trial.config, Job(tree=config.tree(), parent=""))
    assert said[0]["ended"] == "failed"
    assert "scale_max" in said[0]["error"]

    records, children = kept(config, fine), Children(config)
    with Progress(4, "search", "trials") as progress:
        watch = Watch(config.name, records, children, progress, lambda: False)
        watch.on_trial_start(0, [], trial)
        watch.on_trial_result(0, [], trial, said[0])
    found = answered(config, records)
    assert [row["setting"] for row in found.summary["settings"]] == [fine]
    assert found.summary["trials"] == {"finished": 1, "pruned": 0, "failed": 1}
    failed = runs(config)[trial_name(config.name, clash, 0)]
    assert failed.info.status == "FAILED"
    assert "scale_max" in failed.data.tags["error"]
    assert failed.data.params["augment.scale_min"] == "1.4"
    assert failed.data.tags["mlflow.parentRunId"] == children.parent_id
