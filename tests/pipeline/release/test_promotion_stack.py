"""Promotion against a real MLflow server and a real object store."""

import json
import os
import subprocess
import sys
import threading
import uuid
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from infra.stack import Stack
from lhrnet.network.config import ModelConfig
from lhrnet.network.registry import create_model
from pipeline.checkpoints import checkpoint as checkpoints
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.config.tree import Config, parse
from pipeline.release.promotion import promote
from pipeline.release.registry import Registry
from pipeline.scenes.synthetic import SceneConfig, write_coco
from pipeline.sharding.plan import make_plans
from pipeline.sharding.write import write_split
from pipeline.tracking.mlflow_run import connect

pytestmark = pytest.mark.stack

MODEL = ModelConfig(r=-4, input_size=64)
CONSUMER = """
import sys
for name in ("pipeline", "jobs", "ray", "webdataset", "pycocotools", "boto3"):
    sys.modules[name] = None
import json, mlflow
people = mlflow.pyfunc.load_model(sys.argv[1]).predict([sys.argv[2]])[0]
print(json.dumps(people))
"""


@pytest.fixture
def config(s3: str, mlflow_server: Stack, tmp_path: Path) -> Config:
    write_coco(tmp_path / "coco", train=2, val=4, seed=5, config=SceneConfig(size=96), workers=1)
    for plan in make_plans(str(tmp_path / "coco"), f"{s3}/shards", ["val2017"], per_shard=2):
        write_split(plan)
    val = f"{s3}/shards/val2017"
    return parse(
        {
            "name": "run",
            "storage": f"{s3}/runs",
            "data": {"train": val, "val": val},
            "model": asdict(MODEL),
            "gate": {"model": f"model-{uuid.uuid4().hex[:8]}", "resamples": 100},
        }
    )


def _checkpoint(config: Config, step: int) -> str:
    torch.manual_seed(step)
    url = checkpoints.step_url(config.run_url, step)
    weights = create_model(MODEL).state_dict()
    checkpoints.save(Checkpoint(url=url, step=step, config=config.tree(), weights=weights), url)
    return url


def test_a_checkpoint_in_s3_becomes_a_champion_that_mlflow_alone_loads(config: Config, tmp_path: Path) -> None:
    first = promote(config, _checkpoint(config, 1))
    assert first.move is not None
    second = promote(config, _checkpoint(config, 2))
    assert second.move is None, "two networks that find nobody are equally good"
    photo = tmp_path / "photo.jpg"
    cv2.imwrite(str(photo), np.random.default_rng(0).integers(0, 255, (60, 90, 3), np.uint8))
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-P", "-c", CONSUMER, f"models:/{config.gate.model}@champion", str(photo)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, env=own)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(json.loads(done.stdout.splitlines()[-1])[0]["keypoints"]) == 17


def test_of_many_movers_at_the_same_moment_one_wins_and_the_others_are_told(config: Config) -> None:
    promote(config, _checkpoint(config, 1))
    mlflow = connect(config.tracking)
    registry = Registry(mlflow, config.gate.model)
    source = registry.get("1")
    folder = source.source.removeprefix(f"runs:/{source.run_id}/")
    numbers = [registry.register(source.run_id, folder, tags={}).number for _ in range(4)]
    told, won, together = [], [], threading.Barrier(len(numbers))

    def move(number: str) -> None:
        own = Registry(connect(config.tracking), config.gate.model)
        together.wait()
        try:
            won.append(own.promote(number, expected="1", reason="a race").new)
        except RuntimeError as error:
            told.append(str(error))

    movers = [threading.Thread(target=move, args=(number,)) for number in numbers]
    for mover in movers:
        mover.start()
    for mover in movers:
        mover.join(60)
    assert len(won) == 1
    assert len(told) == 3
    champion = registry.holder("champion")
    assert champion is not None
    assert champion.number == won[0]
    assert champion.tags["previous"] == "1"
    assert [(move.old, move.new) for move in registry.history()] == [("1", won[0]), ("", "1")]


@pytest.mark.slow
def test_of_two_commands_at_the_same_time_one_promotes_and_the_other_is_told(config: Config, tmp_path: Path) -> None:
    promote(config, _checkpoint(config, 1))
    file = tmp_path / "run.yaml"
    file.write_text(config.yaml())
    command = [sys.executable, "-m", "jobs.cli", "promote", "-c", str(file), "gate.min_gain=0", "--json"]
    challengers = [_checkpoint(config, step) for step in (2, 3)]
    both = [
        subprocess.Popen([*command, url], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for url in challengers
    ]
    said = [process.communicate(timeout=200) for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 1], said
    won = json.loads(said[codes.index(0)][0].splitlines()[-1])
    assert (won["moved"]["old"], won["moved"]["new"]) == ("1", won["version"])
    assert "nothing was moved" in said[codes.index(1)][1].lower(), "it came while the other moved, or after"
    registry = Registry(connect(config.tracking), config.gate.model)
    champion = registry.holder("champion")
    assert champion is not None
    assert champion.number == won["version"]
    assert [(move.old, move.new) for move in registry.history()] == [("1", won["version"]), ("", "1")]
