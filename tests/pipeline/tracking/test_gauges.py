"""A run's figures stand at Ray's metrics endpoint under the names that the dashboard and the alerts use."""

import json
import re
import time
import urllib.request
from pathlib import Path
from typing import ClassVar

import pytest
import torch
import yaml

from infra.stack import Stack
from pipeline.tracking.gauges import FIGURES, PROGRESS, STARTED, STEP, Gauges
from pipeline.tracking.monitor import Monitor
from pipeline.tracking.tracker import NullTracker

MONITORING = Path(__file__).parents[3] / "k8s" / "components" / "monitoring"


def show(seconds: float) -> None:
    gauges = Gauges("first")
    gauges.show({"train/images_per_second": 53.5, "time/data_wait": 0.25, "unknown": 1.0}, step=40)
    time.sleep(seconds)


def test_outside_ray_nothing_is_shown_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    gauges = Gauges("first")
    gauges.show({"val/ap": 0.5}, step=1)
    gauges.close()
    assert gauges._gauges == {}


class Heard:
    """Stands where Ray's gauge does: the agent forgets in 20 s, which a test cannot wait for."""

    said: ClassVar[list[tuple[str, float]]] = []

    def __init__(self, name: str, **_: object) -> None:
        self.name = name

    def set(self, value: float, tags: dict[str, str]) -> None:
        assert tags == {"run": "first"}
        self.said.append((self.name, value))


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, float]]:
    import ray.util.metrics

    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    monkeypatch.setattr(ray.util.metrics, "Gauge", Heard)
    monkeypatch.setattr(Heard, "said", [])
    return Heard.said


def times(heard: list[tuple[str, float]], name: str, value: float) -> int:
    return heard.copy().count((name, value))


def test_figures_of_a_run_that_hangs_are_shown_again_and_again_until_it_is_closed(
    heard: list[tuple[str, float]],
) -> None:
    gauges = Gauges("first", every=0.01)
    gauges.show({"train/loss": 0.5}, step=40)
    deadline = time.monotonic() + 5
    while times(heard, "lhrnet_loss", 0.5) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    gauges.close()
    said = len(heard)
    assert times(heard, "lhrnet_loss", 0.5) >= 3
    assert times(heard, "lhrnet_step", 40.0) >= 3
    assert len({value for name, value in heard if name == "lhrnet_started_seconds"}) == 1
    time.sleep(0.03)
    assert len(heard) == said


def test_every_step_is_progress_and_a_watch_that_ends_closes_its_gauges(heard: list[tuple[str, float]]) -> None:
    gauges = Gauges("first", every=0.01)
    began = gauges._values[PROGRESS]
    with Monitor(NullTracker(), None, global_batch=1, device=torch.device("cpu"), gauges=gauges) as watch:
        watch.stepped(0.1)
    assert gauges._values[PROGRESS] > began
    assert gauges._thread is not None
    assert not gauges._thread.is_alive()


@pytest.mark.stack
def test_figures_of_a_worker_reach_the_endpoint_with_the_runs_name(ray_cluster: Stack) -> None:
    import ray

    task = ray.remote(num_cpus=0.1)(show).remote(40)
    url = f"http://127.0.0.2:{ray_cluster.ports['ray-metrics']}/metrics"
    deadline = time.monotonic() + 35
    said = ""
    while "lhrnet_data_wait_seconds{" not in said and time.monotonic() < deadline:
        time.sleep(1)
        with urllib.request.urlopen(url, timeout=10) as response:
            said = response.read().decode()
    ray.cancel(task, force=True)
    assert re.search(r'^ray_lhrnet_images_per_second\{.*run="first".*\} 53.5$', said, re.MULTILINE)
    assert re.search(r"^ray_lhrnet_step\{.*\} 40.0$", said, re.MULTILINE)
    assert "unknown" not in said


def test_alerts_and_dashboard_ask_only_for_figures_that_exist() -> None:
    ours = {f"ray_{name}" for name, _ in (*FIGURES.values(), STEP, STARTED, PROGRESS)}
    rules = list(yaml.safe_load_all((MONITORING / "rules.yaml").read_text()))
    text = json.dumps(rules) + (MONITORING / "dashboard.json").read_text()
    asked = set(re.findall(r"ray_lhrnet_\w+", text))
    assert asked
    assert asked <= ours
