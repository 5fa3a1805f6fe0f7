"""A small drawn data set in COCO's layout and its shards, made once a session; a web server; a door to a real server.

Tests that change the data take a copy.
"""

import contextlib
import resource
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from pipeline.scenes.synthetic import SceneConfig, write_coco
from pipeline.sharding.plan import make_plans
from pipeline.sharding.write import serial, write_split


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Makes a file system of so many bytes. Only root may mount one."""
    mounted: list[Path] = []

    def small_disk(size: int) -> Path:
        folder = tmp_path / f"disk-{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("a file system cannot be mounted here")
        mounted.append(folder)
        return folder

    yield small_disk
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def full_disk() -> Callable[[int], contextlib.AbstractContextManager[None]]:
    """`with full_disk(100):` no file grows beyond 100 bytes: the kernel takes what fits and refuses the rest.

    Needs no rights, and holds for the whole process: write nothing else inside.
    """

    @contextlib.contextmanager
    def full_disk(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return full_disk


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
    missing: int = 404
    """What is answered for a file that is not there."""
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
                self.send_error(web.missing)
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


class Door:
    """A TCP forwarder before a real server, that can be shut: then who is inside is thrown out and nobody gets in."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.target, self.open = target, True
        self.ends: set[socket.socket] = set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def shut(self) -> None:
        """The server is away from now on."""
        self.open = False
        for end in list(self.ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        """It is back."""
        self.open = True

    def _serve(self) -> None:
        while True:
            try:
                caller, _ = self.listener.accept()
            except OSError:
                return
            if not self.open:
                caller.close()
                continue
            server = socket.create_connection(self.target)
            self.ends |= {caller, server}
            for one, other in ((caller, server), (server, caller)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while self.open and (data := one.recv(65536)):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
            self.ends.discard(end)


@pytest.fixture
def door_to() -> Iterator[Callable[[str], Door]]:
    """Makes a door before the server at an http address."""
    doors = []

    def door_to(address: str) -> Door:
        parts = urlsplit(address)
        doors.append(Door((str(parts.hostname), int(parts.port or 80))))
        return doors[-1]

    yield door_to
    for door in doors:
        door.listener.close()
