"""Evaluate, report and submit as functions: they return what they found and say where they wrote it."""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lhrnet.metrics.coco_eval import score
from lhrnet.network import create_model
from pipeline.checkpoints import checkpoint as checkpoints
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config.tree import Config
from pipeline.data.index import truth
from pipeline.runs.score import evaluate, report, submit


@pytest.fixture
def config(drawn_shards: Path, run_config: Callable[..., Config]) -> Config:
    return run_config(drawn_shards, evaluate={"pictures": 1})


@pytest.fixture
def checkpoint(config: Config) -> Checkpoint:
    torch.manual_seed(0)
    url = checkpoints.step_url(config.run_url, 3)
    weights = create_model(config.model).state_dict()
    checkpoints.save(Checkpoint(url=url, step=3, config=config.tree(), weights=weights), url)
    return checkpoints.load(config.run_url)


def test_an_evaluation_is_returned_and_the_same_is_stored(config: Config, checkpoint: Checkpoint) -> None:
    result = evaluate(config, checkpoint)
    found = result.evaluation
    assert found.scores == score(truth(config.data.val), found.predictions.detections)
    stored = json.loads((Path(result.out) / "evaluation.json").read_text())
    assert stored == json.loads(json.dumps(found.as_dict()))
    label = f"val2017-{found.data['index_sha256'][:8]}-plain"
    assert result.out == f"{config.run_url}/evaluation/{label}/step-00000003"
    assert result.run is None


def test_a_comparison_is_named_after_both_checkpoints(config: Config, checkpoint: Checkpoint) -> None:
    other = dataclasses.replace(checkpoint, step=4, config={**checkpoint.config, "name": "other"})
    result = report(config, [checkpoint, other], pictures=0)
    folder = rf"{config.run_url}/report/val2017-[0-9a-f]{{8}}-plain-step-00000003-against-other-step-00000004"
    assert re.fullmatch(rf"{folder}/report\.html", result.page)
    assert Path(result.page).is_file()


def test_a_submission_says_what_it_was_made_from(config: Config, checkpoint: Checkpoint, tmp_path: Path) -> None:
    sent = submit(config, checkpoint, name="mine", out=str(tmp_path / "out"))
    assert sent.file == f"{tmp_path}/out/person_keypoints_test-dev2017_mine_results.zip"
    assert Path(sent.file).stat().st_size == sent.bytes
    assert sent.checkpoint_sha256 == checkpoint.sha256
    assert sent.scores is None
    assert sent.as_dict().keys().isdisjoint({"scores", "run", "version"}), "untracked test images have none of these"


def test_a_rehearsed_submission_scores_as_the_evaluation_does(config: Config, checkpoint: Checkpoint) -> None:
    assert (
        submit(config, checkpoint, name="mine", split="val2017").scores
        == evaluate(config, checkpoint).evaluation.scores
    )
