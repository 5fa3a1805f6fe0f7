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
from pipeline import checkpoint


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
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]
    cv2.imwrite(str(tmp_path / "photo.jpg"), np.full((50, 70, 3), 80, np.uint8))
    out = str(tmp_path / "out")
    predicted = CliRunner().invoke(app, ["predict", str(tmp_path / "photo.jpg"), "-m", file, "-o", out, "--json"])
    assert predicted.exit_code == 0, predicted.output
    assert json.loads(predicted.stdout.splitlines()[-1])["device"] == "cpu"


def test_wrong_addresses_are_named_before_anything_is_done(run: str, tmp_path: Path) -> None:
    wrong = CliRunner().invoke(app, ["export", run, "--out", str(tmp_path / "network.pt")])
    assert "must end in .onnx" in str(wrong.exception)
    gone = CliRunner().invoke(app, ["export", str(tmp_path), "--out", str(tmp_path / "network.onnx")])
    assert isinstance(gone.exception, FileNotFoundError)
    assert not list(tmp_path.iterdir())
