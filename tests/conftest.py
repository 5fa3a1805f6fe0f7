"""Fixtures that every test may ask for: reference data, and real servers that are shared by the whole session.

The servers start when the first test asks for one and end with the session, however it ends. Their addresses are in
the environment of the tests that ask for them, and of no other test.
"""

import functools
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.services import BUCKET, RAY_SETTINGS
from infra.stack import Stack
from pipeline.config.tree import Config, parse
from pipeline.scenes.synthetic import SceneConfig, write_coco
from pipeline.sharding.plan import make_plans
from pipeline.sharding.write import write_split

# Ray reads this once, when it is imported, and modules that import it are collected before the stack starts
os.environ["RAY_AUTH_MODE"] = RAY_SETTINGS["RAY_AUTH_MODE"]
REPOSITORY = Path(__file__).resolve().parent.parent
SPLITS = {"train": "train2017", "val": "val2017", "test": "test-dev2017"}
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


@pytest.fixture(scope="session")
def lsp_mini() -> Path:
    """Real sports photos with 14 joints in COCO's layout."""
    return _folder("LSP_MINI", "../shared/data/lsp-mini")


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


@pytest.fixture(scope="session")
def make_shards(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Draws a data set and shards it; the same arguments give the same folder. Not to be changed: take a copy."""

    @functools.cache
    def make_shards(*, train: int = 2, val: int = 4, test: int = 0, per_shard: int = 128, size: int = 96) -> Path:
        """The root of the shards: train2017, val2017 and, where there are test images, test-dev2017."""
        root = tmp_path_factory.mktemp("drawn")
        drawing = SceneConfig(size=size)
        write_coco(root / "coco", train=train, val=val, test=test, seed=5, config=drawing, workers=1)
        splits = ["train2017", "val2017", *(["test-dev2017"] if test else [])]
        for plan in make_plans(str(root / "coco"), str(root / "shards"), splits, per_shard=per_shard):
            write_split(plan)
        return root / "shards"

    return make_shards


@pytest.fixture
def run_config(tmp_path: Path) -> Callable[..., Config]:
    """Composes the config of a small run on a folder of shards, below the test's own folder and without tracking."""

    def run_config(shards: Path | str, **sections: Any) -> Config:
        """The smallest network on inputs of 64 pixels; a section that is given is laid over the base's."""
        data = {name: f"{shards}/{split}" for name, split in SPLITS.items()}
        base: dict[str, Any] = {
            "name": "try",
            "storage": str(tmp_path / "runs"),
            "data": data,
            "model": {"r": -4, "input_size": 64},
            "stream": {"lanes": 4, "loader_workers": 0},
            "tracking": {"enabled": False},
        }
        laid = {
            name: {**base.get(name, {}), **value} if isinstance(value, dict) else value
            for name, value in sections.items()
        }
        return parse(base | laid)

    return run_config
