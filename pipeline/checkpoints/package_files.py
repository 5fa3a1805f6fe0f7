"""A registered model as it is read: verified by its manifest before any of it is used; none of its code is run."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.checkpoints.checkpoint import MANIFEST, Checkpoint
from pipeline.checkpoints.stored_config import current
from pipeline.checkpoints.tensor_file import read_weights

FOREIGN = ("registered_model_meta",)
"""What MLflow itself adds to a folder it downloads."""
ARTIFACTS = {"weights": "weights.pt", "served": "served.json"}
"""Files below artifacts/."""


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
    path = folder / "artifacts" / ARTIFACTS["weights"]
    weights = read_weights(path.read_bytes(), f"{ARTIFACTS['weights']} of {name}")
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
    there = {file: entry(place) for file, place in files(folder)}
    wrong = sorted(file for file in listed.keys() | there.keys() if listed.get(file) != there.get(file))
    if wrong:
        raise ValueError(
            f"{name}: {len(wrong)} files do not fit the manifest's sha256 (such as {wrong[0]}): "
            "the artifact was changed after it was registered; register its checkpoint again by `lhrnet promote URL`"
        )


def files(folder: Path) -> list[tuple[str, Path]]:
    """The files that a manifest lists, by their path in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    named = [(path.relative_to(folder).as_posix(), path) for path in paths]
    return [(name, path) for name, path in named if name not in (MANIFEST, *FOREIGN)]


def entry(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
