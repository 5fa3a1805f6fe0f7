"""The MLflow server: a client that gives up soon, its errors as one line, and what all callers ask of it alike.

Nothing else in the pipeline imports MLflow, except what saves and loads models in MLflow's own format.
"""

import os
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.storage.address import shown
from pipeline.storage.atomic import named_errors
from pipeline.storage.cache import is_full

__all__ = ["MlflowClient", "MlflowException", "TrackingError", "client", "mlflow_errors"]

REQUEST_SECONDS = 8
METRICS_PER_REQUEST = 900
"""MLflow takes at most 1000 in one request."""


class TrackingError(ConnectionError):
    """MLflow, or its artifact store, did not do what was asked of it."""

    status = 0
    """HTTP status of MLflow's error; 0 where the error was another."""


@contextmanager
def mlflow_errors(what: str, remedy: str = "") -> Iterator[None]:
    """Turn the errors of MLflow and of its artifact store into one line: `MLflow could not {what}: ...`.

    Args:
        what: what was asked, e.g. `log metrics of run 5d1c`.
        remedy: what the user can do, where there is anything to say.

    Raises:
        TrackingError: MLflow failed inside the block.
        OSError: the disk of this machine is full.
    """
    try:
        yield
    except TrackingError:  # of a block within this one
        raise
    except (MlflowException, OSError) as error:
        if isinstance(error, OSError) and is_full(error):  # of this machine's disk: no fault of MLflow's
            raise
        line = shown((str(error).splitlines() or [type(error).__name__])[0])[:300]
        failed = TrackingError(f"MLflow could not {what}: {line}{f'; {remedy}' if remedy else ''}")
        failed.status = error.get_http_status_code() if isinstance(error, MlflowException) else 0
        raise failed from error


def client(uri: str) -> MlflowClient:
    """A client whose requests give up after seconds, not after MLflow's default of many minutes."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(REQUEST_SECONDS))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    return MlflowClient(tracking_uri=uri)


def ask_health(uri: str) -> None:
    """Ask whether anybody is there. Who it is, and whether we may come in, MLflow's own client finds out.

    A proxy that asks for a password first, a server without /health and a certificate of one's own authority are no
    reason to give up: MLflow's client knows MLFLOW_TRACKING_USERNAME, MLFLOW_TRACKING_TOKEN and its settings for TLS.

    Raises:
        OSError, ValueError, http.client.HTTPException: it does not answer, or the address is none.
    """
    try:
        with urllib.request.urlopen(f"{uri.rstrip('/')}/health", timeout=5):
            pass
    except urllib.error.HTTPError:
        return
    except urllib.error.URLError as error:
        if not isinstance(error.reason, ssl.SSLError):
            raise


def probe(uri: str) -> None:
    """Ask the server as a run does: whether it is up, and something that takes an allowed host name and a password.

    Raises:
        TrackingError: it is up and refuses; `status` tells why.
        OSError, ValueError, http.client.HTTPException: it does not answer, or the address is none.
    """
    ask_health(uri)
    with mlflow_errors("look up an experiment"):
        client(uri).get_experiment_by_name("Default")


def log_metrics(mlflow: MlflowClient, run_id: str, metrics: Iterable[Metric]) -> None:
    """Log figures with a run, any number of them.

    Raises:
        MlflowException: the server refused, or did not answer.
    """
    waiting = list(metrics)
    for start in range(0, len(waiting), METRICS_PER_REQUEST):
        mlflow.log_batch(run_id, metrics=waiting[start : start + METRICS_PER_REQUEST])


def log_files(mlflow: MlflowClient, run_id: str, folder: str, content: Mapping[str, bytes]) -> None:
    """Log files, by their names, below a folder of a run's artifacts.

    Raises:
        TrackingError: MLflow or its store did not take them.
    """
    with tempfile.TemporaryDirectory() as place, named_errors(f"{place} (TMPDIR)"):
        for name, data in content.items():
            path = Path(place, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        log_folder(mlflow, run_id, folder, Path(place))


def log_folder(mlflow: MlflowClient, run_id: str, folder: str, place: Path) -> None:
    """Log a local folder as a folder of a run's artifacts.

    Raises:
        TrackingError: MLflow or its store did not take it.
    """
    with mlflow_errors(f"store artifacts of run {run_id}"):
        mlflow.log_artifacts(run_id, str(place), folder)


def download_artifacts(mlflow: MlflowClient, run_id: str, folder: str, place: str | Path) -> Path:
    """Download a folder of a run's artifacts.

    Returns:
        Where it lies below `place`.

    Raises:
        TrackingError: MLflow or its store did not give it.
    """
    with mlflow_errors(f"read {folder} of run {run_id}"):
        return Path(mlflow.download_artifacts(run_id, folder, str(place)))


def delete_artifacts(mlflow: MlflowClient, run_id: str, folder: str, *, keep: Iterable[str]) -> None:
    """Delete the files that lie directly in a folder of a run's artifacts, except those to keep, by their names there.

    Raises:
        TrackingError: MLflow or its store did not do it.
    """
    kept = {f"{folder}/{name}" for name in keep}
    with mlflow_errors(f"delete artifacts of run {run_id}"):
        stale = [file.path for file in mlflow.list_artifacts(run_id, folder) if file.path not in kept]
        if stale:
            place = mlflow.get_run(run_id).info.artifact_uri
            # a client has no public way to remove one file of a run
            repository = get_artifact_repository(place, tracking_uri=mlflow.tracking_uri)
            for path in stale:
                repository.delete_artifacts(path)
