"""`lhrnet doctor -- COMMAND` examines what the command will use, and runs it only when all is well."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from jobs.doctor import doctor, split
from pipeline.runs.doctor import Finding, Needs

LHRNET = [sys.executable, "-m", "jobs.cli", "doctor", "--here"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LHRNET, *words], capture_output=True, text=True, check=False, timeout=120)


def test_settings_come_first_and_the_command_keeps_its_own() -> None:
    assert split(["a.b=1", "lhrnet", "train", "c.d=2"]) == (["a.b=1"], ["lhrnet", "train", "c.d=2"])
    assert split([]) == ([], [])


def test_the_command_runs_after_a_clean_bill_and_never_after_a_bad_one(tmp_path: Path) -> None:
    healthy = run("--storage", str(tmp_path), "--", "echo", "it runs")
    assert healthy.returncode == 0
    assert healthy.stdout.endswith("it runs\n")
    (tmp_path / "file").touch()
    ill = run("--storage", str(tmp_path / "file"), "--", "echo", "it runs")
    assert ill.returncode == 1
    assert "it runs" not in ill.stdout
    assert "FAIL driver  storage" in ill.stdout


@pytest.mark.parametrize("flag", ["-c", "--config"])
def test_the_config_of_the_command_is_the_one_that_is_examined(tmp_path: Path, flag: str) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"name: x\nstorage: {tmp_path}/unused\ndata: {{train: {tmp_path}/t, val: {tmp_path}/v}}\n")
    done = run("--json", "--", "lhrnet", "evaluate", flag, str(config), f"storage={tmp_path}/runs")
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["ok"] is False
    says = " ".join(finding["says"] for finding in found["findings"])
    assert f"{tmp_path}/runs" in says
    assert f"{tmp_path}/v" in says
    assert f"{tmp_path}/t/" not in says


def test_what_the_driver_found_is_told_where_no_cluster_can_be_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "http://127.0.0.1:9")
    with pytest.raises(typer.Exit):
        doctor(storage=str(tmp_path))
    said = capsys.readouterr().out
    assert "ok   driver  storage" in said
    assert "FAIL driver  workers    no Ray cluster can be joined: RAY_ADDRESS is a job server's" in said


def test_no_worker_is_asked_for_while_something_is_wrong_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Needs] = []

    def visit(needs: Needs, *, patience_s: float) -> list[Finding]:
        asked.append(needs)
        return []

    monkeypatch.setattr("pipeline.cluster.connect.connect_to_ray", lambda **how: None)
    monkeypatch.setattr("pipeline.runs.doctor_workers.visit", visit)
    (tmp_path / "file").touch()
    with pytest.raises(typer.Exit):
        doctor(storage=str(tmp_path / "file"))
    assert asked == []
    assert "FAIL driver  workers    none were asked for" in capsys.readouterr().out
    doctor(storage=str(tmp_path))
    assert len(asked) == 1
