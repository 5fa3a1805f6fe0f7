"""A search from its config to its answer, on real servers: each trial a training of its own, told and kept."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from pipeline.config.tree import Config, load, parse
from pipeline.search.record import TrialRecord, TrialRecords
from pipeline.search.trial import search_url
from pipeline.search.tuner import check_search, check_unchanged, search
from pipeline.storage import store


def config_of(shards: Path, storage: str, *, tracking: dict[str, Any] | None = None, **search: Any) -> Config:
    train = {"steps": 4, "global_batch": 8, "micro_batch": 4, "log_every": 1, "precision": "fp32", "pictures": 0}
    return parse(
        {
            "name": "first",
            "storage": storage,
            "data": {"train": str(shards / "train2017"), "val": str(shards / "val2017")},
            "model": {"input_size": 64},
            "stream": {"lanes": 4, "loader_workers": 0},
            "train": train | {"validate_images": 3, "validate_every": 0, "device": "cpu", "max_failures": 0},
            "search": {"r": [-4], "cem": ["none", "half-reordered"]} | search,
            "tracking": tracking or {"enabled": False},
        }
    )


@pytest.mark.stack
@pytest.mark.timeout(240)
def test_a_search_trains_every_setting_and_answers_with_table_picture_and_config(
    stack: Any, s3: str, drawn_shards: Path, tmp_path: Path
) -> None:
    config = config_of(drawn_shards, s3, tracking={"experiment": "search", "spool": str(tmp_path)})
    found = search(config)
    records = TrialRecords.read(search_url(config)).in_order()
    assert {record.name: record.state for record in records} == {
        "first-r-4-none-s0": "finished",
        "first-r-4-half-reordered-s0": "finished",
    }
    assert "With and without the exchange" in found.page
    assert [row["latency_ms"] > 0 for row in found.summary["settings"]] == [True, True]

    files = {name: store.read_bytes(store.join(found.folder, name)) for name in store.listing(found.folder)}
    assert files.keys() == {"answer.md", "answer.json", "chosen.yaml", "front.png"}
    (tmp_path / "chosen.yaml").write_bytes(files["chosen.yaml"])
    chosen = load(tmp_path / "chosen.yaml")
    assert (chosen.name, chosen.storage) == ("first-chosen", s3)
    assert {"model.r": chosen.model.r, "model.cem": chosen.model.cem} == found.summary["chosen"]

    mlflow = MlflowClient()
    experiment = mlflow.get_experiment_by_name("search").experiment_id
    runs = {run.info.run_name: run for run in mlflow.search_runs([experiment])}
    parent = runs.pop("first search")
    assert parent.info.status == "FINISHED"
    assert {file.path for file in mlflow.list_artifacts(parent.info.run_id, "answer")} == {
        f"answer/{name}" for name in files
    }
    assert runs.keys() == {record.name for record in records}
    for run in runs.values():
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert (run.data.tags["r"], run.data.tags["cem"]) == ("-4", run.data.params["model.cem"])
        assert {"params", "macs", "latency_ms", "ap", "val/ap"} <= run.data.metrics.keys()

    before = {record.name: record.checkpoint for record in records}
    again = search(config.model_copy(update={"gate": replace(config.gate, max_params=1)}))
    assert json.loads(store.read_bytes(store.join(again.folder, "answer.json")))["trials"]["finished"] == 2
    assert {record.name: record.checkpoint for record in TrialRecords.read(search_url(config)).in_order()} == before
    assert again.summary["chosen"] is None
    assert set(again.files) == files.keys() - {"chosen.yaml"} == store.listing(again.folder).keys()
    assert {file.path for file in mlflow.list_artifacts(parent.info.run_id, "answer")} == {
        f"answer/{name}" for name in again.files
    }


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"also": {"optim": {"lrr": [1, 2]}}}, r"optim\.lrr is unknown"),
        ({"also": {"optim": {"lr": [0.1, -1.0]}}}, r"optim\.lr"),
        (
            {"algorithm": "optuna", "samples": 4, "also": {"train": {"steps": {"low": 4, "high": 8}}}},
            r"range from 4 to 8 for train\.steps.*valid integer.*; give a list of values",
        ),
        (
            {"algorithm": "random", "samples": 4, "also": {"stream": {"lanes": {"low": 4, "high": 8}}}},
            r"range from 4 to 8 for stream\.lanes.*; give a list of values",
        ),
        ({"asha": True}, r"validates once in its 4 steps"),
        ({"also": {"train": {"workers": [1, 2]}}}, r"the same for all trials"),
    ],
)
def test_what_no_trial_could_do_is_told_before_the_start(
    drawn_shards: Path, tmp_path: Path, wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        check_search(config_of(drawn_shards, str(tmp_path), **wrong))
    assert list(tmp_path.iterdir()) == []


def test_a_search_may_be_widened_and_not_be_gone_on_with_otherwise(drawn_shards: Path, tmp_path: Path) -> None:
    config = config_of(drawn_shards, str(tmp_path))
    records = TrialRecords.read(search_url(config))
    records.write(TrialRecord(name="first-r-4-none-s0", setting={"model.r": -4, "model.cem": "none"}, seed=0))
    store.write_bytes(store.join(search_url(config), "config.yaml"), config.yaml().encode())
    check_unchanged(config_of(drawn_shards, str(tmp_path), r=[-4, -3], repeats=3), records)
    check_unchanged(config.model_copy(update={"model": replace(config.model, r=-3, cem="full")}), records)
    eager = replace(config.train, log_every=2, max_failures=3, cpus_per_worker=0.5)
    check_unchanged(config.model_copy(update={"train": eager, "gate": replace(config.gate, min_ap=0.5)}), records)
    for key, before, now in (("steps", 4, 8), ("micro_batch", 4, 2), ("precision", "fp32", "bf16"), ("workers", 1, 2)):
        change: dict[str, Any] = {key: now}
        other = config.model_copy(update={"train": replace(config.train, **change)})
        says = rf"was started with train\.{key}={before}, and now it is {now}.*take another name="
        with pytest.raises(ValueError, match=says):
            check_unchanged(other, records)
    with pytest.raises(ValueError, match=r"stream\.lanes"):
        check_unchanged(config.model_copy(update={"stream": replace(config.stream, lanes=8)}), records)
