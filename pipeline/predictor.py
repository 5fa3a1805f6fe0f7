"""A trained network as a function: an image in, people out.

from pipeline.predictor import Predictor

people = Predictor.from_checkpoint("s3://lhrnet/runs/coco-r-2")("photo.jpg")
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from lhrnet.inference import PROTOCOLS, Protocol, Timings, predict
from lhrnet.person import Person
from pipeline import checkpoint
from pipeline.footage import read_image

Image = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Predictor:
    """A network with all that is needed to use it."""

    network: nn.Module
    """In eval mode on the device."""
    size: int
    """Short side of the input."""
    protocol: Protocol
    """Flip, scales, resolution and grouping."""
    device: str
    batch: int = 8
    """Most images at once."""
    pool: ThreadPoolExecutor | None = None
    """Threads that group several images at a time."""
    timings: Timings = field(default_factory=Timings)
    """Seconds spent so far."""

    @classmethod
    def from_checkpoint(
        cls,
        url: str,
        *,
        protocol: str | Protocol = "plain",
        size: int | None = None,
        device: str = "auto",
        batch: int = 8,
        pool: ThreadPoolExecutor | None = None,
    ) -> Self:
        """Take a network into use.

        Args:
            url: a checkpoint's or a run's folder at any storage URL, or a registered model as MLflow names it
                (`models:/<name>@champion`, with MLFLOW_TRACKING_URI set).
            protocol: name or settings.
            size: short side of the input; None: the one the network is made for.
            device: auto takes a GPU where there is one.
            batch: most images at once.
            pool: threads that group several images at a time.

        Raises:
            FileNotFoundError: there is no checkpoint at the address.
            ValueError: the checkpoint is damaged, or the protocol is unknown.
        """
        if isinstance(protocol, str) and protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {protocol!r}; allowed: {', '.join(PROTOCOLS)}")
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        network, own_size = _registered(url) if url.startswith("models:/") else _saved(url)
        return cls(
            network=network.to(device),
            size=size or own_size,
            protocol=PROTOCOLS[protocol] if isinstance(protocol, str) else protocol,
            device=device,
            batch=batch,
            pool=pool,
        )

    def __call__(self, image: Image | str | Path) -> list[Person]:
        """The people in one image, the surest first.

        Args:
            image: (H, W, 3) RGB uint8, or the path of an image file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is not an image.
        """
        return self.many([image if isinstance(image, np.ndarray) else read_image(Path(image))])[0]

    def many(self, images: Sequence[Image]) -> list[list[Person]]:
        """The people in each of several images, (H, W, 3) RGB uint8 of any sizes."""
        return predict(
            self.network,
            images,
            self.size,
            self.protocol,
            self.device,
            batch=self.batch,
            pool=self.pool,
            timings=self.timings,
        )


def _saved(url: str) -> tuple[nn.Module, int]:
    saved = checkpoint.load(url)
    return checkpoint.build_network(saved), saved.model.side


def _registered(url: str) -> tuple[nn.Module, int]:
    import mlflow.pyfunc
    from mlflow.exceptions import MlflowException

    try:
        model = mlflow.pyfunc.load_model(url).unwrap_python_model()
    except MlflowException as error:
        raise FileNotFoundError(
            f"{url} cannot be loaded from the model registry: {error.message}; "
            "set MLFLOW_TRACKING_URI, and name a version or alias that is there"
        ) from error
    return model.network, model.size
