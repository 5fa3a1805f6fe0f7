"""MLflow is reached as its own client reaches it, and an address that is none is one line before the work."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.mlflow_run import connect


class Guarded(BaseHTTPRequestHandler):
    """A proxy that asks for a password before anything, and behind it an MLflow without /health."""

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        known = {"Basic " + base64.b64encode(b"me:secret").decode(), "Bearer token"}
        status = 401 if self.headers.get("Authorization") not in known else 404 if self.path == "/health" else 200
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}" if status == 200 else b"no")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def guarded() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "variables",
    [{"MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": "secret"}, {"MLFLOW_TRACKING_TOKEN": "token"}],
    ids=["user and password", "token"],
)
def test_who_has_the_password_comes_in_though_a_proxy_guards_it_and_there_is_no_health(
    guarded: str, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert connect(TrackingConfig(uri=guarded)).tracking_uri == guarded


def test_who_has_none_is_told_at_once(guarded: str) -> None:
    with pytest.raises(ConnectionError, match=r"MLflow could not be reached at http.*401.*password"):
        connect(TrackingConfig(uri=guarded))


@pytest.mark.parametrize(
    "address", ["foo://x", "localhost:5000", "postgresql://h/db", "mysql+pymysql://h/db", "http://127.0.0.1:abc"]
)
def test_an_address_that_is_none_is_one_line(address: str) -> None:
    with pytest.raises((ValueError, ConnectionError)) as refused:
        connect(TrackingConfig(uri=address))
    assert address in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_password_in_the_address_is_refused_and_not_printed() -> None:
    with pytest.raises(ValueError, match="MLFLOW_TRACKING_PASSWORD") as refused:
        connect(TrackingConfig(uri="http://alice:S3cretPw@127.0.0.1:1"))
    assert "S3cretPw" not in str(refused.value)
