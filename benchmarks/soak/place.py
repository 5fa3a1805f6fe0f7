"""The folder that everything happens in: a drawn set, its shards, a trained run, and the verbs as commands."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DRAWN = ("--train", "24", "--val", "8", "--test", "4", "--size", "96", "--seed", "3", "--workers", "1")
"""What `draw` is asked for."""
STEPS = 24


@dataclass
class Place:
    """Where things lie, and how verbs are run."""

    folder: Path
    env: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def coco(self) -> Path:
        """The drawn set."""
        return self.folder / "coco"

    @property
    def shards(self) -> Path:
        """Its shards, by split."""
        return self.folder / "shards"

    @property
    def config(self) -> Path:
        """Settings of the smallest run; others are given after the file."""
        return self.folder / "soak.yaml"

    @property
    def run(self) -> Path:
        """The run that nothing befell."""
        return self.folder / "runs" / "whole"

    def make(self) -> None:
        """Draw, shard, train and export, undisturbed."""
        self.env["OMP_NUM_THREADS"] = "1"
        tree: dict[str, Any] = {
            "name": "whole",
            "storage": str(self.folder / "runs"),
            "data": {name: str(self.shards / f"{name}2017") for name in ("train", "val")},
            "model": {"r": -4, "input_size": 64},
            "stream": {"lanes": 4, "loader_workers": 0},
            "train": {"steps": STEPS, "global_batch": 4, "checkpoint_every": 6, "device": "cpu", "threads": 1},
            "evaluate": {"workers": 0},
            "tracking": {"enabled": False},
        }
        self.config.write_text(yaml.safe_dump(tree))
        self.must("draw", str(self.coco), *DRAWN)
        self.must("shard", str(self.coco), str(self.shards), "--dataset", "drawn", "--workers", "1", "--no-ray")
        self.must("train", "--here", "-c", str(self.config))
        self.must("export", str(self.run), "--out", str(self.folder / "network.onnx"))

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """A verb as a process in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "jobs.cli", *arguments],
            env=self.env,
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def must(self, *arguments: str) -> str:
        """What a verb prints that has to end well.

        Raises:
            RuntimeError: it did not.
        """
        process = self.start(*arguments)
        said, errors = process.communicate(timeout=400)
        if process.returncode:
            raise RuntimeError(f"lhrnet {' '.join(arguments)} ended with {process.returncode}: {errors[-1500:]}")
        return said


def last_json(said: str) -> dict[str, Any]:
    """The JSON object that a verb ends with."""
    return dict(json.loads([line for line in said.splitlines() if line.startswith("{")][-1]))
