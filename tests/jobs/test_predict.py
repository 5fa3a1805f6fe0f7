"""What `lhrnet predict` promises."""

import dataclasses
import json
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from lhrnet.network import ModelConfig, create_model
from lhrnet.person import Person
from lhrnet.predictor import Predictor
from pipeline.checkpoints import checkpoint


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


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("one.jpg", "two.png"):
        cv2.imwrite(str(folder / name), np.full((50, 70, 3), 80, np.uint8))
    return folder


def test_it_predicts_a_folder_and_says_how_fast(run: str, photos: Path, tmp_path: Path) -> None:
    (photos / "broken [b].jpg").write_bytes(b"x")
    out = tmp_path / "out"
    result = CliRunner().invoke(app, ["predict", str(photos), "--model", run, "--out", str(out), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["pictures"], len(told["errors"])) == (2, 1)
    assert "broken [b].jpg" in told["errors"][0]
    assert set(told["milliseconds"]) == {"resize", "network", "decode", "files and drawing"}
    assert told["fps"] > 0
    assert sorted(path.name for path in out.iterdir()) == ["images.json", "one.jpg", "results.json", "two.jpg"]
    table = CliRunner().invoke(app, ["predict", str(photos), "-m", run, "-o", str(tmp_path / "out [i]")])
    assert "network" in table.output
    assert "out [i]: results.json" in table.output
    assert "broken [b].jpg is not an image" in table.output


def test_interrupted_it_tells_what_it_has_and_returns_130(
    run: str, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = Predictor.many

    def interrupted(self: Predictor, images: list[np.ndarray]) -> list[list[Person]]:
        os.kill(os.getpid(), signal.SIGINT)
        return many(self, images)

    monkeypatch.setattr(Predictor, "many", interrupted)
    out = tmp_path / "out"
    for more in ([], ["--json"]):
        result = CliRunner().invoke(app, ["predict", str(photos), "-m", run, "-o", str(out), "--batch", "1", *more])
        assert result.exit_code == 130
        assert "interrupted after 2 pictures" in result.output
        assert len(json.loads((out / "images.json").read_text())) == 2


def test_what_is_missing_is_an_error_before_anything_is_written(run: str, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    gone = CliRunner().invoke(app, ["predict", str(photos / "three.jpg"), "-m", run, "-o", str(out)])
    assert isinstance(gone.exception, FileNotFoundError)
    assert "three.jpg" in str(gone.exception)
    nothing = CliRunner().invoke(app, ["predict", str(photos), "-m", str(tmp_path), "-o", str(out)])
    assert isinstance(nothing.exception, FileNotFoundError)
    assert "no checkpoint" in str(nothing.exception)
    assert not out.exists()


def test_it_says_what_of_a_folder_it_passed_over(run: str, photos: Path, tmp_path: Path) -> None:
    (photos / "three.HEIC").write_bytes(b"x")
    command = ["predict", str(photos), "-m", run, "-o", str(tmp_path / "out")]
    assert "passed over: 1 other file: 1 .heic (save as JPEG)" in CliRunner().invoke(app, command).output
    told = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout.splitlines()[-1])
    assert told["passed_over"] == {".heic": 1}


@pytest.mark.parametrize("size", ["0", "-5", "31", "4097"])
def test_a_size_that_no_network_has_is_an_error(run: str, photos: Path, tmp_path: Path, size: str) -> None:
    command = ["predict", str(photos), "-m", run, "-o", str(tmp_path / "out"), "--size", size]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, ValueError)
    assert str(result.exception).startswith(f"a size of {size} is not allowed")
    assert not (tmp_path / "out").exists()
