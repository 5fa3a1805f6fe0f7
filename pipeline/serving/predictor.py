"""A trained network as a function: an image in, people out.

from pipeline.serving.predictor import Predictor

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
from pipeline.checkpoints.trained_network import Trained
from pipeline.serving.onnx_network import OnnxNetwork, is_onnx
from pipeline.serving.sources import read_image

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
        url: str | Path,
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
                (`models:/<name>@champion`, with MLFLOW_TRACKING_URI set), or an exported network's .onnx file.
            protocol: name or settings.
            size: short side of the input; None: the one the network is made for.
            device: cpu, cuda, cuda:N, or auto, which takes a GPU where there is one; an exported network runs on the
                CPU.
            batch: most images at once.
            pool: threads that group several images at a time.

        Raises:
            FileNotFoundError: there is no checkpoint at the address.
            ValueError: the checkpoint or file is damaged, the protocol or device is unknown or not there, or a GPU is
                asked for a .onnx file.
        """
        url = str(url)
        if isinstance(protocol, str) and protocol not in PROTOCOLS:
            raise ValueError(f"protocol is {protocol!r}; allowed: {', '.join(PROTOCOLS)}")
        if is_onnx(url):
            if device not in ("auto", "cpu"):
                raise ValueError(f"device is {device!r}; an exported network runs on the CPU: leave it out")
            exported = OnnxNetwork.load(url)
            network: nn.Module = exported
            device, own_size = "cpu", exported.card.size
        else:
            device = _device(device)
            trained = Trained.load(url)
            network, own_size = trained.network, trained.size
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


def _device(asked: str) -> str:
    """What torch calls the device that was asked for."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there = ["cpu", *(["cuda", *gpus] if gpus else [])]
    if asked == "auto":
        return "cuda" if "cuda" in there else "cpu"
    if asked not in there:
        raise ValueError(f"device is {asked!r}; there are here: auto, {', '.join(there)}")
    return asked
