"""Promotion from a checkpoint to a champion that `mlflow` alone can load."""

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from lhrnet.metrics.coco_eval import score
from lhrnet.network.config import ModelConfig
from lhrnet.network.profile import Profile
from lhrnet.network.registry import create_model
from pipeline.checkpoints import checkpoint as checkpoints
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.checkpoints.trained_network import Trained
from pipeline.config.tree import Config, parse
from pipeline.data.index import ShardIndex, read_index, truth
from pipeline.evaluation.evaluate import Evaluation, describe_data, describe_protocol, scored_profile
from pipeline.evaluation.predictions import Latency, Predictions
from pipeline.evaluation.worker import EvaluateConfig
from pipeline.release.promotion import PromotionResult, promote, rollback
from pipeline.release.registry import Registry
from pipeline.tracking.mlflow_run import open_run
from pipeline.tracking.provenance import revision
from pipeline.tracking.record import RunRecord

MODEL = ModelConfig(r=-4, input_size=64)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, make_shards: Callable[..., Path]) -> Path:
    """A folder with an MLflow database and drawn shards."""
    root = tmp_path_factory.mktemp("promotion")
    shutil.copytree(make_shards(val=16, per_shard=8), root / "shards")
    return root


@pytest.fixture
def config(place: Path, run_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> Config:
    """A model name and a run of the test's own."""
    monkeypatch.chdir(place)
    own = uuid.uuid4().hex[:8]
    return run_config(
        place / "shards",
        name=f"run-{own}",
        storage=str(place / "runs"),
        gate={"model": f"model-{own}", "resamples": 100},
        tracking={"enabled": True, "uri": f"sqlite:///{place}/mlflow.db", "experiment": own},
    )


@cache
def _weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return create_model(MODEL).state_dict()


@cache
def _counted(config: EvaluateConfig) -> Profile:
    return scored_profile(MODEL, config)


def _checkpoint(config: Config, step: int, *, shift: float) -> str:
    """A checkpoint whose people the test's evaluator will find `shift` pixels beside the truth."""
    url = checkpoints.step_url(config.run_url, step)
    known = {"shift": shift, "val/ap": 0.5}
    checkpoints.save(Checkpoint(url=url, step=step, config=config.tree(), weights=_weights(), metrics=known), url)
    return url


def _evaluate(
    checkpoint: Checkpoint, url: str, config: EvaluateConfig, *, index: ShardIndex | None = None, **rest: Any
) -> Evaluation:
    index = index or read_index(url)
    tree = truth(url, index)
    found = []
    for person in tree["annotations"]:
        points = [v + checkpoint.metrics["shift"] * (n % 3 == 0) for n, v in enumerate(person["keypoints"])]
        found.append({"image_id": person["image_id"], "category_id": 1, "keypoints": points, "score": 0.9})
    latency = Latency(resize_ms=1.0, network_ms=20.0, decode_ms=5.0, device="a test", batch=1)
    counted = _counted(config)
    return Evaluation(
        checkpoint=checkpoint.url,
        step=checkpoint.step,
        data=describe_data(url, index),
        protocol=describe_protocol(config, checkpoint),
        scores=score(tree, found),
        params=counted.params,
        macs=counted.macs,
        predictions=Predictions(
            detections=tuple(found), image_ids=tuple(sorted(index.image_ids)), latency=latency, pictures={}
        ),
        truth=tree,
    )


def _promote(config: Config, target: str | None = None, **options: Any) -> PromotionResult:
    return promote(config, target, evaluator=options.pop("evaluator", _evaluate), **options)


def _nobody_passes(config: Config) -> Config:
    return config.model_copy(update={"gate": replace(config.gate, min_ap=1.0)})


def _registry(config: Config) -> Registry:
    return Registry(RunRecord.of_checkpoint(config.tracking, config.tree()).mlflow, config.gate.model)


def _champion(config: Config) -> str | None:
    holder = _registry(config).holder("champion")
    return holder.number if holder else None


def _artifact(config: Config, version: str, path: str) -> Path:
    found = _registry(config).get(version)
    client = _registry(config).mlflow
    return Path(client.get_run(found.run_id).info.artifact_uri.removeprefix("file://"), path)


def _package(config: Config, version: str) -> Path:
    found = _registry(config).get(version)
    return _artifact(config, version, found.source.removeprefix(f"runs:/{found.run_id}/"))


def test_the_first_model_becomes_champion_with_card_tags_and_decision(config: Config) -> None:
    url = _checkpoint(config, 5, shift=1.0)
    outcome = _promote(config)
    assert outcome.decision.accepted
    assert outcome.version == _champion(config) == "1"
    tags = _registry(config).get("1").tags
    assert tags["checkpoint"] == url
    assert tags["decision"] == "accepted"
    assert json.loads(tags["config"])["model"]["r"] == -4
    assert json.loads(tags["data"])["index_sha256"]
    figures = {"latency_ms", "params", "macs", *outcome.decision.challenger.scores}
    assert {"git_revision", "protocol", "size"} | figures <= tags.keys()
    (decision,) = _artifact(config, "1", "gate/version-1").glob("val2017-????????/decision.json")
    assert json.loads(decision.read_text())["accepted"]
    assert decision.with_suffix(".md").read_text().startswith("# Version 1: accepted")
    card = (_package(config, "1") / "README.md").read_text()
    headings = [f"## {part}" for part in ("Use", "Data", "Recipe", "Figures", "Limits", "Licence")]
    assert all(part in card for part in (*headings, "5 steps", "AP by crowding"))


def test_a_better_model_takes_the_place_and_a_worse_one_does_not(config: Config) -> None:
    _checkpoint(config, 1, shift=3.0)
    _promote(config)
    better = _promote(config, _checkpoint(config, 2, shift=0.5))
    assert better.move is not None
    assert (better.move.old, better.move.new) == ("1", "2")
    worse = _promote(config, _checkpoint(config, 3, shift=3.0))
    assert worse.move is None
    assert not worse.decision.accepted
    holders = {alias: v.number for v in _registry(config).versions() for alias in v.aliases}
    assert holders == {"champion": "2", "challenger": "3", "previous": "1"}
    assert _registry(config).get("3").tags["decision"] == "refused"
    (refused,) = _artifact(config, "3", "gate/version-3").rglob("decision.json")
    assert json.loads(refused.read_text())["accepted"] is False


def test_a_dry_run_decides_and_leaves_no_trace(config: Config) -> None:
    _checkpoint(config, 1, shift=1.0)
    outcome = _promote(config, dry_run=True)
    assert outcome.decision.accepted
    assert (outcome.move, outcome.version) == (None, "candidate")
    mlflow = _registry(config).mlflow
    assert mlflow.search_registered_models(f"name = '{config.gate.model}'") == []
    assert mlflow.get_experiment_by_name(config.tracking.experiment) is None


def test_a_version_named_by_its_number_makes_no_run_of_the_configs_name(config: Config) -> None:
    strict = _nobody_passes(config)
    _promote(strict, _checkpoint(config, 1, shift=1.0))
    outcome = _promote(parse({**strict.tree(), "name": f"{config.name}-other"}), "1")
    run_id = _registry(config).get("1").run_id
    assert outcome.page.endswith(run_id)
    client = _registry(config).mlflow
    experiment = client.get_experiment_by_name(config.tracking.experiment).experiment_id
    assert [run.info.run_id for run in client.search_runs([experiment])] == [run_id]


def test_a_version_says_what_code_and_data_its_training_had(config: Config) -> None:
    url = _checkpoint(config, 1, shift=1.0)
    own = {"git_revision": "trained-by-this", "data_index_sha256": "a" * 64}
    place = {"experiment": config.tracking.experiment, "name": config.name, "identity": config.run_url}
    open_run(_registry(config).mlflow, **place, params={}, tags=own)
    _promote(config, url)
    tags = _registry(config).get("1").tags
    assert {key: tags[key] for key in own} == own
    assert tags["val_index_sha256"] == json.loads(tags["data"])["index_sha256"] != own["data_index_sha256"]
    assert tags["package_revision"] == revision()
    card = (_package(config, "1") / "README.md").read_text()
    assert "code at `trained-by-this`" in card
    assert "(index sha256 `aaaaaaaaaaaaaaaa`)" in card


def test_the_same_checkpoint_is_registered_once_and_can_be_named_by_its_version(config: Config) -> None:
    _promote(config, _checkpoint(config, 1, shift=1.0))
    url = _checkpoint(config, 2, shift=2.0)
    assert not _promote(config, url).decision.accepted
    assert not _promote(config, url).decision.accepted
    assert len(_registry(config).versions()) == 2
    gate = replace(config.gate, min_gain=0, confidence=0, max_size_loss=1, max_keypoint_loss=1)
    lax = config.model_copy(update={"gate": gate})

    def a_little_worse(checkpoint: Checkpoint, *rest: Any, **more: Any) -> Evaluation:
        return _evaluate(replace(checkpoint, metrics={"shift": checkpoint.metrics["shift"] + 0.5}), *rest, **more)

    again = _promote(lax, "2", evaluator=a_little_worse).decision
    assert not again.accepted, "a gain below 0 is no gain"
    tag = _registry(config).get("2").tags["ap"]
    assert tag == f"{again.challenger.scores['ap']:.6f}", "its figures are those that its last decision rests on"
    _promote(config, _checkpoint(config, 3, shift=0.2))
    assert _champion(config) == "3"


def test_a_version_is_judged_as_it_is_served(config: Config) -> None:
    url = _checkpoint(config, 1, shift=0.5)
    _promote(config, url)
    flipped = config.model_copy(update={"evaluate": replace(config.evaluate, protocol="flip", size=128)})
    with pytest.raises(ValueError, match=r"is served by plain at 64 px, and was to be scored by flip at 128 px"):
        _promote(flipped, "1")
    assert _promote(flipped, url).version == "2"
    assert _registry(config).get("2").tags.items() >= {"protocol": "flip", "size": "128"}.items()
    served = json.loads((_package(config, "2") / "artifacts/served.json").read_text())
    assert (served["protocol"], served["min_score"]) == ("flip", 0.9), "the threshold that its evaluation found"


def test_promoting_the_champion_again_is_an_error_and_settles_what_follows(config: Config) -> None:
    _promote(config, _checkpoint(config, 1, shift=1.0))
    url = _checkpoint(config, 2, shift=0.5)
    _promote(config, url)
    registry = _registry(config)
    registry.mlflow.delete_registered_model_alias(registry.model, "previous")
    with pytest.raises(ValueError, match="champion already"):
        _promote(config, url, dry_run=True)
    assert registry.holder("previous") is None
    with pytest.raises(ValueError, match="champion already"):
        _promote(config, url)
    assert [version.number for version in registry.versions() if "previous" in version.aliases] == ["1"]


def test_a_checkpoint_whose_version_was_changed_is_registered_anew(config: Config) -> None:
    strict = _nobody_passes(config)
    url = _checkpoint(config, 1, shift=1.0)
    _promote(strict, url)
    (_package(config, "1") / "artifacts" / "weights.pt").write_bytes(b"other")
    assert _promote(strict, url).version == "2"


def test_a_rollback_to_a_version_whose_files_were_changed_is_refused(config: Config) -> None:
    _promote(config, _checkpoint(config, 1, shift=1.0))
    _promote(config, _checkpoint(config, 2, shift=0.5))
    weights = _package(config, "1") / "artifacts" / "weights.pt"
    whole = weights.read_bytes()
    weights.write_bytes(b"other")
    with pytest.raises(ValueError, match=r"version 1 of .*sha256"):
        rollback(config, "")
    assert _champion(config) == "2"
    weights.write_bytes(whole)
    assert rollback(config, "").new == _champion(config) == "1"


@pytest.mark.parametrize("file", ["artifacts/weights.pt", "code/lhrnet/inference.py", "manifest.json"])
def test_a_version_whose_files_were_changed_is_refused(config: Config, file: str) -> None:
    _promote(config, _checkpoint(config, 1, shift=0.5))
    _promote(config, _checkpoint(config, 2, shift=1.0))
    path = _package(config, "2") / file
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(ValueError, match=r"version 2 of .*sha256"):
        _promote(config, "2")
    assert _champion(config) == "1"


@pytest.mark.parametrize("file", ["extra.py", "__pycache__/inference.cpython-311.pyc"])
def test_a_file_added_to_a_version_is_refused(config: Config, file: str) -> None:
    _promote(config, _checkpoint(config, 1, shift=0.5))
    _promote(config, _checkpoint(config, 2, shift=1.0))
    path = _package(config, "2") / "code" / "lhrnet" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    with pytest.raises(ValueError, match=re.escape(file)):
        _promote(config, "2")


def test_none_of_a_registered_models_code_is_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    _promote(config, _checkpoint(config, 1, shift=0.5))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", config.tracking.uri)
    assert Trained.load(f"models:/{config.gate.model}@champion").size == config.model.side
    next(_package(config, "1").glob("*.py")).write_text("raise SystemExit('it ran')")
    with pytest.raises(ValueError, match=r"version 1 of .* do not fit"):
        Trained.load(f"models:/{config.gate.model}/1")


def test_a_champion_whose_files_were_changed_stops_the_comparison(config: Config) -> None:
    _promote(config, _checkpoint(config, 1, shift=1.0))
    path = _package(config, "1") / "artifacts" / "weights.pt"
    path.write_bytes(b"other")
    with pytest.raises(ValueError, match=r"version 1 of .* It is the champion.*lhrnet rollback"):
        _promote(config, _checkpoint(config, 2, shift=0.5))
    assert _champion(config) == "1"


@pytest.mark.parametrize("same", [False, True])
def test_of_two_promotions_at_once_one_wins_and_the_other_is_told(config: Config, same: bool) -> None:
    _promote(config, _checkpoint(config, 1, shift=3.0))
    first = _checkpoint(config, 2, shift=1.0)
    second = first if same else _checkpoint(config, 3, shift=0.5)
    _promote(_nobody_passes(config), first)
    inner: list[PromotionResult] = []

    def while_the_other_promotes(checkpoint: Checkpoint, url: str, settings: EvaluateConfig, **rest: Any) -> Evaluation:
        if not inner:
            inner.append(_promote(config, second))
        return _evaluate(checkpoint, url, settings, **rest)

    with pytest.raises(RuntimeError, match="somebody else promoted meanwhile"):
        _promote(config, first, evaluator=while_the_other_promotes)
    assert inner[0].move is not None
    left = {v.number: (v.aliases, v.tags["decision"]) for v in _registry(config).versions()}
    lost = {} if same else {"2": (("challenger",), "overtaken")}
    assert left == {"1": (("previous",), "accepted"), inner[0].version: (("champion",), "accepted"), **lost}


@pytest.mark.parametrize(
    ("part", "step", "error", "decision"),
    [
        (RunRecord, "artifacts", ConnectionError, None),
        (Registry, "promote", ConnectionError, "not moved"),
        (Registry, "promote", RuntimeError, "not moved"),
    ],
)
def test_a_store_that_goes_away_leaves_the_champion_and_no_word_of_another(
    config: Config, monkeypatch: pytest.MonkeyPatch, part: type, step: str, error: type[Exception], decision: str | None
) -> None:
    _promote(config, _checkpoint(config, 1, shift=1.0))
    url = _checkpoint(config, 2, shift=0.5)

    def away(*args: Any, **named: Any) -> None:
        raise error("no store")

    monkeypatch.setattr(part, step, away)
    with pytest.raises(error, match="no store"):
        _promote(config, url)
    assert _champion(config) == "1"
    assert _registry(config).get("2").tags.get("decision") == decision


README = Path(__file__).parents[3] / "README.md"
ALONE = """
import json, sys
for name in ("pipeline", "jobs", "ray", "webdataset", "pycocotools", "boto3"):
    sys.modules[name] = None
exec(sys.argv[1])
print(json.dumps(people))
"""


def test_the_two_lines_of_the_readme_load_the_champion_with_mlflow_alone(config: Config, tmp_path: Path) -> None:
    _promote(config, _checkpoint(config, 1, shift=1.0))
    lines = re.search(r"```python\n(import mlflow\n.*?)```", README.read_text(), re.DOTALL)
    assert lines is not None
    assert len([line for line in lines[1].splitlines() if line]) == 2
    code = lines[1].replace("lightweight-hrnet@champion", f"{config.gate.model}@champion")
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8))
    own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-P", "-c", ALONE, code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
        env={**own, "MLFLOW_TRACKING_URI": config.tracking.uri},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    people = json.loads(done.stdout.splitlines()[-1])
    assert people
    assert set(people[0]) == {"score", "box", "keypoints"}
    assert len(people[0]["keypoints"]) == 17
    assert "Warning" not in done.stderr
    assert _promote(config, _checkpoint(config, 2, shift=0.5)).move, "loading a version leaves it as it was"
