"""A model as its users get it: a folder that `mlflow` alone can load, with the sha256 of every file in it.

MLmodel, python_env.yaml, requirements.txt   MLflow's own
artifacts/weights.pt, served.json            weights; network settings, input size, protocol, threshold of scores
code/lhrnet/, served.py                      what computes, without the pipeline
checkpoint.json                              the config it was trained with, steps, metrics, the checkpoint's sha256
README.md                                    the model card
manifest.json                                size and sha256 of each of these
"""

import hashlib
import io
import json
import logging
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import lhrnet
from pipeline.checkpoints.checkpoint import MANIFEST, Checkpoint
from pipeline.checkpoints.package_files import ARTIFACTS, entry, files, read, verify
from pipeline.release import pyfunc
from pipeline.storage.atomic import named_errors

__all__ = ["read", "verify", "write"]
NEEDS = ("torch", "numpy", "scipy", "opencv-python-headless")


def write(folder: Path, checkpoint: Checkpoint, *, size: int, protocol: str, min_score: float | None, card: str) -> str:
    """Write the folder; it must not be there yet.

    Args:
        folder: where to.
        checkpoint: weights and config.
        size: short side of the input that the model is served with.
        protocol: name of the protocol it is served with.
        min_score: score below which people are rather nobody, as the evaluation found it; None where it is not known.
        card: the model card, Markdown.

    Returns:
        sha256 of the manifest, which names this content and no other.

    Raises:
        OSError: the disk does not take it; names the folder.
    """
    served = {"model": dict(checkpoint.config["model"]), "size": size, "protocol": protocol, "min_score": min_score}
    with named_errors(f"{folder} (TMPDIR)"):
        return _write(folder, checkpoint, served, card)


def _write(folder: Path, checkpoint: Checkpoint, served: dict[str, Any], card: str) -> str:
    import mlflow.pyfunc

    staging = folder.with_name(f".{folder.name}.parts")
    staging.mkdir(parents=True)
    try:
        weights = io.BytesIO()  # torch's own writer reports a full disk as an error of its archive
        torch.save(dict(checkpoint.weights), weights)
        (staging / "weights.pt").write_bytes(weights.getvalue())
        (staging / "served.json").write_text(json.dumps(served, indent=1))
        code = staging / "lhrnet"
        shutil.copytree(Path(lhrnet.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=pyfunc.__file__,
            artifacts={name: str(staging / file) for name, file in ARTIFACTS.items()},
            code_paths=[str(code)],
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in ("mlflow", *NEEDS)],
        )
    finally:
        shutil.rmtree(staging)
    origin = {key: getattr(checkpoint, key) for key in ("url", "step", "sha256")}
    origin |= {"config": dict(checkpoint.config), "metrics": dict(checkpoint.metrics)}
    (folder / "checkpoint.json").write_text(json.dumps(origin, indent=1))
    (folder / "README.md").write_text(card)
    for cache in folder.rglob("__pycache__"):
        shutil.rmtree(cache)
    manifest = json.dumps({"format": 1, "files": {name: entry(path) for name, path in files(folder)}}, indent=1)
    (folder / MANIFEST).write_text(manifest)
    return hashlib.sha256(manifest.encode()).hexdigest()
