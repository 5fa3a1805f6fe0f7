"""The trained network at a URL, as a `lhrnet.Predictor`.

from pipeline.serving.predictor import load_predictor

people = load_predictor("s3://lhrnet/runs/coco-r-2")("photo.jpg")
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import nn

from lhrnet.inference import InferenceProtocol, protocol_named
from lhrnet.predictor import Predictor
from pipeline.checkpoints.trained_network import Trained
from pipeline.serving.engines import ENGINES, engine_named
from pipeline.serving.onnx_network import is_onnx
from pipeline.storage import store


def load_predictor(
    url: str | Path,
    *,
    protocol: str | InferenceProtocol = "plain",
    size: int | None = None,
    device: str = "auto",
    engine: str = ENGINES[0],
    batch: int = 8,
    pool: ThreadPoolExecutor | None = None,
) -> Predictor:
    """Load a trained network for prediction.

    Args:
        url: a checkpoint's or a run's folder at any storage URL, or a registered model as MLflow names it
            (`models:/<name>@champion`, with MLFLOW_TRACKING_URI set), or an exported network's .onnx file.
        protocol: name or settings.
        size: short side of the input; None: the one the network is made for.
        device: cpu, cuda, cuda:N, or auto, which takes a GPU where there is one; an exported network runs on the CPU.
        engine: what runs an exported network: one of `pipeline.serving.engines.ENGINES`.
        batch: maximum images per forward pass.
        pool: threads that group several images in parallel.

    Raises:
        FileNotFoundError: there is no checkpoint at the address.
        ValueError: the checkpoint or file is damaged, the protocol or device is unknown or not there, the size not
            from 32 to 4096, a GPU is asked for a .onnx file, or another engine for what is none.
        RuntimeError: the engine is not installed.
    """
    url = str(url)
    protocol = protocol_named(protocol) if isinstance(protocol, str) else protocol
    network: nn.Module
    if is_onnx(url):
        if device not in ("auto", "cpu"):
            raise ValueError(f"device is {device!r}; an exported network runs on the CPU: leave it out")
        network = exported = engine_named(store.read_bytes(url), engine, url)
        device, own_size, min_score = "cpu", exported.card.size, exported.card.min_score
    else:
        if engine != ENGINES[0]:
            raise ValueError(f"engine is {engine!r}, and {url} is no .onnx file: export it first, or leave engine out")
        device = _device(device)
        trained = Trained.load(url)
        network, own_size, min_score = trained.network, trained.size, trained.min_score
    size = own_size if size is None else size
    return Predictor(network, size, protocol, device, batch=batch, pool=pool, min_score=min_score)


def _device(asked: str) -> str:
    """What torch calls the device that was asked for."""
    gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    there = ["cpu", *(["cuda", *gpus] if gpus else [])]
    if asked == "auto":
        return "cuda" if "cuda" in there else "cpu"
    if asked not in there:
        raise ValueError(f"device is {asked!r}; there are here: auto, {', '.join(there)}")
    return asked
