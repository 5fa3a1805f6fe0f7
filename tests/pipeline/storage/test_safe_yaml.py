"""A config file of a kilobyte is a kilobyte, and a name that looks like a day is a name."""

from pathlib import Path

import pytest

from pipeline.config.tree import load
from pipeline.storage.safe_yaml import read_yaml


def test_aliases_are_refused_by_place(tmp_path: Path) -> None:
    bomb = "a: &a [x, x]\nb: [*a, *a]\n"
    (tmp_path / "bomb.yaml").write_text(bomb)
    with pytest.raises(ValueError, match=r"bomb\.yaml is not YAML: \*a is an alias.*line 2"):
        load(tmp_path / "bomb.yaml")


def test_depth_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match=r"x=.*nested too deeply"):
        load(None, [f"x={'[' * 5000}"])


def test_a_name_may_look_like_a_day() -> None:
    assert read_yaml("2026-11-27") == "2026-11-27"
    assert read_yaml("12") == 12
    assert read_yaml("1e-3") in (0.001, "1e-3")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_file_is_read_in_the_encodings_that_editors_write(encoding: str, tmp_path: Path) -> None:
    mark = "\ufeff" if encoding == "utf-16-le" else ""
    (tmp_path / "own.yaml").write_bytes(f"{mark}name: küche\r\n".encode(encoding))
    with pytest.raises(ValueError, match="config key name: got 'küche'"):
        load(tmp_path / "own.yaml")


def test_a_file_in_another_encoding_is_named_with_the_byte(tmp_path: Path) -> None:
    (tmp_path / "old.yaml").write_bytes("name: küche".encode("latin-1"))
    with pytest.raises(ValueError, match=r"old\.yaml is not YAML: byte 7 is 0xfc.*save it as UTF-8$"):
        load(tmp_path / "old.yaml")


def test_a_key_that_is_written_twice_is_refused_by_place(tmp_path: Path) -> None:
    (tmp_path / "twice.yaml").write_text("train:\n  steps: 5\n  steps: 6\nname: a\n")
    with pytest.raises(ValueError, match=r"twice\.yaml is not YAML: the key 'steps' is written twice.* line 3"):
        load(tmp_path / "twice.yaml")
    with pytest.raises(ValueError, match="the key 'r' is written twice"):
        load(None, ["model={r: -2, r: -4}"])
    assert read_yaml("a: {x: 1}\nb: {x: 1}") == {"a": {"x": 1}, "b": {"x": 1}}
