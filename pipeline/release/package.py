"""A model as its users get it: a folder that `mlflow` alone can load, with the sha256 of every file in it.

MLmodel, python_env.yaml, requirements.txt   MLflow's own
artifacts/weights.pt, served.json            weights; network settings, input size, protocol
code/lhrnet/, served.py                      what computes, without the pipeline
checkpoint.json                              the config it was trained with, steps, metrics, the checkpoint's sha256
README.md                                    the model card
manifest.json                                size and sha256 of each of these
"""

import hashlib
import json
import logging
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import lhrnet
from pipeline.checkpoints.checkpoint import MANIFEST, Checkpoint
from pipeline.checkpoints.stored_config import current
from pipeline.release import pyfunc

NEEDS = ("torch", "numpy", "scipy", "opencv-python-headless")
FOREIGN = ("registered_model_meta",)
"""What MLflow itself adds to a folder it downloads."""


def write(folder: Path, checkpoint: Checkpoint, *, size: int, protocol: str, card: str) -> str:
    """Write the folder; it must not be there yet.

    Args:
        folder: where to.
        checkpoint: weights and config.
        size: short side of the input that the model is served with.
        protocol: name of the protocol it is served with.
        card: the model card, Markdown.

    Returns:
        sha256 of the manifest, which names this content and no other.
    """
    import mlflow.pyfunc

    staging = folder.with_name(f".{folder.name}.parts")
    staging.mkdir(parents=True)
    try:
        torch.save(dict(checkpoint.weights), staging / "weights.pt")
        settings = {"model": dict(checkpoint.config["model"]), "size": size, "protocol": protocol}
        (staging / "served.json").write_text(json.dumps(settings, indent=1))
        code = staging / "lhrnet"
        shutil.copytree(Path(lhrnet.__file__).parent, code, ignore=shutil.ignore_patterns("__pycache__"))
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        mlflow.pyfunc.save_model(
            path=str(folder),
            python_model=pyfunc.__file__,
            artifacts={name: str(staging / file) for name, file in _ARTIFACTS.items()},
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
    manifest = json.dumps({"format": 1, "files": {name: _entry(path) for name, path in _files(folder)}}, indent=1)
    (folder / MANIFEST).write_text(manifest)
    return hashlib.sha256(manifest.encode()).hexdigest()


_ARTIFACTS = {"weights": "weights.pt", "served": "served.json"}


def read(folder: Path, *, sha256: str, name: str) -> Checkpoint:
    """Verify a downloaded folder by its manifest and return its model.

    Args:
        folder: the package.
        sha256: of the manifest, as it was when the version was registered.
        name: the version's, for messages.

    Raises:
        ValueError: a file was changed, is missing or was added.
    """
    verify(folder, sha256=sha256, name=name)
    origin: dict[str, Any] = json.loads((folder / "checkpoint.json").read_text())
    weights = torch.load(folder / "artifacts" / _ARTIFACTS["weights"], map_location="cpu", weights_only=True)
    return Checkpoint(**origin | {"config": current(origin["config"])}, weights=weights)


def verify(folder: Path, *, sha256: str, name: str) -> None:
    """Verify a downloaded folder by its manifest.

    Raises:
        ValueError: a file was changed, is missing or was added.
    """
    path = folder / MANIFEST
    found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "none"
    if found != sha256:
        raise ValueError(
            f"{name}: its manifest has sha256 {found[:12]} where {sha256[:12] or 'none'} was registered: "
            "the artifact is not what was registered; register its checkpoint again by `lhrnet promote URL`"
        )
    listed: Mapping[str, Mapping[str, Any]] = json.loads(path.read_text())["files"]
    there = {file: _entry(place) for file, place in _files(folder)}
    wrong = sorted(file for file in listed.keys() | there.keys() if listed.get(file) != there.get(file))
    if wrong:
        raise ValueError(
            f"{name}: {len(wrong)} files do not fit the manifest's sha256 (such as {wrong[0]}): "
            "the artifact was changed after it was registered; register its checkpoint again by `lhrnet promote URL`"
        )


def _files(folder: Path) -> list[tuple[str, Path]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = [(path.relative_to(folder).as_posix(), path) for path in paths]
    return [(name, path) for name, path in named if name not in (MANIFEST, *FOREIGN)]


def _entry(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
