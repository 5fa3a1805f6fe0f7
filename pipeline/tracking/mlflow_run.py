"""The one place that talks to MLflow about runs: finding the server, making a run, taking it up again, ending it.

These calls are made by a driver before and after the work, and fail with a clear error. What is logged during the
work goes through `pipeline.tracking.tracker`, which never fails and never waits.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mlflow import MlflowClient
from mlflow.entities import Param, RunTag
from mlflow.exceptions import MlflowException

IDENTITY = "lhrnet.run"
REQUEST_SECONDS = 8


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where runs are tracked."""

    enabled: bool = True
    """False: nothing is tracked and no server is needed."""
    uri: str = ""
    """The MLflow server; empty: MLFLOW_TRACKING_URI of the environment."""
    experiment: str = "lightweight-hrnet"
    """MLflow's experiment that the runs belong to."""
    spool: str = "/tmp/lhrnet-spool"
    """Local folder in which metrics wait until the server has them."""


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A run that exists on the server. Plain strings, so that it can be handed to workers."""

    uri: str
    experiment_id: str
    run_id: str

    @property
    def page(self) -> str:
        """The run's page in MLflow's web interface."""
        return f"{self.uri.rstrip('/')}/#/experiments/{self.experiment_id}/runs/{self.run_id}"


def connect(config: TrackingConfig) -> MlflowClient:
    """A client of a server that answers.

    Raises:
        ValueError: no address is set.
        ConnectionError: nothing answers there within a few seconds.
    """
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise ValueError(
            "no MLflow address: set MLFLOW_TRACKING_URI or tracking.uri=http://..., or tracking.enabled=false"
        )
    if uri.startswith("http"):
        try:
            with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5):
                pass
        except (urllib.error.URLError, OSError) as error:
            raise ConnectionError(
                f"MLflow at {uri} does not answer ({error}): start it, set tracking.uri to where it is, "
                "or train without it by tracking.enabled=false"
            ) from error
    return client(uri)


def client(uri: str) -> MlflowClient:
    """A client whose requests give up after seconds, not after MLflow's default of many minutes."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return MlflowClient(tracking_uri=uri)


def experiment_id(mlflow: MlflowClient, name: str) -> str:
    """The experiment's id; the experiment is made where there is none."""
    found = mlflow.get_experiment_by_name(name)
    if found is None:
        try:
            return str(mlflow.create_experiment(name))
        except MlflowException:
            found = mlflow.get_experiment_by_name(name)
            if found is None:
                raise
    return str(found.experiment_id)


def open_run(
    mlflow: MlflowClient,
    *,
    experiment: str,
    name: str,
    identity: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str] | None = None,
    parent: str = "",
) -> TrackedRun:
    """Make a run, or take up the one with the same identity.

    Parameters are written once. Where a run is taken up with other values, those are kept as tags `changed.<key>`,
    because MLflow refuses to change a parameter.

    Args:
        mlflow: from `connect`.
        experiment: name of the experiment.
        name: what people read in MLflow.
        identity: what makes it the same run, e.g. the address of its folder.
        params: the resolved config, flat.
        tags: set in either case.
        parent: id of the run it is shown under.

    Raises:
        ConnectionError: the server went away meanwhile, or refused it.
    """
    try:
        return _open_run(mlflow, experiment, name, identity, params, tags, parent)
    except MlflowException as error:
        raise ConnectionError(
            f"MLflow at {mlflow.tracking_uri} did not take the run {name} ({str(error)[:200]}); try again, or train "
            "without it by tracking.enabled=false"
        ) from error


def _open_run(
    mlflow: MlflowClient,
    experiment: str,
    name: str,
    identity: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str] | None,
    parent: str,
) -> TrackedRun:
    experiment = experiment_id(mlflow, experiment)
    quoted = identity.replace("'", "")
    found = mlflow.search_runs([experiment], f"tags.`{IDENTITY}` = '{quoted}'", max_results=1)
    values = {key: str(value) for key, value in params.items()}
    if found:
        run = found[0]
        mlflow.update_run(run.info.run_id, status="RUNNING")
        old = run.data.params
        values, changed = (
            {key: value for key, value in values.items() if key not in old},
            {f"changed.{key}": value for key, value in values.items() if old.get(key, value) != value},
        )
        tags = {**(tags or {}), **changed}
    else:
        own = {IDENTITY: quoted, **({"mlflow.parentRunId": parent} if parent else {})}
        run = mlflow.create_run(experiment, run_name=name, tags=own)
    run_id = run.info.run_id
    entries = [Param(key, value) for key, value in values.items()]
    for start in range(0, len(entries), 90):
        mlflow.log_batch(run_id, params=entries[start : start + 90])
    if tags:
        mlflow.log_batch(run_id, tags=[RunTag(key, value[:5000]) for key, value in tags.items()])
    return TrackedRun(uri=str(mlflow.tracking_uri), experiment_id=experiment, run_id=run_id)


def close_run(run: TrackedRun, status: Literal["FINISHED", "FAILED", "KILLED"]) -> bool:
    """End a run. False where the server could not be told: by then the work is done, and that is no reason to fail."""
    try:
        client(run.uri).set_terminated(run.run_id, status)
    except (MlflowException, OSError):
        return False
    return True
