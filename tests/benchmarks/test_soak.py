"""The soak tells good from bad: its proxy does what it is told, its fuzzer sees what a reader does wrong."""

import contextlib
import http.client
import json
import random
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.soak import fuzz
from benchmarks.soak.fuzz import handled
from benchmarks.soak.inputs import Reader
from benchmarks.soak.mutate import as_bytes, changed_bytes, changed_tree
from benchmarks.soak.proxy import FAULTS, Fault, FaultProxy

CONTENT = b"0123456789" * 10


class _Kept(BaseHTTPRequestHandler):
    """Gives and takes one object."""

    content = CONTENT

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        self.wfile.write(self.content)

    def do_PUT(self) -> None:
        type(self).content = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    _Kept.content = CONTENT
    with ThreadingHTTPServer(("127.0.0.1", 0), _Kept) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made = FaultProxy(f"http://127.0.0.1:{server.server_address[1]}")
        yield made
        made.server.shutdown()
        made.server.server_close()
        server.shutdown()


def ask(proxy: FaultProxy, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    asked = http.client.HTTPConnection(proxy.address.removeprefix("http://"), timeout=30)
    asked.request(method, "/object", body)
    answer = asked.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_befalls_as_many_requests_as_it_is_ordered_for(proxy: FaultProxy, fault: Fault) -> None:
    proxy.order(fault, 1)
    try:
        status, content = ask(proxy)
    except (OSError, http.client.HTTPException):
        assert fault in ("drop", "lost answer", "cut")
    else:
        assert fault in ("delay", "trickle", "flip write") or (status, content) != (200, CONTENT)
    assert proxy.done == 1
    assert ask(proxy) == (200, CONTENT)
    assert proxy.done == 1


def test_a_lost_answer_and_a_flipped_bit_have_been_written_and_a_dropped_one_has_not(proxy: FaultProxy) -> None:
    for fault, kept in (("drop", CONTENT), ("lost answer", b"abc"), ("flip write", b"acc")):
        proxy.order(fault, 1)  # type: ignore[arg-type]
        with contextlib.suppress(OSError, http.client.HTTPException):
            ask(proxy, "PUT", b"abc")
        assert ask(proxy)[1] == kept


def _for_ever() -> str:
    time.sleep(60)
    return ""


def _says(error: BaseException | None) -> str:
    def read(_: object) -> str:
        if error is not None:
            raise error
        return ""

    return handled(Reader("it", lambda draw: None, read), None)


def test_a_reader_may_refuse_and_may_not_crash_hang_or_take_all_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _says(None) == _says(ValueError("no")) == _says(FileNotFoundError("no")) == ""
    for wrong in (KeyError("x"), MemoryError(), RecursionError(), OverflowError()):
        assert type(wrong).__name__ in _says(wrong)
    monkeypatch.setattr(fuzz, "SLOW_S", 1)
    assert "takes over 1 s" in handled(Reader("it", lambda draw: None, lambda _: _for_ever()), None)


def test_one_seed_makes_the_same_inputs_and_leaves_the_original_alone() -> None:
    tree = {"people": [{"id": 1, "at": [1.5, 2.5]}, {"id": 2, "name": "x"}]}
    before = json.dumps(tree)

    def made(seed: int) -> list[bytes]:
        draw = random.Random(seed)
        return [as_bytes(draw, changed_tree(draw, tree)) for _ in range(50)] + [changed_bytes(draw, CONTENT)]

    assert made(1) == made(1) != made(2)
    assert len(set(made(1))) > 40
    assert json.dumps(tree) == before
