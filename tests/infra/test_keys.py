"""Nobody but its owner gets anything from the local stack: no other user of the machine, no page in its browser."""

import json
import os
import stat
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from infra import services
from infra.keys import private_folder, read_or_make
from infra.stack import Stack
from pipeline.storage import store


def status(url: str, *, method: str = "GET", body: bytes | None = None, headers: dict[str, str] | None = None) -> int:
    """What a stranger's request is answered with; 0 when the connection is broken off."""
    request = urllib.request.Request(url, data=body, method=method, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, ConnectionError):
        return 0


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_are_random_kept_and_their_owners_alone(tmp_path: Path) -> None:
    first, second = read_or_make(tmp_path / "one"), read_or_make(tmp_path / "two")
    assert not set(vars(first).values()) & set(vars(second).values())
    assert read_or_make(tmp_path / "one") == first
    assert mode(tmp_path / "one") == 0o700
    assert mode(tmp_path / "one" / "keys.json") == 0o600
    (tmp_path / "one" / "keys.json").write_text("{}")
    with pytest.raises(ValueError, match=r"keys\.json does not hold the stack's keys"):
        read_or_make(tmp_path / "one")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    with pytest.raises(PermissionError, match="belongs to another user"):
        private_folder(tmp_path)


def test_the_object_stores_inner_ports_are_closed_and_no_page_may_ask(s3_server: Stack) -> None:
    ports = s3_server.ports
    filer = f"http://127.0.0.1:{ports['filer']}/buckets/{services.BUCKET}/stolen.txt"
    assert status(filer) == 404
    assert status(filer, method="POST", body=b"x") == 404
    for scheme in ("http", "https"):
        assert status(f"{scheme}://127.0.0.1:{ports['master']}/col/delete?collection={services.BUCKET}") in (0, 400)
    for method in ("GET", "DELETE"):
        assert status(f"http://127.0.0.1:{ports['volume']}/1,0123456789", method=method) == 401
    asked = {"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    url = f"{s3_server.env['AWS_ENDPOINT_URL']}/{services.BUCKET}/x"
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(urllib.request.Request(url, headers=asked, method="OPTIONS"), timeout=10)
    assert refused.value.headers["Access-Control-Allow-Origin"] is None
    assert services.bucket_is_writable(ports, s3_server.keys), "what its owner asks is still done"


def test_the_stores_files_are_not_for_whoever_finds_its_rpc_port(s3: str, s3_server: Stack) -> None:
    store.write_bytes(f"{s3}/secret", b"for nobody else")
    path = f"http://127.0.0.1:{s3_server.ports['filer']}/buckets/{s3.removeprefix('s3://')}/secret"
    weed = [str(Path(sys.executable).parent / "weed"), "filer.cat", path]
    done = subprocess.run(weed, capture_output=True, timeout=60, check=False, cwd="/")
    assert b"for nobody else" not in done.stdout
    assert store.read_bytes(f"{s3}/secret") == b"for nobody else"


@pytest.mark.stack
def test_mlflow_and_ray_ask_who_is_there(stack: Stack) -> None:
    mlflow, ray = stack.env["MLFLOW_TRACKING_URI"], stack.env["RAY_ADDRESS"]
    assert status(f"{mlflow}/api/2.0/mlflow/experiments/search?max_results=1") == 401
    assert status(f"{mlflow}/api/2.0/mlflow-artifacts/artifacts") == 401
    assert status(f"{ray}/api/jobs/") == 401
    assert status(f"{ray}/api/jobs/", method="POST", body=json.dumps({"entrypoint": "id"}).encode()) == 401


@pytest.mark.stack
def test_all_that_the_stack_keeps_is_closed_to_others(stack: Stack) -> None:
    assert stack.ray_sessions is not None
    assert mode(stack.folder) == 0o700
    assert mode(stack.ray_sessions.parent) == 0o700
    assert mode(stack.state_file) == 0o600


def test_a_proxy_in_the_environment_is_passed_by(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.delenv("no_proxy", raising=False)
    with Stack(tmp_path) as stack:
        stack.start(["s3"])
        assert stack.env["NO_PROXY"] == stack.env["no_proxy"] == "intranet.example,127.0.0.1,127.0.0.2,localhost"
