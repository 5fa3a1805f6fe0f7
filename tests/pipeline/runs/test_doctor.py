"""The doctor finds what is missing by trying it, says how to mend it, and leaves nothing behind."""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from infra.stack import Stack
from pipeline.config.tree import parse
from pipeline.runs import doctor_workers
from pipeline.runs.doctor import Finding, Needs, examine, needs_of, report
from pipeline.runs.doctor_workers import visit
from pipeline.storage import store


def named(findings: list[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


class Tracker(BaseHTTPRequestHandler):
    """An MLflow that is up, but may refuse the API; its clock can be wrong."""

    answer = 200
    clock_off = 0.0

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health" else type(self).answer)
        self.end_headers()

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate(time.time() + type(self).clock_off, usegmt=True)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setattr(Tracker, "answer", 200)
    monkeypatch.setattr(Tracker, "clock_off", 0.0)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Tracker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_healthy_storage_is_written_read_and_left_clean(tmp_path: Path) -> None:
    finding = named(examine(Needs(storage=str(tmp_path)), "driver"), "storage")
    assert finding.ok
    assert not list(tmp_path.rglob("*"))


def test_storage_that_cannot_be_written_fails_with_the_way_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    finding = named(examine(Needs(storage=str(tmp_path / "file" / "runs")), "driver"), "storage")
    assert not finding.ok
    assert "AWS_ENDPOINT_URL" in finding.mend


def test_storage_that_gives_back_other_bytes_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "read_bytes", lambda url: b"something else")
    finding = named(examine(Needs(storage=str(tmp_path)), "driver"), "storage")
    assert not finding.ok
    assert "read back different" in finding.says
    assert not list(tmp_path.rglob("*"))


def test_missing_shards_are_named_with_the_command_that_makes_them(tmp_path: Path) -> None:
    finding = named(examine(Needs(indexes=(str(tmp_path / "val2017"),)), "driver"), "shards")
    assert not finding.ok
    assert "val2017" in finding.says
    assert "lhrnet shard" in finding.mend


@pytest.mark.parametrize(
    ("answer", "hint"), [(403, "MLFLOW_SERVER_ALLOWED_HOSTS"), (401, "MLFLOW_TRACKING_USERNAME"), (500, "port 5000")]
)
def test_a_tracker_whose_health_is_fine_but_whose_api_refuses_is_found_out(
    tracker: str, monkeypatch: pytest.MonkeyPatch, answer: int, hint: str
) -> None:
    assert named(examine(Needs(mlflow=tracker), "driver"), "mlflow").ok
    monkeypatch.setattr(Tracker, "answer", answer)
    finding = named(examine(Needs(mlflow=tracker), "driver"), "mlflow")
    assert not finding.ok
    assert str(answer) in finding.says
    assert hint in finding.mend


def test_a_tracker_that_is_not_there_is_found_out() -> None:
    finding = named(examine(Needs(mlflow="http://127.0.0.1:9"), "driver"), "mlflow")
    assert not finding.ok
    assert "does not answer" in finding.says


@pytest.fixture
def not_http() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caller, _ = server.accept()
                    with caller:
                        caller.recv(4096)
                        caller.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("variable", ["mlflow", "AWS_ENDPOINT_URL"])
@pytest.mark.parametrize("address", ["http://127.0.0.1:eight", "no http"])
def test_an_address_that_is_no_http_servers_is_a_finding_and_not_a_traceback(
    not_http: str, monkeypatch: pytest.MonkeyPatch, variable: str, address: str
) -> None:
    address = not_http if address == "no http" else address
    if variable == "mlflow":
        finding = named(examine(Needs(mlflow=address), "driver"), "mlflow")
        assert not finding.ok
        assert address in finding.says
        assert "MLFLOW_TRACKING_URI" in finding.mend
    else:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        assert named(examine(Needs(), "driver"), "clock").ok


def test_a_clock_that_is_off_is_found_out(tracker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert named(examine(Needs(mlflow=tracker), "driver"), "clock").ok
    monkeypatch.setattr(Tracker, "clock_off", 3600.0)
    finding = named(examine(Needs(mlflow=tracker), "driver"), "clock")
    assert not finding.ok
    assert "clock" in finding.mend


def test_a_cache_without_room_is_found_on_the_worker_only(tmp_path: Path) -> None:
    needs = Needs(cache=str(tmp_path / "cache"), cache_gb=1e6)
    assert "disk" not in {finding.check for finding in examine(needs, "driver")}
    finding = named(examine(needs, "worker"), "disk")
    assert not finding.ok
    assert "stream.cache_gb" in finding.mend
    assert named(examine(Needs(cache=str(tmp_path / "cache"), cache_gb=0.001), "worker"), "disk").ok


def test_a_cache_that_may_not_be_written_is_mended_by_another_volume_and_not_by_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(path: Path, content: bytes) -> int:
        raise PermissionError(f"[Errno 13] Permission denied: '{path}'")

    monkeypatch.setattr(Path, "write_bytes", refused)  # tests may run as root, whom no folder refuses
    finding = named(examine(Needs(cache=str(tmp_path / "cache"), cache_gb=0.001), "worker"), "disk")
    assert not finding.ok
    assert "may write to" in finding.mend
    assert "AWS" not in finding.mend


def test_each_verb_is_asked_for_what_it_reads_and_the_workers_it_starts() -> None:
    data = {"train": "/t", "val": "/v", "test": "/x"}
    config = parse({"name": "a", "storage": "/s", "data": data, "train": {"workers": 4, "device": "cuda"}})
    assert needs_of(config, "train").indexes == ("/t", "/v")
    assert needs_of(config, "train").workers == 4
    assert needs_of(config, "train").min_workers == 0
    assert needs_of(config, "train").gpus_per_worker == 1
    elastic = {"workers": 4, "min_workers": 2, "device": "cuda"}
    config = parse({"name": "a", "storage": "/s", "data": data, "train": elastic})
    assert needs_of(config, "train").min_workers == 2
    assert needs_of(config, "evaluate").min_workers == 0
    assert needs_of(config, "submit").indexes == ("/x",)
    assert needs_of(config, "promote").indexes == ("/v",)
    assert needs_of(config, "promote").workers == 0
    assert needs_of(config, "").indexes == ("/t", "/v", "/x")


def test_the_report_counts_failures_and_puts_the_mending_below_them() -> None:
    fine = Finding(check="disk", where="worker", ok=True, says="20 GB")
    broken = Finding(check="gpu", where="worker", ok=False, says="none", mend="ask for one")
    said = report([fine, broken]).splitlines()
    assert said[1].startswith("FAIL worker")
    assert said[2].strip() == "mend: ask for one"
    assert said[3] == "1 of 2 checks failed"
    assert report([fine]).endswith("all 1 checks passed")


@pytest.mark.stack
def test_workers_are_examined_where_they_run_and_add_up_over_the_network(stack: Stack, s3: str) -> None:
    needs = Needs(storage=s3, mlflow=stack.env["MLFLOW_TRACKING_URI"], workers=2, cpus_per_worker=0.5)
    findings = visit(needs, patience_s=60)
    assert [finding.says for finding in findings if not finding.ok] == []
    assert {finding.check for finding in findings} == {"workers", "clock", "storage", "mlflow", "all-reduce"}
    assert "gloo over 2 workers" in named(findings, "all-reduce").says
    assert store.listing(s3) == {}


@pytest.mark.stack
def test_workers_that_do_not_fit_are_reported_instead_of_waited_for(ray_cluster: Stack) -> None:
    began = time.monotonic()
    [finding] = visit(Needs(workers=3, cpus_per_worker=1000), patience_s=3)
    assert not finding.ok
    assert "did not fit within 3 s" in finding.says
    assert time.monotonic() - began < 30


@pytest.mark.stack
def test_an_elastic_run_is_let_go_on_with_the_workers_that_came(
    ray_cluster: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    wait = ray.wait
    # the patience runs out at the moment when the two are there that fit: no clock decides whether they were quick
    monkeypatch.setattr(ray, "wait", lambda calls, *, num_returns, timeout: wait(calls, num_returns=2, timeout=timeout))
    needs = Needs(workers=3, min_workers=1, cpus_per_worker=ray_cluster.cpus * 0.4)
    findings = visit(needs, patience_s=120)
    assert [finding.says for finding in findings if not finding.ok] == []
    assert "2 of 3 with" in named(findings, "workers").says
    assert "train.min_workers=1" in named(findings, "workers").says
    assert "gloo over 2" in named(findings, "all-reduce").says


@pytest.mark.stack
def test_a_worker_that_dies_under_examination_is_a_finding(ray_cluster: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dying:
        def here(self) -> None:
            os._exit(1)

    monkeypatch.setattr(doctor_workers, "_Member", Dying)
    [finding] = visit(Needs(workers=1, cpus_per_worker=0.1), patience_s=60)
    assert not finding.ok
    assert "ActorDiedError" in finding.says
    assert "OOMKilled" in finding.mend
