"""A trained network by its address, wherever it lies: a checkpoint, a run's best, or a registered model."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from torch import nn

from pipeline.checkpoints import checkpoint, package_files
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.storage.atomic import named_errors


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network with its weights and where they are from."""

    network: nn.Module
    """In eval mode, on the CPU."""
    size: int
    """Short side of the input it is made for."""
    step: int = 0
    """Training steps behind it; 0 where that is not known."""
    min_score: float | None = None
    """Score below which people are rather nobody, as an evaluation found it; None where that is not known."""
    sha256: str = ""
    """Of the checkpoint's manifest; empty for a registered model."""

    @classmethod
    def load(cls, url: str) -> Self:
        """Read a network.

        Args:
            url: a checkpoint's or a run's folder at any storage URL, or a registered model as MLflow names it
                (`models:/<name>@champion`, with MLFLOW_TRACKING_URI set).

        Raises:
            FileNotFoundError: there is none at the address.
            ValueError: the checkpoint is damaged, no MLflow server is set, or a registered model is not what was
                registered: it is verified by its manifest before any of it is used, and none of its code is run.
        """
        if not is_registered(url):
            saved = checkpoint.load(url)
            return cls(
                network=checkpoint.build_network(saved),
                size=saved.model.side,
                step=saved.step,
                min_score=checkpoint.threshold_of(saved.metrics),
                sha256=saved.sha256,
            )
        saved, served = _registered(url)
        return cls(
            network=checkpoint.build_network(saved),
            size=int(served["size"]),
            step=saved.step,
            min_score=checkpoint.threshold_of({checkpoint.THRESHOLD: served.get("min_score")}),
        )


def is_registered(url: str) -> bool:
    """Whether an address is that of a registered model, as MLflow names them."""
    return url.startswith("models:/")


def load_checkpoint(url: str) -> Checkpoint:
    """The checkpoint at a storage URL, or the one that a registered model was made of.

    Args:
        url: as for `Trained.load`.

    Raises:
        FileNotFoundError, ValueError: as `Trained.load`.
    """
    return _registered(url)[0] if is_registered(url) else checkpoint.load(url)


def _registered(url: str) -> tuple[Checkpoint, dict[str, Any]]:
    """A registered model, verified, and how it is served."""
    import mlflow
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    if not mlflow.is_tracking_uri_set():  # MLflow would make a registry of its own in this folder
        raise ValueError(f"{url} is a registered model: set MLFLOW_TRACKING_URI to the server that has it")
    client = mlflow.MlflowClient()
    with tempfile.TemporaryDirectory() as folder, named_errors(f"{folder} (TMPDIR)"):
        try:
            name, number = get_model_name_and_version(client, url)
            tags = client.get_model_version(name, number).tags
            path = Path(download_artifacts(artifact_uri=f"models:/{name}/{number}", dst_path=folder))
        except MlflowException as error:
            raise FileNotFoundError(
                f"{url} cannot be loaded from the model registry: {error.message}; "
                "set MLFLOW_TRACKING_URI, and name a version or alias that is there"
            ) from error
        saved = package_files.read(path, sha256=tags.get("manifest_sha256", ""), name=f"version {number} of {name}")
        served = json.loads((path / "artifacts" / package_files.ARTIFACTS["served"]).read_text())
    return saved, served
