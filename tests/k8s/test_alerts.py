"""The alerts fire on what they are for, and on nothing else: figures as Ray serves them, judged by promtool."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

RULES = Path(__file__).resolve().parents[2] / "k8s" / "components" / "monitoring" / "rules.yaml"


def series(name: str, values: str, /, **labels: str) -> dict[str, str]:
    told = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return {"series": f"{name}{{{told}}}", "values": values}


def clock(minutes: int) -> str:
    """A run that makes progress: the figure is the time itself, each minute 60 s on."""
    return f"0+60x{minutes}"


def alerts(tmp_path: Path, given: list[dict[str, str]], *, at: str) -> set[tuple[str, str]]:
    """Alerts that fire at a time, each with its run, its Ray cluster or its job."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed; it comes with Prometheus")
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(yaml.safe_load(RULES.read_text())["spec"]))
    fired: set[tuple[str, str]] = set()
    names = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["spec"]["groups"] for rule in group["rules"]}
    for name in sorted(names):
        # promtool says what fired only where something else was expected
        wrong: dict[str, Any] = {"exp_labels": {"nobody": "has"}}
        test = {
            "rule_files": ["rules.yaml"],
            "evaluation_interval": "1m",
            "tests": [
                {
                    "interval": "1m",
                    "input_series": given,
                    "alert_rule_test": [{"eval_time": at, "alertname": name, "exp_alerts": [wrong]}],
                }
            ],
        }
        (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
        command = ["promtool", "test", "rules", str(tmp_path / "test.yaml")]
        said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        got = (said.stdout + said.stderr).partition("got:")[2]
        assert got, said.stdout + said.stderr
        for label in ("run", "ray_cluster", "name"):
            for part in re.split(rf'\b{label}="', got)[1:]:
                fired.add((name, part.partition('"')[0]))
    return fired


def test_a_run_that_hangs_and_a_cluster_without_a_worker_have_no_progress(tmp_path: Path) -> None:
    given = [
        series("ray_lhrnet_progress_seconds", "600x90", run="hung", WorkerId="a", ray_cluster="train-aaaaa"),
        series("ray_lhrnet_progress_seconds", clock(90), run="well", WorkerId="b", ray_cluster="train-bbbbb"),
        series("ray_lhrnet_progress_seconds", "600x5 _x85", run="done", WorkerId="c", ray_cluster="train-ccccc"),
        *(series("ray_node_mem_total", "1x90", ray_cluster=f"train-{5 * letter}") for letter in "abx"),
        series("ray_node_mem_total", "1x90", ray_cluster="evaluate-aaaaa"),
    ]
    assert alerts(tmp_path, given, at="85m") == {("LhrnetNoProgress", "hung"), ("LhrnetNoProgress", "train-xxxxx")}


def test_a_run_that_waits_for_data_is_told_from_one_that_does_not(tmp_path: Path) -> None:
    given = [
        series(f"ray_lhrnet_{name}", f"{value}x60", run=run, WorkerId=run)
        for run, wait in (("hungry", 0.5), ("fed", 0.05))
        for name, value in (("data_wait_seconds", wait), ("step_seconds", 1.0))
    ]
    assert alerts(tmp_path, given, at="50m") == {("LhrnetDataStarvation", "hungry")}


def test_attempts_are_counted_though_each_is_another_worker(tmp_path: Path) -> None:
    given = [
        series("ray_lhrnet_started_seconds", f"_x{8 * number} {480 * number}x7 _x90", run="weak", WorkerId=str(number))
        for number in range(6)
    ]
    given.append(series("ray_lhrnet_started_seconds", "0x90", run="strong", WorkerId="s"))
    assert alerts(tmp_path, given, at="50m") == {("LhrnetRepeatedRestarts", "weak")}
    assert alerts(tmp_path, given, at="25m") == set()


def job(name: str, status: str, values: str) -> dict[str, str]:
    """A job as KubeRay's operator tells of it."""
    labels = {"namespace": "lhrnet", "name": name, "deployment_status": status}
    return series("kuberay_job_deployment_status", values, **labels)


def test_a_failed_job_and_a_head_that_is_gone_are_told_though_their_own_figures_are_gone_too(tmp_path: Path) -> None:
    given = [
        job("train", "Running", "1x120"),
        series("ray_lhrnet_progress_seconds", "0+60x30 stale", run="coco", ray_cluster="train-abcde"),
        series("ray_node_mem_total", "1x30 stale", ray_cluster="train-abcde"),
        job("evaluate", "Running", "1x40 stale"),
        job("evaluate", "Failed", "_x40 1x80"),
        job("submit", "Running", "1x120"),
        series("ray_node_mem_total", "1x120", ray_cluster="submit-abcde"),
        job("promote", "Complete", "1x120"),
        job("shard", "Suspended", "1x120"),
    ]
    assert alerts(tmp_path, given, at="35m") == {("LhrnetHeadLost", "evaluate")}
    assert alerts(tmp_path, given, at="60m") == {("LhrnetHeadLost", "train"), ("LhrnetJobFailed", "evaluate")}
