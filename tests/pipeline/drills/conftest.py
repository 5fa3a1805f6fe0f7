"""What every drill needs: a run started by the real command, its rows in MLflow, and the price of what befell it.

`make faults` runs all drills and prints one table: what was lost, and how long it took to be back.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pipeline.checkpoints import checkpoint
from pipeline.tracking import mlflow_run
from pipeline.tracking.config import TrackingConfig

FEW = {"global_batch": 8, "micro_batch": 4, "log_every": 1, "validate_images": 3, "validate_every": 0}


@dataclass
class Drill:
    """One run of the smallest network, from its first start to its last.

    Two workers on Ray unless told otherwise, a checkpoint every 20 steps, a row in MLflow for every step.
    """

    folder: Path
    tree: dict[str, Any]
    address: str = ""
    """Of the Ray cluster; empty: the driver makes one of its own."""
    environment: dict[str, str] = field(default_factory=dict)
    processes: list[subprocess.Popen[str]] = field(default_factory=list)
    ends: dict[Any, Any] = field(default_factory=dict)
    """Weights that runs of this session ended in, by workers and steps."""

    @property
    def run_url(self) -> str:
        return f"{self.tree['storage']}/drill"

    def start(self, *options: str) -> subprocess.Popen[str]:
        """`lhrnet train`, as a job's entry point runs it."""
        file = self.folder / "drill.yaml"
        file.write_text(yaml.safe_dump(self.tree))
        environment = {**os.environ, **self.environment}
        environment.pop("RAY_ADDRESS", None)
        if self.address:
            environment["RAY_ADDRESS"] = self.address
        command = [sys.executable, "-m", "jobs.cli", "train", "-c", str(file), "--json", *options]
        with self._log_file(len(self.processes)).open("w") as log:
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        self.processes.append(process)
        return process

    def _log_file(self, number: int) -> Path:
        return self.folder / f"driver-{number}.log"

    def said(self, process: subprocess.Popen[str]) -> str:
        """What a driver wrote on standard error, its workers' words included."""
        return self._log_file(self.processes.index(process)).read_text()

    def end(self, process: subprocess.Popen[str], seconds: float = 600.0) -> dict[str, Any]:
        """Wait for a driver to end well; its summary."""
        output = process.communicate(timeout=seconds)[0]
        assert process.returncode == 0, self.said(process)[-6000:]
        told = dict(json.loads([line for line in output.splitlines() if line.startswith("{")][-1]))
        if told["finished"] and self.tree["stream"].get("on_damage") != "skip":
            self._hold_against_others(told)
        return told

    def _hold_against_others(self, told: dict[str, Any]) -> None:
        """Whatever befell them, runs of as many workers and steps end in the same weights, to the last bit.

        The first of the two runs of one name is such a run, and nothing befalls it.
        """
        weights = dict(checkpoint.load(checkpoint.step_url(told["storage"], told["steps"])).weights)
        other = self.ends.setdefault((self.tree["train"]["workers"], told["steps"]), weights)
        unequal = [name for name in weights if not torch.equal(weights[name], other[name])]
        assert not unequal, f"{len(unequal)} weights are not those of other runs, such as {unequal[:3]}"

    def saved(self) -> int:
        """Step of the newest whole checkpoint."""
        return max((entry.step for entry in checkpoint.listing(self.run_url)), default=0)

    def until_saved(self, step: int, seconds: float = 300.0) -> None:
        """Wait for a checkpoint of at least this step."""
        self.until(lambda: self.saved() >= step, f"a checkpoint of step {step}", seconds)

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 300.0) -> Any:
        """Wait until something is so, while the last driver lives."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := condition():
                return found
            time.sleep(0.1)
        raise AssertionError(f"{what} did not come in {seconds:.0f} s; {self.said(self.processes[-1])[-6000:]}")

    def _run(self) -> tuple[Any, Any]:
        """A client, and the run in MLflow or None."""
        mlflow = mlflow_run.connect(TrackingConfig())
        experiment = mlflow_run.experiment_id(mlflow, self.tree["tracking"]["experiment"])
        runs = mlflow.search_runs([experiment], f"tags.`{mlflow_run.IDENTITY}` = '{self.run_url}'")
        return mlflow, runs[0] if runs else None

    def run_status(self) -> str:
        """MLflow's word on the run; empty before there is one."""
        run = self._run()[1]
        return str(run.info.status) if run else ""

    def figure(self, name: str) -> float:
        """MLflow's last value of a figure."""
        return float(self._run()[1].data.metrics[name])

    def rows(self) -> dict[int, float]:
        """When each step's row was written, in seconds since 1970, by step; each step must come once, none missing."""
        mlflow, run = self._run()
        history = mlflow.get_metric_history(run.info.run_id, "train/loss") if run else []
        assert [metric.step for metric in history] == list(range(1, len(history) + 1))
        return {metric.step: metric.timestamp / 1000 for metric in history}

    def price(self, moment: float, resumed_from: int) -> tuple[int, float]:
        """Of a fault at a time (`time.time()`), after which one pause followed.

        Returns:
            Steps that had to be done again: since the last checkpoint, or the one before while the last was on its way
            to the store. And seconds without a step that had not been done before.
        """
        rows = sorted(self.rows().items())
        pauses = [(after - before, step) for (step, before), (_, after) in pairwise(rows) if after >= moment]
        seconds, reached = max(pauses)
        lost = max(0, reached - resumed_from)
        assert lost < 2 * self.tree["train"]["checkpoint_every"]
        return lost, seconds

    def until_begun(self, process: subprocess.Popen[str], times: int) -> int:
        """Wait until workers have begun for the so-manieth time; the step they go on from."""
        said = "Started training worker group"
        self.until(lambda: self.said(process).count(said) >= times, f"workers' beginning {times}")
        return self.saved()


@pytest.fixture(scope="session")
def ends() -> dict[Any, Any]:
    """Weights that runs of this session ended in."""
    return {}


@pytest.fixture
def drill(mlflow_server: Any, s3: str, drawn_shards: Path, tmp_path: Path, ends: dict[Any, Any]) -> Iterator[Drill]:
    """A run that is not started yet; its tree may be changed. What it started is gone at the end."""
    tree = {
        "name": "drill",
        "storage": s3,
        "data": {"train": str(drawn_shards / "train2017"), "val": str(drawn_shards / "val2017")},
        "model": {"r": -4, "input_size": 64},
        "stream": {"lanes": 4, "loader_workers": 0},
        "train": FEW | {"device": "cpu", "workers": 2, "checkpoint_every": 20, "steps": 150},
        "tracking": {"experiment": "drills", "spool": str(tmp_path / "spool")},
    }
    drill = Drill(tmp_path, tree, ends=ends)
    yield drill
    for process in drill.processes:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Note a line of the table: `tell("worker killed", lost=5, seconds=20.3, note="")`."""

    def told(fault: str, *, lost: int, seconds: float, note: str = "") -> None:
        record_property("fault", (fault, lost, seconds, note))

    return told


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table."""
    reports = [report for report in terminalreporter.stats.get("passed", ()) if report.when == "call"]
    lines = [(report, line) for report in reports for name, line in report.user_properties if name == "fault"]
    if not lines:
        return
    terminalreporter.section("what faults cost")
    for report, (fault, lost, seconds, note) in lines:
        test = report.nodeid.split("::")[-1]
        terminalreporter.write_line(f"| {fault} | {note} | {lost} | {seconds:.1f} | `{test}` |")
