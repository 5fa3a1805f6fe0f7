"""`python -m benchmarks` gathers what measures, keeps what could be measured, and writes it down."""

import json
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The command's module with three benchmarks in place of the real ones; the second cannot run."""
    monkeypatch.syspath_prepend(str(REPOSITORY))  # measurements are not installed
    module = import_module("benchmarks.__main__")
    monkeypatch.setattr(module, "modules", lambda: ["first", "second", "third"])
    monkeypatch.setattr(module, "_load", lambda name: SimpleNamespace(run=lambda: measure(name)))
    yield module
    for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
        del sys.modules[name]


def measure(name: str) -> list[dict[str, Any]]:
    if name == "second":
        raise RuntimeError("no GPU here")
    return [{"name": f"{name} case", "median": 1.25, "unit": "ms", "ratio": 3.0, "notes": "times as fast"}]


def start(module: ModuleType, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["benchmarks", *arguments])
    return int(module.main())


def test_rows_of_all_are_shown_and_written(
    command: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "folder/bench.json"
    assert start(command, monkeypatch, "first", "third", "--out", str(out)) == 0
    written = json.loads(out.read_text())
    assert [row["benchmark"] for row in written["rows"]] == ["first", "third"]
    assert written["rows"][0]["median"] == 1.25
    assert written["machine"]["cores"] >= 1
    shown = capsys.readouterr()
    assert "first case" in shown.out
    assert "third case" in shown.out
    assert "2/2 third" in shown.err


def test_one_that_fails_is_named_and_leaves_the_others(
    command: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(command, monkeypatch) == 1
    shown = capsys.readouterr()
    assert "third case" in shown.out
    assert "second failed: RuntimeError: no GPU here" in shown.err


def test_an_unknown_name_is_refused_with_the_choices(
    command: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        start(command, monkeypatch, "fourth")
    assert refused.value.code == 2
    assert "no benchmark 'fourth'; there are first, second, third" in capsys.readouterr().err


def test_modules_are_those_with_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(REPOSITORY))
    names = import_module("benchmarks.__main__").modules()
    assert {"losses", "scoring", "targets"} <= set(names)
    assert not {"timing", "__main__"} & set(names)
