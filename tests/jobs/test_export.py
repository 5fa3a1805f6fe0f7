"""What `lhrnet export` promises, and `lhrnet predict` with what it wrote."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from lhrnet.network import ModelConfig, create_model
from pipeline.checkpoints import checkpoint
from pipeline.scenes.synthetic import SceneConfig, write_coco
from pipeline.sharding.plan import make_plans
from pipeline.sharding.write import serial, write_split


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A run's folder with one checkpoint of an untrained network."""
    config = ModelConfig(r=-4, input_size=64)
    folder = str(tmp_path_factory.mktemp("run"))
    saved = checkpoint.Checkpoint(
        url="", step=1, config={"model": dataclasses.asdict(config)}, weights=create_model(config).state_dict()
    )
    checkpoint.save(saved, checkpoint.step_url(folder, 1))
    return folder


def test_it_writes_a_file_that_predict_takes(run: str, tmp_path: Path) -> None:
    file = str(tmp_path / "network.onnx")
    result = CliRunner().invoke(app, ["export", run, "--out", file, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["out"], told["precision"], told["size"]) == (file, "fp32", 64)
    assert told["bytes"] == Path(file).stat().st_size
    assert 0 <= told["apart_from_torch"] < 1e-4
    assert told["fastest"] in told["engines"]
    assert told["engines"]["onnxruntime"]["apart"] == 0
    assert told["engines"]["onnxruntime"]["milliseconds"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((50, 70, 3), 80, np.uint8))
    out = str(tmp_path / "out")
    predicted = CliRunner().invoke(app, ["predict", str(tmp_path / "photo.jpg"), "-m", file, "-o", out, "--json"])
    assert predicted.exit_code == 0, predicted.output
    assert json.loads(predicted.stdout.splitlines()[-1])["device"] == "cpu"


def test_int8_says_what_it_costs(run: str, tmp_path: Path) -> None:
    write_coco(tmp_path / "coco", train=1, val=4, seed=3, config=SceneConfig(size=96), workers=1)
    for plan in make_plans(str(tmp_path / "coco"), str(tmp_path / "shards"), ("val2017",), dataset="drawn"):
        write_split(plan, runner=serial)
    shards, file = f"{tmp_path}/shards/val2017", str(tmp_path / "small [b].onnx")
    words = ["--int8", "--calibrate", f"{tmp_path}/coco/val2017", "--images", "3", "--score", shards]
    shown = CliRunner().invoke(app, ["export", run, *words, "--score-images", "2", "--out", file])
    assert shown.exit_code == 0, shown.output
    assert "small [b].onnx: int8" in shown.output
    assert "AP int8" in shown.output
    assert "onnxruntime: " in shown.output
    assert "to fp32" in shown.output
    missing = CliRunner().invoke(app, ["export", run, "--int8", "--out", file])
    assert "--calibrate" in str(missing.exception)


def test_wrong_addresses_are_named_before_anything_is_done(run: str, tmp_path: Path) -> None:
    wrong = CliRunner().invoke(app, ["export", run, "--out", str(tmp_path / "network.pt")])
    assert "must end in .onnx" in str(wrong.exception)
    idle = CliRunner().invoke(app, ["export", run, "--calibrate", "images", "--out", str(tmp_path / "network.onnx")])
    assert "--calibrate images is for --int8" in str(idle.exception)
    gone = CliRunner().invoke(app, ["export", str(tmp_path), "--out", str(tmp_path / "network.onnx")])
    assert isinstance(gone.exception, FileNotFoundError)
    assert not list(tmp_path.iterdir())
