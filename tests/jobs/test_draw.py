"""`lhrnet draw`, as a person runs it."""

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
import typer
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.scenes.casting import SUBJECTS


def draw(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["draw", *map(str, arguments), "--workers", "1", "--size", "64"])


def test_the_help_names_every_skeleton_that_is_drawn() -> None:
    command: Any = typer.main.get_command(app)
    (option,) = (p for p in command.commands["draw"].params if p.name == "skeleton")
    assert all(name in option.help for name in SUBJECTS)


@pytest.mark.parametrize("skeleton", ["hand", "lsp"])
def test_a_set_of_another_skeleton_is_drawn_once(skeleton: str, tmp_path: Path) -> None:
    asked = (tmp_path / "drawn", "--skeleton", skeleton, "--train", 2, "--val", 2, "--test", 1)
    assert draw(*asked).exit_code == 0
    truth = json.loads((tmp_path / "drawn/annotations/person_keypoints_val2017.json").read_text())
    assert [category["keypoints"] for category in truth["categories"]] == [list(SUBJECTS[skeleton].skeleton.keypoints)]
    again = draw(*asked)
    assert again.exit_code == 0
    assert "already holds these 5 images" in again.stdout


def test_a_look_at_a_set_is_one_picture_and_no_set(tmp_path: Path) -> None:
    sheets = []
    for asked in ([], ["--hard"], ["--skeleton", "hand"]):
        done = draw(tmp_path / "drawn", "--look", *asked)
        assert done.exit_code == 0, done.output
        assert [path.name for path in tmp_path.iterdir()] == ["drawn.jpg"]
        sheets.append(cv2.imread(str(tmp_path / "drawn.jpg")))
    assert [sheet.shape for sheet in sheets if sheet is not None] == [(3 * 384, 4 * 384, 3)] * 3
    assert len({sheet.tobytes() for sheet in sheets if sheet is not None}) == 3


def test_a_hard_set_is_not_the_plain_one(tmp_path: Path) -> None:
    asked = (tmp_path / "drawn", "--train", 2, "--val", 1, "--test", 0)
    assert draw(*asked, "--hard").exit_code == 0
    assert "already holds" in draw(*asked, "--hard").stdout
    done = draw(*asked)
    assert isinstance(done.exception, FileExistsError)


def test_a_skeleton_that_is_not_drawn_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    done = draw(tmp_path / "drawn", "--skeleton", "coco-wholebody")
    assert done.exit_code
    assert "'coco-wholebody' is built in, but not drawn; drawn are coco, crowdpose, lsp, mpii, hand" in str(
        done.exception
    )
    assert list(tmp_path.iterdir()) == []
