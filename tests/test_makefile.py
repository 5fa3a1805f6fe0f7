"""`make setup` builds an environment that is whole or is built anew."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FAKE_PYTHON = """#!/bin/sh
# stands in for Python: makes a folder for `-m venv` and notes what pip is asked
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") echo "$@" >> pip.log; test ! -e registry-is-down ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    fake = tmp_path / "python"
    fake.write_text(FAKE_PYTHON)
    fake.chmod(0o755)
    return tmp_path


def setup(checkout: Path, *options: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "setup", "PYTHON=./python", *options]
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_a_half_made_environment_is_built_anew(checkout: Path) -> None:
    (checkout / "registry-is-down").touch()
    assert setup(checkout).returncode != 0
    assert not (checkout / ".venv" / ".stamp").exists()
    (checkout / ".venv" / "half-written").touch()
    (checkout / "registry-is-down").unlink()
    assert setup(checkout).returncode == 0
    assert (checkout / ".venv" / ".stamp").exists()
    assert not (checkout / ".venv" / "half-written").exists()


def test_a_second_setup_does_nothing_until_the_pins_change(checkout: Path) -> None:
    for _ in range(2):
        assert setup(checkout).returncode == 0
    assert len((checkout / "pip.log").read_text().splitlines()) == 1
    pins = checkout / "constraints.txt"
    os.utime(pins, (pins.stat().st_atime, (checkout / ".venv" / ".stamp").stat().st_mtime + 10))
    assert setup(checkout).returncode == 0
    assert len((checkout / "pip.log").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("options", "page"), [((), None), (("TORCH_PAGE=https://wheels.example/cpu",), "https://wheels.example/cpu")]
)
def test_a_page_of_cpu_builds_is_used_only_where_it_is_named(
    checkout: Path, options: tuple[str, ...], page: str | None
) -> None:
    assert setup(checkout, *options).returncode == 0
    asked = (checkout / "pip.log").read_text().split()
    assert (asked[asked.index("--find-links") + 1] if "--find-links" in asked else None) == page
    assert "constraints.txt" in asked


def test_a_missing_python_is_named_with_the_way_out(checkout: Path) -> None:
    done = subprocess.run(
        ["make", "setup", "PYTHON=python9.9"], cwd=checkout, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode != 0
    assert "there is no python9.9 here; name one: make setup PYTHON=" in done.stdout
