"""`lhrnet train` and `lhrnet config`, as they are typed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from jobs.cli import app


def invoke(*arguments: str) -> str:
    """What a command prints; errors are raised as the command line would see them."""
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, make_shards: Callable[..., Path]) -> Path:
    """A config file over a small drawn set, everything below one folder."""
    folder = tmp_path_factory.mktemp("train")
    shards = make_shards(train=24)
    tree = {
        "name": "a",
        "storage": str(folder / "runs"),
        "data": {split: str(shards / f"{split}2017") for split in ("train", "val")},
        "model": {"r": -4, "input_size": 64},
        "stream": {"loader_workers": 0},
        "train": {"steps": 2, "global_batch": 4},
        "tracking": {"enabled": False},
    }
    file = folder / "a.yaml"
    file.write_text(yaml.safe_dump(tree))
    return file


def test_training_ends_in_one_json_object(settings: Path) -> None:
    told = json.loads(invoke("train", "--here", "-c", str(settings), "name=json", "--json"))
    assert (told["name"], told["finished"], told["steps"], told["images"]) == ("json", True, 2, 8)
    assert told["checkpoint"].endswith("/json/checkpoints/step-00000002")
    assert {"images_per_second", "run_id", "mlflow", "storage", "ap", "ap50"} <= told.keys()


def test_training_ends_in_a_table_for_people(settings: Path) -> None:
    told = invoke("train", "--here", "-c", str(settings), "name=table")
    assert "table: finished" in told
    assert "images a second" in told
    assert "/table/checkpoints/step-00000002" in told


def test_the_resolved_settings_are_printed_as_yaml_and_json(settings: Path) -> None:
    tree = yaml.safe_load(invoke("config", "-c", str(settings), "optim.lr=0.5"))
    assert tree["optim"]["lr"] == 0.5
    assert tree["optim"]["name"] == "adamw"
    assert tree == json.loads(invoke("config", "-c", str(settings), "optim.lr=0.5", "--json"))


def test_a_wrong_key_is_an_error_that_names_it(settings: Path) -> None:
    with pytest.raises(ValueError, match=r"train\.step is unknown .*did you mean train\.steps"):
        invoke("train", "--here", "-c", str(settings), "train.step=3")
