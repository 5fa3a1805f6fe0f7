"""Every overlay rendered once a session; skipped, with the reason, where kubectl is not installed."""

import base64
import os
import re
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
    """Every overlay, MLflow and the namespaces, by name."""
    folders = {name: K8S / "overlays" / name for name in OVERLAYS}
    folders |= {"mlflow": K8S / "mlflow", "local-mlflow": K8S / "overlays" / "local-cpu" / "mlflow"}
    folders["namespaces"] = K8S / "namespaces"
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


@pytest.fixture(scope="session", params=[*OVERLAYS, "gpu-spot+kueue+monitoring+image-prepull"])
def overlay(
    request: pytest.FixtureRequest, rendered: dict[str, list[Document]], changed: Callable[..., list[Document]]
) -> list[Document]:
    """The documents of one overlay; one of them also with the optional components."""
    name, *components = request.param.split("+")
    return changed(name, *components) if components else rendered[name]


@pytest.fixture(scope="session")
def awkward() -> str:
    """A password with all that a shell or JSON would read its own meaning into."""
    return 'pa$$word `id` "two words" \'n\\n #x=1'


@pytest.fixture(scope="session")
def make_secrets(kubectl: None) -> Callable[[Path], subprocess.CompletedProcess[str]]:
    """Run the example's script on a file."""

    def run(file: Path) -> subprocess.CompletedProcess[str]:
        command = ["sh", str(K8S / "examples" / "secrets.sh"), str(file)]
        env = {**os.environ, "WITH_OBJECT_STORE": "1"}
        return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.fixture(scope="session")
def secrets(
    make_secrets: Callable[[Path], subprocess.CompletedProcess[str]],
    tmp_path_factory: pytest.TempPathFactory,
    awkward: str,
) -> dict[tuple[str, str], dict[str, str]]:
    """Every Secret that the example makes once it is filled in, by namespace and name."""
    file = tmp_path_factory.mktemp("secrets") / "secrets.env"
    example = (K8S / "examples" / "secrets.env.example").read_text()
    filled, places = re.subn(r"=change-me.*", lambda _: f"={awkward}", example)
    assert places > 3
    file.write_text(filled)
    done = make_secrets(file)
    assert done.returncode == 0, done.stderr
    made = [document for document in yaml.safe_load_all(done.stdout) if document]
    return {
        (item["metadata"]["namespace"], item["metadata"]["name"]): {
            key: base64.b64decode(value).decode() for key, value in item["data"].items()
        }
        for item in made
    }
