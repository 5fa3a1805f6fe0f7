"""What the page's server gives and to whom, and what it takes for the page."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from lhrnet.decoder.grouping import GroupingConfig
from lhrnet.network import ModelConfig
from pipeline.serving.onnx_network import describe
from pipeline.serving.page import runtime
from pipeline.serving.page.server import POLICY, PageServer, content, settings

CARD = describe(ModelConfig(r=-4, input_size=64), size=64, precision="fp32", step=0, sha256="")


@contextmanager
def running(server: PageServer) -> Iterator[PageServer]:
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[PageServer]:
    with running(PageServer(content(b"model", CARD, tmp_path), port=0)) as server:
        yield server


def get(address: str, **headers: str) -> tuple[int, dict[str, str]]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers)


def test_the_server_gives_its_list_alone_and_only_by_its_own_name(serving: PageServer) -> None:
    status, headers = get(serving.address)
    assert (status, headers["Content-Security-Policy"]) == (200, POLICY)
    assert headers["Content-Type"].startswith("text/html")
    assert "connect-src 'self'" in POLICY
    assert "default-src 'none'" in POLICY
    assert get(f"{serving.address}model.onnx")[0] == 200
    for path in ("../pyproject.toml", "page_server.py", "%2e%2e/export.py", "picture"):
        assert get(serving.address + path)[0] == 404
    assert get(serving.address, Host="elsewhere.example")[0] == 403
    assert get(serving.address, Host=f"localhost:{serving.server_address[1]}")[0] == 200
    assert serving.server_address[0] == "127.0.0.1"
    with pytest.raises(OSError, match="--port"):
        PageServer({}, port=int(serving.server_address[1]))
    for host in ("nowhere.invalid", "192.0.2.1"):
        with pytest.raises(OSError, match="--host"):
            PageServer({}, host, 0)


def test_the_server_listens_at_an_address_of_version_six() -> None:
    try:
        server = PageServer({"/": b"here"}, "::1", 0)
    except OSError as error:
        pytest.skip(f"this machine has no IPv6: {error}")
    with running(server):
        assert server.address.startswith("http://[::1]:")
        assert get(server.address)[0] == 200
        assert get(server.address, Host="elsewhere.example")[0] == 403


def test_the_page_is_told_python_s_own_settings() -> None:
    told = json.loads(json.dumps(settings(CARD)))
    assert told["card"]["keypoints"][0] == "nose"
    assert told["grouping"] == json.loads(json.dumps(asdict(GroupingConfig())))
    assert [15, 13, "left"] in told["drawing"]["limbs"]


def test_another_package_than_the_pinned_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "package.tgz").write_bytes(b"something else")
    with pytest.raises(ValueError, match="sha512"):
        runtime.runtime(str(tmp_path / "package.tgz"))
    with pytest.raises(FileNotFoundError):
        runtime.runtime(str(tmp_path / "none.tgz"))
    assert not list(tmp_path.glob("cache/**/*.mjs"))
