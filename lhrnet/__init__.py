"""Lightweight HRNet: the network, and what its outputs mean.

import lhrnet

network = lhrnet.create_model(lhrnet.ModelConfig(r=-4, input_size=256))
people = lhrnet.Predictor(network, size=256)("photo.jpg")

Names are imported when they are first used: a worker that only reads annotations (`lhrnet.coco`) then takes a quarter
of the memory, for it needs no torch, and a packaged model needs no pycocotools.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lhrnet.inference import PROTOCOLS, InferenceProtocol
    from lhrnet.metrics.coco_eval import Scores, score
    from lhrnet.network import ModelConfig, create_model
    from lhrnet.person import Person
    from lhrnet.predictor import Predictor

MAX_PIXELS = 10**8
"""Pixels of an image at most. OpenCV holds every header against it, if it is told before it is first imported."""
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

__version__ = "0.1.0"
__all__ = [
    "PROTOCOLS",
    "InferenceProtocol",
    "ModelConfig",
    "Person",
    "Predictor",
    "Scores",
    "__version__",
    "create_model",
    "score",
]
_MODULES = {
    "PROTOCOLS": "inference",
    "InferenceProtocol": "inference",
    "ModelConfig": "network",
    "Person": "person",
    "Predictor": "predictor",
    "Scores": "metrics.coco_eval",
    "create_model": "network",
    "score": "metrics.coco_eval",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'lhrnet' has no attribute {name!r}; it offers {', '.join(__all__)}")
    value = getattr(import_module(f"lhrnet.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
