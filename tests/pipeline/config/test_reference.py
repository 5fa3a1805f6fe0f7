"""The page on every setting is the one that the config's classes make."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from jobs.cli import app
from pipeline.config.reference import _chapter, reference
from pipeline.config.tree import known_keys

PAGE = Path(__file__).resolve().parents[3] / "docs" / "configuration.md"


def test_the_committed_page_is_the_one_that_is_made_now() -> None:
    made = CliRunner().invoke(app, ["config", "--reference"]).stdout
    assert made == reference()
    assert PAGE.read_text() == made, "run: .venv/bin/lhrnet config --reference > docs/configuration.md"


def test_every_key_has_a_row_with_its_default() -> None:
    rows = {line.split("`")[1]: line for line in reference().splitlines() if line.startswith("| `")}
    assert set(rows) == known_keys()
    assert "| required |" in rows["data.train"]
    assert "| `plain`, `flip`, `multi-scale` | `plain` |" in rows["evaluate.protocol"]
    assert "| whole number, above 0, or empty | empty |" in rows["train.steps"]


def test_a_key_without_a_text_is_named() -> None:
    @dataclass(frozen=True)
    class Section:
        """Told."""

        told: int = 1
        """It is told."""
        silent: int = 2

    with pytest.raises(ValueError, match=r"config key section.silent is not explained"):
        _chapter("section", Section, required=False)
