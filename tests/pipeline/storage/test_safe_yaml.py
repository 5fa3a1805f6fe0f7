"""A config file of a kilobyte is a kilobyte, and a name that looks like a day is a name."""

from pathlib import Path

import pytest

from pipeline.config.tree import load
from pipeline.storage.safe_yaml import read_yaml


def test_aliases_are_refused_by_place(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\nb: [*a, *a]\n"
    (tmp_path / "bomb.yaml").write_text(bomb)
    with pytest.raises(ValueError, match=r"bomb\.yaml is not YAML: \*a is an alias(.|\n)*line 2"):
        load(tmp_path / "bomb.yaml")


def test_depth_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"x=.*nested too deeply"):
        load(None, [f"x={'[' * 5000}"])


def test_a_name_may_look_like_a_day() -> None:
    assert read_yaml("2026-11-27") == "2026-11-27"
    assert read_yaml("12") == 12
    assert read_yaml("1e-3") in (0.001, "1e-3")


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes("name: ä".encode("utf-16"))
    with pytest.raises(ValueError, match=r"c\.yaml is not YAML"):
        load(tmp_path / "c.yaml")
