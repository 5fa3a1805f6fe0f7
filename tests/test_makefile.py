"""`make setup` builds an environment that is whole or anew; names with spaces are one word; clean takes its own."""

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
  "-m infra.demo" | "-m benchmarks") for word; do printf '%s\\n' "$word"; done > asked ;;
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


def make(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "PYTHON=./python", *arguments]
    return subprocess.run(command, cwd=checkout, env=env, capture_output=True, text=True, check=False, timeout=60)


def setup(checkout: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return make(checkout, "setup", *options)


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


def test_names_with_spaces_and_quotes_are_one_word_each(checkout: Path) -> None:
    folders = {"VENV": "my venv", "LOCAL": "it's my local", "COCO": 'my "coco" & all'}
    asked = [f"{name}={value}" for name, value in folders.items()]
    for verb in ("demo", "demo-search"):
        done = make(checkout, verb, "KEEP=1", *asked)
        assert done.returncode == 0, done.stderr
        words = (checkout / "asked").read_text().splitlines()
        assert words[words.index("--dir") + 1] == folders["LOCAL"]
        assert words[words.index("--coco") + 1] == folders["COCO"]
        assert "--keep" in words
    for verb, name in (("bench", "bench.json"), ("gpu", "gpu")):
        assert make(checkout, verb, *asked).returncode == 0
        words = (checkout / "asked").read_text().splitlines()
        assert words[words.index("--out") + 1] == f"{folders['LOCAL']}/{name}"
    assert len((checkout / "pip.log").read_text().splitlines()) == 1, "it is set up once"


def test_clean_takes_what_was_made_and_no_other_folder(checkout: Path) -> None:
    for neighbour in ("my", "local", "venv"):
        (checkout / neighbour).mkdir()
        (checkout / neighbour / "precious").touch()
    folders = ("VENV=my venv", "LOCAL=my local")
    assert make(checkout, "demo", *folders).returncode == 0
    assert (checkout / "my local").is_dir()
    assert make(checkout, "clean", *folders).returncode == 0
    assert not (checkout / "my venv").exists()
    assert not (checkout / "my local").exists()
    assert all((checkout / neighbour / "precious").exists() for neighbour in ("my", "local", "venv"))


@pytest.mark.parametrize("name", ["LOCAL", "VENV"])
@pytest.mark.parametrize("folder", ["mine", "..", ".", "mine/"])
def test_a_folder_that_make_did_not_make_is_never_removed(checkout: Path, name: str, folder: str) -> None:
    (checkout / "mine").mkdir()
    (checkout / "mine" / "precious").touch()
    for verb in ("demo", "clean"):
        done = make(checkout, verb, f"{name}={folder}")
        assert (checkout / "mine" / "precious").exists()
        assert (checkout / "Makefile").exists()
    assert done.returncode != 0
    assert f"{folder} was not made by make" in done.stderr


def test_the_folders_by_default_are_taken_whoever_made_them(checkout: Path) -> None:
    assert setup(checkout).returncode == 0
    (checkout / ".local" / "drawn").mkdir(parents=True)
    assert make(checkout, "clean").returncode == 0
    assert not (checkout / ".venv").exists()
    assert not (checkout / ".local").exists()


def test_make_works_in_its_own_folder_alone(checkout: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "build").mkdir(parents=True)
    done = make(elsewhere, "-f", str(checkout / "Makefile"), "clean")
    assert done.returncode != 0
    assert (elsewhere / "build").is_dir()
    assert make(elsewhere, "-C", str(checkout), "clean").returncode == 0
