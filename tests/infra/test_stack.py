"""The local stack starts, answers, says where it is, survives a restart with its data, and leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from infra import services
from infra.keys import read_or_make
from infra.process import Service
from infra.stack import Stack, main


def client(env: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=env["AWS_ENDPOINT_URL"],
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_DEFAULT_REGION"],
    )


def test_the_object_store_keeps_its_data_over_a_restart_on_other_ports(tmp_path: Path) -> None:
    first = Stack(tmp_path).start(["s3"])
    client(first.env).put_object(Bucket="lhrnet", Key="a/b", Body=b"kept")
    assert Stack(tmp_path).start(["s3"]).running == first.running, "a second start must find the first one's servers"
    assert first.stop(patience_s=3) == ["s3"]
    assert not first.state_file.exists()
    assert not list(Path("/tmp").glob(f"seaweedfs-*{first.ports['s3']}.sock"))
    with Stack(tmp_path) as second:
        second.start(["s3"])
        assert second.ports != first.ports
        assert client(second.env).get_object(Bucket="lhrnet", Key="a/b")["Body"].read() == b"kept"


def test_servers_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys, time; from infra.stack import Stack;"
        f"Stack({str(tmp_path)!r}).start(['s3'], guarded=True); print('up', flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert starter.stdout is not None
    assert starter.stdout.readline() == b"up\n"
    service = Stack(tmp_path).running["s3"]
    starter.send_signal(signal.SIGKILL)
    starter.wait()
    deadline = time.monotonic() + 20
    while service.process is not None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert service.process is None


def test_a_server_that_cannot_start_is_an_error_and_leaves_nothing_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "object-store").write_text("a file where SeaweedFS wants a folder")
    assert main(["start", "--dir", str(tmp_path), "--only", "s3"]) == 1
    assert "error:" in capsys.readouterr().err
    assert Stack(tmp_path).running == {}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--only", "s3,postgres"], "no service is called postgres"),
        (["--ports", "s3"], "--ports takes name=number"),
        (["--ports", "s9=8000"], "no port is called 's9'"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    assert main(["start", "--dir", str(tmp_path), *options]) == 1
    said = capsys.readouterr().err
    assert complaint in said
    assert said.count("\n") == 1


def test_chosen_ports_that_running_servers_do_not_have_are_refused(tmp_path: Path) -> None:
    me = psutil.Process()
    stack = Stack(tmp_path, ports={"s3": 21000})
    stack.running = {"s3": Service(name="s3", pid=me.pid, started=me.create_time(), log="")}
    stack.ports = dict.fromkeys(services.PORTS, 21000)
    assert stack.start(["s3"]) is stack
    stack.ports["s3"] = 21001
    with pytest.raises(ValueError, match=r"port s3=21000 cannot be chosen while .* \(it is 21001\); stop them first"):
        stack.start(["s3"])


def test_status_and_env_of_a_folder_where_nothing_runs_say_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--dir", str(tmp_path)]) == 1
    assert capsys.readouterr().out.count("off") == 3
    assert main(["env", "--dir", str(tmp_path)]) == 1
    assert "nothing runs" in capsys.readouterr().err


@pytest.mark.stack
def test_the_whole_stack_answers_and_its_workers_know_where_everything_is(stack: Stack) -> None:
    import ray

    assert stack.status() == {"s3": "runs", "mlflow": "runs", "ray": "runs"}
    state = json.loads(stack.state_file.read_text())
    assert state["env"] == stack.env
    assert services.answers(f"{stack.env['MLFLOW_TRACKING_URI']}/health")
    assert services.answers(f"{os.environ['RAY_ADDRESS']}/api/version", token=stack.keys.ray)

    def environment() -> dict[str, str]:
        return dict(os.environ)

    seen = ray.get(ray.remote(num_cpus=0.1)(environment).remote(), timeout=60)
    for name in ("AWS_ENDPOINT_URL", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_URI", "OMP_NUM_THREADS"):
        assert seen[name] == stack.env[name]


@pytest.mark.stack
def test_a_submitted_job_finds_the_command_and_the_cluster(ray_cluster: Stack) -> None:
    submit = [str(Path(sys.executable).parent / "ray"), "job", "submit", "--", "lhrnet", "--help"]
    env = {**os.environ, **ray_cluster.env}
    done = subprocess.run(submit, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Lightweight HRNet" in done.stdout


def test_a_token_that_another_ray_left_in_the_home_folder_locks_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another cluster's")
    ports, keys = dict.fromkeys(services.PORTS, 1), read_or_make(tmp_path)
    assert services.server_environment(ports, keys)["RAY_AUTH_TOKEN"] == keys.ray
    assert services.client_environment(ports, keys)["RAY_AUTH_TOKEN"] == keys.ray


def test_a_test_that_asks_for_no_server_sees_none() -> None:
    assert not [name for name in os.environ if name.startswith(("AWS_", "MLFLOW_TRACKING")) or name == "RAY_ADDRESS"]
