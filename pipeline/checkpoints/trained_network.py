"""A trained network by its address, wherever it lies: a checkpoint, a run's best, or a registered model."""

from dataclasses import dataclass
from typing import Self

from torch import nn

from pipeline.checkpoints import checkpoint


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A network with its weights and where they are from."""

    network: nn.Module
    """In eval mode, on the CPU (a registered model: on a GPU where there is one)."""
    size: int
    """Short side of the input it is made for."""
    step: int = 0
    """Training steps behind it; 0 where that is not known."""
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
            ValueError: the checkpoint is damaged, or no MLflow server is set.
        """
        if url.startswith("models:/"):
            return cls._registered(url)
        saved = checkpoint.load(url)
        return cls(network=checkpoint.build_network(saved), size=saved.model.side, step=saved.step, sha256=saved.sha256)

    @classmethod
    def _registered(cls, url: str) -> Self:
        import mlflow.pyfunc
        from mlflow.exceptions import MlflowException

        if not mlflow.is_tracking_uri_set():  # MLflow would make a registry of its own in this folder
            raise ValueError(f"{url} is a registered model: set MLFLOW_TRACKING_URI to the server that has it")
        try:
            model = mlflow.pyfunc.load_model(url).unwrap_python_model()
        except MlflowException as error:
            raise FileNotFoundError(
                f"{url} cannot be loaded from the model registry: {error.message}; "
                "set MLFLOW_TRACKING_URI, and name a version or alias that is there"
            ) from error
        return cls(network=model.network, size=model.size)
