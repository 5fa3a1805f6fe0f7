"""How do images, runs and models move through a cluster? One package for each part of the road.

`ROOMS` says who may import whom. `tests/test_layout.py` holds the code to it, docs/architecture.md draws it.
"""

import os
from typing import Annotated

from pydantic import ConfigDict, Field

import lhrnet  # noqa: F401 - tells OpenCV how large an image may be, before anything here imports it

# a bar of MLflow's own for every folder that it fetches: there is a progress line already
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

ROOMS: dict[str, tuple[str, ...]] = {
    "storage": (),
    "scenes": ("storage",),
    "tracking": ("storage",),
    "cluster": ("storage",),
    "checkpoints": ("storage",),
    "data": ("storage",),
    "sharding": ("storage", "tracking", "cluster", "data"),
    "training": ("cluster", "data"),
    "evaluation": ("storage", "tracking", "cluster", "checkpoints", "data"),
    "serving": ("storage", "tracking", "cluster", "checkpoints", "data"),
    "config": ("storage", "checkpoints", "data", "training", "evaluation", "tracking"),
    "runs": ("storage", "tracking", "cluster", "checkpoints", "data", "training", "evaluation", "config"),
    "release": ("storage", "tracking", "checkpoints", "data", "evaluation", "config"),
    "search": ("storage", "tracking", "cluster", "checkpoints", "data", "training", "evaluation", "config", "runs"),
}
"""Each package of `pipeline`, and the packages that it may import, from the bottom of the house to its top.

`config` composes the tree of all settings; what stands below it knows its own section alone.
"""

SECTION = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
"""How pydantic checks a section of the config: a dataclass beside the code that it sets."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A setting that runs from 0 to 1."""
