"""What the command needs of a machine, and the names of what is missing there."""

import importlib.util

NEEDED = {
    "torch": "torch",
    "numpy": "numpy",
    "scipy": "scipy",
    "cv2": "opencv-python-headless",
    "yaml": "pyyaml",
    "rich": "rich",
    "psutil": "psutil",
    "pydantic": "pydantic",
    "pycocotools": "pycocotools",
    "simplejpeg": "simplejpeg",
    "webdataset": "webdataset",
}
"""Module by package; neither Ray nor MLflow nor boto3 are among them."""


def missing() -> list[str]:
    """Packages that are needed and not installed."""
    return [package for module, package in NEEDED.items() if importlib.util.find_spec(module) is None]
