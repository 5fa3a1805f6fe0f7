"""A run's figures stand at Ray's metrics endpoint under the names that the dashboard and the alerts use."""

import json
import re
import time
import urllib.request
from pathlib import Path

import pytest
import yaml

from infra.stack import Stack
from pipeline.gauges import FIGURES, STARTED, STEP, Gauges

MONITORING = Path(__file__).parents[2] / "k8s" / "components" / "monitoring"


def show(seconds: float) -> None:
    gauges = Gauges("first")
    gauges.show({"train/images_per_second": 53.5, "time/data_wait": 0.25, "unknown": 1.0}, step=40)
    time.sleep(seconds)


def test_outside_ray_nothing_is_shown_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    gauges = Gauges("first")
    gauges.show({"val/ap": 0.5}, step=1)
    assert gauges._gauges == {}


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
    ours = {f"ray_{name}" for name, _ in (*FIGURES.values(), STEP, STARTED)}
    rules = list(yaml.safe_load_all((MONITORING / "rules.yaml").read_text()))
    text = json.dumps(rules) + (MONITORING / "dashboard.json").read_text()
    asked = set(re.findall(r"ray_lhrnet_\w+", text))
    assert asked
    assert asked <= ours
