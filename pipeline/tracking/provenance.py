"""What a run is made of, for the record: the code's revision, the packages, the data, the machine."""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess

PACKAGES = ("torch", "ray", "mlflow", "webdataset", "numpy", "opencv-python-headless", "pycocotools")
"""Packages whose versions may change a run's figures."""


def provenance(index: bytes) -> dict[str, str]:
    """What the run was made of: code, packages, data, machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "git_revision": revision(),
        "packages": json.dumps(versions),
        "data_index_sha256": hashlib.sha256(index).hexdigest(),
        "driver": f"{platform.node()}, {platform.platform()}, Python {platform.python_version()}",
    }


def revision() -> str:
    """The code's git revision: LHRNET_REVISION where an image was built with it, else git's word, else `unknown`."""
    if "LHRNET_REVISION" in os.environ:
        return os.environ["LHRNET_REVISION"]
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40"]
        found = subprocess.run(
            command, cwd=os.path.dirname(__file__), capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return found.stdout.strip() or "unknown"
