"""Fixtures that every test may ask for: reference data, and real servers that are shared by the whole session.

The servers start when the first test asks for one and end with the session, however it ends. Their addresses are in
the environment of the tests that ask for them, and of no other test.
"""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.services import BUCKET, RAY_SETTINGS
from infra.stack import Stack

# Ray reads this once, when it is imported, and modules that import it are collected before the stack starts
os.environ["RAY_AUTH_MODE"] = RAY_SETTINGS["RAY_AUTH_MODE"]
REPOSITORY = Path(__file__).resolve().parent.parent
SERVERS = ("s3_server", "mlflow_server", "ray_cluster", "stack")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for a shared server `stack`, however far below, so that `make quick` leaves out all of it."""
    for item in items:
        if set(SERVERS) & set(getattr(item, "fixturenames", ())):
            item.add_marker("stack")


def _folder(variable: str, default: str) -> Path:
    path = Path(os.environ.get(variable, REPOSITORY / default))
    if not path.is_dir():
        pytest.skip(f"{path} is not here; set {variable} to run this test")
    return path


@pytest.fixture(scope="session")
def golden() -> Path:
    """Reference vectors of the field's code."""
    return _folder("LHRNET_GOLDEN", "../shared/golden")


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """A few real COCO images in COCO's own layout."""
    return _folder("COCO_MINI", "../shared/data/coco-mini")


@pytest.fixture(scope="session", autouse=True)
def _artifacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where MLflow on a bare SQLite file puts artifacts; by itself it would take ./mlruns."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("_MLFLOW_SERVER_ARTIFACT_ROOT", str(tmp_path_factory.mktemp("artifacts")))
        yield


@pytest.fixture(scope="session")
def _servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    before = dict(os.environ)
    stack = Stack(tmp_path_factory.mktemp("stack"))
    yield stack
    if stack.status()["ray"] != "off":
        import ray

        ray.shutdown()
    stack.stop(patience_s=0)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def s3_server(_servers: Stack) -> Stack:
    """A running object store, its address in the environment. Most tests want `s3`, a fresh place in it."""
    _servers.start(["s3"], guarded=True)
    os.environ.update(_servers.env)
    return _servers


@pytest.fixture(scope="session")
def mlflow_server(s3_server: Stack) -> Stack:
    """A running MLflow server (and object store), its address in MLFLOW_TRACKING_URI."""
    return s3_server.start(["mlflow"], guarded=True)


@pytest.fixture(scope="session")
def ray_cluster(s3_server: Stack) -> Stack:
    """A running Ray head of 4 logical CPUs (and object store): `ray.init` is done, and RAY_ADDRESS takes jobs."""
    import ray

    s3_server.start(["ray"], guarded=True)
    # ray.init would take the job server's address for the cluster's
    del os.environ["RAY_ADDRESS"]
    ray.init(address=s3_server.ray_address, namespace="tests", logging_level="warning")
    os.environ["RAY_ADDRESS"] = s3_server.env["RAY_ADDRESS"]
    return s3_server


@pytest.fixture(scope="session")
def stack(mlflow_server: Stack, ray_cluster: Stack) -> Stack:
    """Object store, MLflow and Ray, all three."""
    return ray_cluster


@pytest.fixture
def s3(s3_server: Stack) -> str:
    """URL of a fresh, empty folder in the running object store; its address and keys are in the environment."""
    return f"s3://{BUCKET}/tests/{uuid.uuid4().hex[:12]}"


@pytest.fixture(autouse=True)
def _environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide running servers from tests that did not ask for one, so that no test leans on another's servers."""
    if not set(SERVERS) & set(request.fixturenames):
        for name in list(os.environ):
            if name.startswith(("AWS_", "MLFLOW_TRACKING")) or name == "RAY_ADDRESS":
                monkeypatch.delenv(name)
