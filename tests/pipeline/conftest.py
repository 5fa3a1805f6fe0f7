"""A small drawn data set in COCO's layout and its shards, made once a session, and a web server.

Tests that change the data take a copy.
"""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pipeline.sharding import make_plans, serial, write_split
from pipeline.synthetic import SceneConfig, write_coco


@pytest.fixture(scope="session")
def drawn_coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO's layout: 45 training, 20 validation and 10 test images of 96 pixels. Not to be changed."""
    folder = tmp_path_factory.mktemp("drawn") / "coco"
    return write_coco(folder, train=45, val=20, test=10, seed=3, config=SceneConfig(size=96), workers=1)


@pytest.fixture(scope="session")
def drawn_shards(drawn_coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of the drawn set's shards: train2017, val2017, test-dev2017. Not to be changed."""
    root = tmp_path_factory.mktemp("shards")
    for plan in make_plans(str(drawn_coco), str(root), ("train2017", "val2017", "test-dev2017"), dataset="drawn"):
        write_split(plan, runner=serial)
    return root


@pytest.fixture
def own_coco(drawn_coco: Path, tmp_path: Path) -> Path:
    """A copy of the drawn set that a test may damage."""
    return Path(shutil.copytree(drawn_coco, tmp_path / "coco"))


@pytest.fixture
def own_shards(drawn_shards: Path, tmp_path: Path) -> Path:
    """A copy of the shards that a test may damage."""
    return Path(shutil.copytree(drawn_shards, tmp_path / "shards"))


@dataclass
class Web:
    """A running HTTP server with range requests, which can be told to misbehave."""

    folder: Path
    address: str = ""
    ranges: bool = True
    drop_after: int = 0
    """Bytes after which a body is cut, until `drops` is used up; 0: never."""
    drops: int = 0
    fail_first: int = 0
    """Requests answered with 503 before the server works."""
    requests: list[str] = field(default_factory=list)
    sent: int = 0


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    """A server of the folder `tmp_path / "web"` on a free port of the loopback."""
    folder = tmp_path / "web"
    folder.mkdir()
    web = Web(folder)

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, body: bool) -> None:
            asked = self.headers.get("Range")
            web.requests.append(f"{self.command} {self.path} {asked}")
            path = web.folder / self.path.lstrip("/")
            if web.fail_first:
                web.fail_first -= 1
                self.send_error(503)
                return
            if not path.is_file():
                self.send_error(404)
                return
            data = path.read_bytes()
            if asked and web.ranges:
                first, _, last = asked.removeprefix("bytes=").partition("-")
                data = data[int(first) : int(last) + 1 if last else None]
                self.send_response(206)
            else:
                self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                if web.drops and len(data) > web.drop_after:
                    web.drops -= 1
                    data = data[: web.drop_after]
                web.sent += len(data)
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    web.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
