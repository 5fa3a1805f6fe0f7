"""No setting that holds an address takes a password in it, and none is printed."""

from typing import Any

import pytest

from pipeline.cluster.connect import connect_to_ray
from pipeline.config.tree import parse
from pipeline.storage import s3
from pipeline.storage.address import refuse_user, shown
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.mlflow_run import TrackedRun, connect


def test_an_address_with_a_user_is_refused_and_its_name_alone_is_told() -> None:
    for address in ("http://me:S3cret@host", "https://S3cret@host:9/x", "postgresql://me:S3cret@db/mlflow"):
        with pytest.raises(ValueError, match="NAME carries a user or a password") as told:
            refuse_user("NAME", address, "do this")
        assert "S3cret" not in str(told.value)
    for address in ("http://host/a@b", "s3://bucket/me@host/x", "folder/a@b", "sqlite:////tmp/x@y.db", ""):
        refuse_user("NAME", address, "do this")


def test_a_message_shows_no_password() -> None:
    assert shown("no answer from http://me:S3cret@host/x?a=b@c") == "no answer from http://***@host/x?a=b@c"
    run = TrackedRun(uri="postgresql://me:S3cret@db/mlflow", experiment_id="1", run_id="2")
    assert "S3cret" not in run.page


@pytest.mark.parametrize("name", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
def test_the_stores_address_takes_no_password(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://me:S3cret@127.0.0.1:1")
    with pytest.raises(ValueError, match=rf"{name} carries.*AWS_ACCESS_KEY_ID") as told:
        s3.size("s3://bucket/x")
    assert "S3cret" not in str(told.value)


def test_the_clusters_address_takes_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://me:S3cret@127.0.0.1:1")
    with pytest.raises(ValueError, match="RAY_ADDRESS carries") as told:
        connect_to_ray(otherwise="go home")
    assert "S3cret" not in str(told.value)


@pytest.mark.parametrize(
    "key", ["storage", "data.test", "train.init_from", "train.backbone_from", "tracking.uri", "stream.cache"]
)
def test_a_config_takes_no_password_which_every_checkpoint_would_hold(key: str) -> None:
    section, _, name = key.rpartition(".")
    tree: dict[str, Any] = {"name": "a", "storage": "runs", "data": {"train": "t", "val": "v"}}
    (tree.setdefault(section, {}) if section else tree)[name] = "https://me:S3cret@host/x"
    with pytest.raises(ValueError, match=rf"config key {key} carries a user or a password") as told:
        parse(tree)
    assert "S3cret" not in str(told.value)


def test_a_databases_password_is_taken_from_the_environment_and_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nodatabase://me:S3cret@db/mlflow")
    with pytest.raises(ValueError, match=r"nodatabase://\*\*\*@db") as told:
        connect(TrackingConfig())
    assert "S3cret" not in str(told.value)
