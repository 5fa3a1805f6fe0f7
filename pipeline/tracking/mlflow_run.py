"""A run in MLflow: finding the server, creating a run, resuming it, ending it.

A driver makes these calls before and after the work, and they fail with a clear error. What is logged during the work
goes through `pipeline.tracking.tracker`, which never fails and never waits.
"""

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Literal

from mlflow.entities import Param, Run, RunTag

from pipeline.storage.address import refuse_user, shown
from pipeline.tracking.client import MlflowClient, MlflowException, ask_health, client, mlflow_errors
from pipeline.tracking.config import TrackingConfig

IDENTITY = "lhrnet.run"
"""Tag that says which run it is, whatever its name and id."""
PARAMS_PER_REQUEST = 90
"""MLflow takes at most 100 in one request."""
LONGEST_TAG = 5000
Status = Literal["FINISHED", "FAILED", "KILLED"]
PAUSES = (0.5, 2.0)
"""Seconds before each further try to end a run."""
END_SECONDS = 15.0
"""After so many no further try is made."""


@dataclass(frozen=True, kw_only=True)
class TrackedRun:
    """A run that exists on the server. Plain strings, so that it can be handed to workers."""

    uri: str
    experiment_id: str
    run_id: str

    @property
    def page(self) -> str:
        """The run's page in MLflow's web interface."""
        return f"{shown(self.uri).rstrip('/')}/#/experiments/{self.experiment_id}/runs/{self.run_id}"


def connect(config: TrackingConfig) -> MlflowClient:
    """Connect to the server that the settings or the environment name.

    Returns:
        A client of a server that answers.

    Raises:
        ValueError: no address is set, or one that MLflow cannot use.
        ConnectionError: nothing answers there within a few seconds.
    """
    uri = config.uri or os.environ.get("MLFLOW_TRACKING_URI", "")
    if not uri:
        raise ValueError(
            "no MLflow address: set MLFLOW_TRACKING_URI or tracking.uri=http://..., or tracking.enabled=false"
        )
    if config.uri or uri.startswith("http"):  # a database's address may need one: that is taken from the environment
        instead = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        refuse_user("the MLflow address", uri, instead if uri.startswith("http") else "set MLFLOW_TRACKING_URI")
    if uri.startswith("http"):
        try:
            ask_health(uri)
        except (OSError, ValueError, HTTPException) as error:
            raise ConnectionError(
                f"MLflow at {uri} does not answer ({error}): start it, set tracking.uri to where it is, "
                "or train without it by tracking.enabled=false"
            ) from error
    try:
        made = client(uri)
    except (MlflowException, ImportError, ValueError) as error:
        said = shown((str(error).strip().splitlines() or [type(error).__name__])[0])[:200]
        raise ValueError(
            f"tracking.uri (or MLFLOW_TRACKING_URI) is {shown(uri)!r}, which MLflow cannot use: {said}; it should look "
            "like http://host:port"
        ) from error
    if uri.startswith("http"):
        with mlflow_errors(f"be reached at {uri}", "check the address, and the name and password that it asks for"):
            made.search_experiments(max_results=1)
    return made


def experiment_id(mlflow: MlflowClient, name: str) -> str:
    """The id of an experiment; creates it if there is none.

    Raises:
        ValueError: it was deleted.
        MlflowException: the server did not answer, or refused it.
    """
    found = _known_experiment(mlflow, name)
    if not found:
        try:
            return str(mlflow.create_experiment(name))
        except MlflowException:
            found = _known_experiment(mlflow, name)
            if not found:
                raise
    return found


def _known_experiment(mlflow: MlflowClient, name: str) -> str:
    """The id of an experiment; empty where there is none.

    Raises:
        ValueError: it was deleted: nothing can be added to it, and its name is taken.
    """
    found = mlflow.get_experiment_by_name(name)
    if found is None:
        return ""
    if found.lifecycle_stage != "active":
        raise ValueError(
            f"MLflow's experiment {name!r} is deleted: restore it by `mlflow experiments restore --experiment-id "
            f"{found.experiment_id}`, or take another by tracking.experiment=NAME"
        )
    return str(found.experiment_id)


def find_run(mlflow: MlflowClient, experiment: str, identity: str) -> TrackedRun | None:
    """The run of an identity in the experiment of a name; None where there is none. Creates nothing.

    Raises:
        ValueError: the experiment was deleted.
        TrackingError: the server did not answer.
    """
    with mlflow_errors("look up a run"):
        known = _known_experiment(mlflow, experiment)
        run = _run_of(mlflow, known, identity) if known else None
        return _tracked(mlflow, run) if run else None


def known_run(mlflow: MlflowClient, run_id: str) -> TrackedRun:
    """The run of an id.

    Raises:
        TrackingError: there is none, or the server did not answer.
    """
    with mlflow_errors(f"look up run {run_id}"):
        return _tracked(mlflow, mlflow.get_run(run_id))


def create_ended_run(mlflow: MlflowClient, *, experiment: str, name: str, identity: str) -> TrackedRun:
    """Create a run that nothing works on: for results of a training that was not tracked.

    Raises:
        TrackingError: the server did not take it.
    """
    with mlflow_errors(f"create run {name}"):
        run = _create(mlflow, experiment_id(mlflow, experiment), name, identity)
        _end(mlflow, run.info.run_id, "FINISHED")
        return _tracked(mlflow, run)


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
    """Create a run, or resume the one with the same identity.

    Parameters are written once. Where a run is resumed with other values, those are kept as tags `changed.<key>`,
    because MLflow refuses to change a parameter.

    Args:
        mlflow: from `connect`.
        experiment: name of the experiment.
        name: what people read in MLflow.
        identity: what makes it the same run, e.g. the URL of its folder.
        params: the resolved config, flat.
        tags: set in either case.
        parent: id of the run it is shown under.

    Raises:
        TrackingError: the server did not answer, or refused it.
    """
    remedy = "try again, or train without it by tracking.enabled=false"
    with mlflow_errors(f"open the run {name} at {shown(mlflow.tracking_uri)}", remedy):
        place = experiment_id(mlflow, experiment)
        values = {key: str(value) for key, value in params.items()}
        run = _run_of(mlflow, place, identity)
        try:
            if run:
                mlflow.update_run(run.info.run_id, status="RUNNING")
                old = run.data.params
                changed = {f"changed.{key}": value for key, value in values.items() if old.get(key, value) != value}
                values = {key: value for key, value in values.items() if key not in old}
                tags = {**(tags or {}), **changed}
            else:
                run = _create(mlflow, place, name, identity, parent)
            entries = [Param(key, value) for key, value in values.items()]
            for start in range(0, len(entries), PARAMS_PER_REQUEST):
                mlflow.log_batch(run.info.run_id, params=entries[start : start + PARAMS_PER_REQUEST])
            if tags:
                cut = [RunTag(key, value[:LONGEST_TAG]) for key, value in tags.items()]
                mlflow.log_batch(run.info.run_id, tags=cut)
            return _tracked(mlflow, run)
        except BaseException:
            _end_what_was_begun(mlflow, run, place, identity)
            raise


def close_run(run: TrackedRun, status: Status) -> bool:
    """End a run. False if the server did not answer: by then the work is done, and that is no reason to fail."""
    return _end(client(run.uri), run.run_id, status)


def _end(mlflow: MlflowClient, run_id: str, status: Status) -> bool:
    """End a run, in several tries: one that is not ended is shown as running for ever."""
    patience = time.monotonic() + END_SECONDS
    for pause in (*PAUSES, END_SECONDS):
        try:
            mlflow.set_terminated(run_id, status)
            return True
        except (MlflowException, OSError):
            if time.monotonic() + pause > patience:
                break
            time.sleep(pause)
    return False


def _end_what_was_begun(mlflow: MlflowClient, run: Run | None, experiment: str, identity: str) -> None:
    """End a run as failed that could not be opened; also one that was created though the answer was an error."""
    with suppress(MlflowException, OSError):
        run = run or _run_of(mlflow, experiment, identity)
        if run:
            _end(mlflow, run.info.run_id, "FAILED")


def _run_of(mlflow: MlflowClient, experiment: str, identity: str) -> Run | None:
    found = mlflow.search_runs([experiment], f"tags.`{IDENTITY}` = '{_quotable(identity)}'", max_results=1)
    return found[0] if found else None


def _create(mlflow: MlflowClient, experiment: str, name: str, identity: str, parent: str = "") -> Run:
    tags = {IDENTITY: _quotable(identity), **({"mlflow.parentRunId": parent} if parent else {})}
    return mlflow.create_run(experiment, run_name=name, tags=tags)


def _quotable(identity: str) -> str:
    """As it stands in a tag and in a search, whose language has no way to write a quote within a text."""
    return identity.replace("'", "")


def _tracked(mlflow: MlflowClient, run: Run) -> TrackedRun:
    return TrackedRun(uri=str(mlflow.tracking_uri), experiment_id=str(run.info.experiment_id), run_id=run.info.run_id)
