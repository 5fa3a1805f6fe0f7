"""Every overlay rendered once a session; skipped, with the reason, where kubectl is not installed."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.manifests import Document, render

K8S = Path(__file__).resolve().parents[2] / "k8s"
OVERLAYS = ("local-cpu", "gpu-ondemand", "gpu-spot", "gpu-mixed")


@pytest.fixture(scope="session")
def kubectl() -> None:
    """Skip where there is none."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed; it renders the manifests")


@pytest.fixture(scope="session")
def rendered(kubectl: None) -> dict[str, list[Document]]:
    """Every overlay, and MLflow, by name."""
    folders = {name: K8S / "overlays" / name for name in OVERLAYS} | {"mlflow": K8S / "mlflow"}
    return {name: render(folder) for name, folder in folders.items()}


@pytest.fixture(scope="session")
def changed(kubectl: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[Document]]:
    """Render an overlay with further components, or with anything else that a kustomization may say."""

    def render_changed(overlay: str, *components: str, **more: Any) -> list[Document]:
        folder = tmp_path_factory.mktemp("overlay")
        relative = Path(os.path.relpath(K8S, folder.resolve()))
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [str(relative / "overlays" / overlay)],
            "components": [str(relative / "components" / name) for name in components],
            **more,
        }
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return render(folder)

    return render_changed


@pytest.fixture(scope="session", params=[*OVERLAYS, "gpu-mixed+kueue+monitoring"])
def overlay(
    request: pytest.FixtureRequest, rendered: dict[str, list[Document]], changed: Callable[..., list[Document]]
) -> list[Document]:
    """The documents of one overlay; one of them also with the optional components."""
    name, *components = request.param.split("+")
    return changed(name, *components) if components else rendered[name]


@pytest.fixture(scope="session")
def secrets(kubectl: None) -> dict[tuple[str, str], set[str]]:
    """Keys of every Secret that the example makes, by namespace and name."""
    done = subprocess.run(
        ["sh", str(K8S / "examples" / "secrets.sh"), str(K8S / "examples" / "secrets.env.example")],
        env={**os.environ, "WITH_OBJECT_STORE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    made = [document for document in yaml.safe_load_all(done.stdout) if document]
    return {(item["metadata"]["namespace"], item["metadata"]["name"]): set(item["data"]) for item in made}
