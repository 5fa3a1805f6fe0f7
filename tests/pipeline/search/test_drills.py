"""What can befall a search: its driver killed or told to end, trials that fail, trials ended early, proposals."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from mlflow import MlflowClient

from pipeline.config.tree import Config, parse
from pipeline.search.record import TrialRecord, TrialRecords, ValidationScore
from pipeline.search.trial import search_url, trial_name
from pipeline.search.tuner import search
from pipeline.storage import store

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(600)]


def tree_of(shards: Path, storage: str, folder: Path, *, experiment: str, **train: Any) -> dict[str, Any]:
    few = {"steps": 60, "global_batch": 8, "micro_batch": 4, "log_every": 5, "checkpoint_every": 10, "pictures": 0}
    return {
        "name": "drill",
        "storage": storage,
        "data": {"train": str(shards / "train2017"), "val": str(shards / "val2017")},
        "model": {"input_size": 64},
        "stream": {"lanes": 4, "loader_workers": 0},
        "train": few | {"validate_images": 3, "validate_every": 0, "device": "cpu", "max_failures": 0} | train,
        "search": {"r": [-4], "cem": ["none", "half"], "max_concurrent": 1},
        "tracking": {"experiment": experiment, "spool": str(folder)},
    }


def statuses(experiment: str) -> dict[str, str]:
    mlflow = MlflowClient()
    runs = mlflow.search_runs([mlflow.get_experiment_by_name(experiment).experiment_id])
    return {run.info.run_name: run.info.status for run in runs}


def until(condition: Callable[[], Any], process: subprocess.Popen[bytes], seconds: float = 200.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)


def leases(run_url: str) -> list[int]:
    return sorted(int(name.removesuffix(".json")) for name in store.listing(store.join(run_url, "lease")))


def test_a_killed_search_goes_on_and_a_failing_trial_ends_alone(
    stack: Any, s3: str, drawn_shards: Path, tmp_path: Path
) -> None:
    tree = tree_of(drawn_shards, s3, tmp_path, experiment="search-killed")
    tree["search"]["also"] = {"train": {"init_from": ["", "/nowhere"]}}
    file = tmp_path / "drill.yaml"
    file.write_text(yaml.safe_dump(tree))
    config = parse(tree)
    place = search_url(config)

    def start() -> subprocess.Popen[bytes]:
        with (tmp_path / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", "tune", "-c", str(file)],
                env=os.environ | {"RAY_ADDRESS": stack.ray_address},
                stdout=log,
                stderr=log,
            )

    def known(cem: str, init: str) -> TrialRecord | None:
        name = trial_name("drill", {"model.r": -4, "model.cem": cem, "train.init_from": init}, 0)
        return TrialRecords.read(place).by_name.get(name)

    def saved(cem: str) -> list[str]:
        record = known(cem, "")
        return sorted(store.listing(f"{place}/trials/{record.name}/checkpoints")) if record else []

    killed = start()
    until(lambda: any("step-00000010/manifest" in name for name in saved("half")), killed)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    first, failed, cut = known("none", ""), known("none", "/nowhere"), known("half", "")
    assert first is not None
    assert failed is not None
    assert cut is not None
    assert (first.state, failed.state, cut.state) == ("finished", "failed", "running")
    assert "no checkpoint at /nowhere" in failed.error

    told = start()
    until(lambda: len(leases(f"{place}/trials/{cut.name}")) > 1 or leases(f"{place}/trials/{cut.name}")[-1] > 1, told)
    told.send_signal(signal.SIGTERM)
    told.communicate(timeout=120)
    assert told.returncode == 1
    assert "the same command continues it" in (tmp_path / "log").read_text()
    after = statuses("search-killed")
    assert (after["drill search"], after[cut.name], after[first.name]) == ("KILLED", "KILLED", "FINISHED")

    last = start()
    last.communicate(timeout=300)
    assert last.returncode == 0, (tmp_path / "log").read_text()[-3000:]
    assert known("none", "") == first
    assert leases(f"{place}/trials/{first.name}") == [1]
    whole = known("half", "")
    assert whole is not None
    assert (whole.state, whole.step) == ("finished", 60)
    assert whole.resumed_from >= 10
    end = statuses("search-killed")
    assert end.pop("drill search") == "FINISHED"
    assert sorted(end.values()) == ["FAILED", "FAILED", "FINISHED", "FINISHED"]
    assert "init_from=/nowhere" in (tmp_path / "log").read_text()


def test_asha_hears_of_trials_before_the_kill_and_a_trial_ended_early_frees_its_workers(
    stack: Any, s3: str, drawn_shards: Path, tmp_path: Path
) -> None:
    tree = tree_of(drawn_shards, s3, tmp_path, experiment="search-asha", steps=4, validate_every=0.3)
    # workers that fill the cluster: the last trial cannot begin unless the one before has let go of its own
    tree["train"] |= {"workers": 2, "cpus_per_worker": 1.9}
    tree["search"] |= {"asha": True, "cem": ["none", "half", "full"]}
    config: Config = parse(tree)
    kept = TrialRecords.read(search_url(config))
    for cem, state, ap in (("none", "finished", 0.5), ("half", "running", 0.1)):
        setting = {"model.r": -4, "model.cem": cem}
        record = TrialRecord(name=trial_name("drill", setting, 0), setting=setting, seed=0, order=len(kept.by_name))
        kept.write(TrialRecord(**{**vars(record.saw(ValidationScore(step=1, part=25, ap=ap))), "state": state}))
    found = search(config)
    assert found.summary["trials"] == {"finished": 1, "pruned": 2, "failed": 0}
    behind = TrialRecords.read(search_url(config)).by_name["drill-r-4-half-s0"]
    assert (behind.state, behind.step) == ("pruned", 1)
    assert "(0.100 at step 1)" in found.page
    assert statuses("search-asha") == {
        "drill search": "FINISHED",
        "drill-r-4-none-s0": "FINISHED",
        "drill-r-4-half-s0": "KILLED",
        "drill-r-4-full-s0": "KILLED",
    }


def test_a_search_by_proposals_runs_as_many_settings_as_asked(
    stack: Any, s3: str, drawn_shards: Path, tmp_path: Path
) -> None:
    tree = tree_of(drawn_shards, s3, tmp_path, experiment="search-optuna", steps=2)
    tree["search"] |= {"algorithm": "optuna", "samples": 2, "also": {"optim": {"lr": {"low": 0.001, "high": 0.01}}}}
    found = search(parse(tree))
    assert found.summary["trials"] == {"finished": 2, "pruned": 0, "failed": 0}
    rates = {row["setting"]["optim.lr"] for row in found.summary["settings"]}
    assert len(rates) == 2
    assert all(0.001 <= rate <= 0.01 for rate in rates)
