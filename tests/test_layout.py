"""The house stays as it was drawn: imports run one way, files stay small, nothing of one machine is committed."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from setuptools import find_packages  # type: ignore[import-untyped]

from infra.rooms import drawing
from pipeline import ROOMS

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("lhrnet", "pipeline", "jobs", "infra")
FORBIDDEN = {
    "lhrnet": {"ray", "mlflow", "webdataset", "boto3", "botocore", "pydantic", "typer", "pipeline", "jobs", "infra"},
    "pipeline": {"jobs", "infra", "typer"},
    "jobs": {"infra"},
    "infra": set(),
}


def committed() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listing.stdout.split("\0") if name and (ROOT / name).is_file()]


def imported(source: str) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
    return names


def rooms_imported(source: str) -> set[str]:
    """Packages of `pipeline` that a module imports, however and wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("pipeline.")} & set(ROOMS)


def test_the_packages_of_the_pipeline_are_those_of_the_table_and_have_no_modules_beside_them() -> None:
    packages = {path.parent.name for path in (ROOT / "pipeline").glob("*/__init__.py")}
    assert packages == set(ROOMS)
    assert [path.name for path in (ROOT / "pipeline").glob("*.py")] == ["__init__.py"]


def test_the_table_of_packages_runs_one_way() -> None:
    order = list(ROOMS)
    upwards = {
        f"{room} -> {other}"
        for room, below in ROOMS.items()
        for other in below
        if order.index(other) >= order.index(room)
    }
    assert not upwards


@pytest.mark.parametrize("room", ROOMS)
def test_a_package_of_the_pipeline_imports_only_what_its_table_allows(room: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {', '.join(sorted(names))}"
        for path in (ROOT / "pipeline" / room).rglob("*.py")
        if (names := rooms_imported(path.read_text()) - {room, *ROOMS[room]})
    }
    assert not wrong


MODEL_FORMAT = {"release/package.py", "release/pyfunc.py", "checkpoints/trained_network.py"}
"""Modules that save or load models by MLflow's own functions."""


def test_one_package_talks_to_mlflow() -> None:
    talking = {
        path.relative_to(ROOT / package).as_posix()
        for package in ("pipeline", "jobs")
        for path in (ROOT / package).rglob("*.py")
        if "mlflow" in imported(path.read_text()) and path.parent.name != "tracking"
    }
    assert talking == MODEL_FORMAT


@pytest.mark.parametrize("package", ["lhrnet", "pipeline"])
def test_every_package_opens_with_its_question(package: str) -> None:
    silent = {
        str(path.parent.relative_to(ROOT))
        for path in (ROOT / package).rglob("__init__.py")
        if not ast.get_docstring(ast.parse(path.read_text()))
    }
    assert not silent


def test_no_two_modules_import_each_other() -> None:
    """Of all packages; what is imported for its types alone counts too."""
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
    }
    graph = TopologicalSorter({name: modules_imported(path, modules) - {name} for name, path in modules.items()})
    graph.prepare()  # raises CycleError, which names the circle


def modules_imported(path: Path, modules: Mapping[str, Path]) -> set[str]:
    """Modules of this repository that a module imports; a package's own `__init__` counts where it is named."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= within & set(modules) or {node.module}
    return names & set(modules)


def test_the_picture_of_the_packages_is_drawn_from_the_table() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert drawing() in page, "make it anew: python -m infra.rooms, between the two marks of docs/architecture.md"


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_run_one_way_from_jobs_through_pipeline_to_the_network(package: str) -> None:
    wrong = {
        f"{path.relative_to(ROOT)} imports {', '.join(sorted(names))}"
        for path in (ROOT / package).rglob("*.py")
        if (names := imported(path.read_text()) & FORBIDDEN[package])
    }
    assert not wrong


def test_the_network_room_imports_only_what_it_is_said_to_know() -> None:
    known = {"torch", "numpy", "scipy", "cv2", "pycocotools", "lhrnet"} | set(sys.stdlib_module_names)
    strange = {
        f"{path.relative_to(ROOT)}: {', '.join(sorted(names))}"
        for path in (ROOT / "lhrnet").rglob("*.py")
        if (names := imported(path.read_text()) - known)
    }
    assert not strange


def test_verbs_load_nothing_heavy_before_they_run() -> None:
    light = {"typer", "rich", "jobs", "pipeline", "lhrnet"} | set(sys.stdlib_module_names)
    heavy = set()
    for path in (ROOT / "jobs").glob("*.py"):
        top = ast.Module(body=[n for n in ast.parse(path.read_text()).body if not _is_typing_only(n)], type_ignores=[])
        names = {
            name
            for node in top.body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in imported(ast.unparse(node))
        }
        heavy |= {f"{path.name}: {name}" for name in names - light}
    assert not heavy


def _is_typing_only(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def test_no_file_of_code_is_longer_than_400_lines() -> None:
    long = {
        f"{path.relative_to(ROOT)}: {lines}"
        for path in committed()
        if path.suffix == ".py" and (lines := path.read_text().count("\n")) > 400
    }
    assert not long


def test_no_module_is_called_by_a_name_that_says_nothing() -> None:
    nameless = {"utils", "util", "helpers", "helper", "common", "misc", "base"}
    assert not {str(path.relative_to(ROOT)) for path in committed() if path.suffix == ".py" and path.stem in nameless}


def test_no_file_names_a_folder_of_one_machine_or_a_registry() -> None:
    # in an index's URL the packages lie below /simple
    machine = re.compile(r"/(?:home|root|Users)/\w+|https?://\S+/simple\b")
    found = set()
    for path in committed():
        if path.suffix in {".png", ".jpg", ".npz", ".ico"} or path == Path(__file__):
            continue
        text = path.read_text(errors="replace")
        found |= {f"{path.relative_to(ROOT)}: {match.group()}" for match in machine.finditer(text)}
    assert not found


def test_pins_carry_no_local_version_and_cover_every_dependency() -> None:
    pins = {
        line.split("==")[0].lower().replace("_", "-"): line.split("==")[1]
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    assert not [name for name, version in pins.items() if "+" in version]
    project = (ROOT / "pyproject.toml").read_text().split("[project.scripts]")[0]
    wanted = {name.lower().replace("_", "-") for name in re.findall(r'^    "([A-Za-z0-9_.-]+)', project, re.MULTILINE)}
    assert wanted
    assert not wanted - set(pins)


def test_what_is_installed_is_what_runs_and_no_servers_for_tests() -> None:
    find = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert {name.split(".")[0] for name in find_packages(str(ROOT), **find)} == {"lhrnet", "pipeline", "jobs"}


def test_tests_are_no_package_so_that_each_is_found_by_its_path() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))
