"""What whoever reaches the page's port can do to it: real sockets that send half, read nothing, or break off."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from pipeline.serving.page import listener
from pipeline.serving.page.listener import names_us
from pipeline.serving.page.server import PageServer

LARGE = bytes(60_000_000)
"""More than the kernel keeps for a reader that does not read."""


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer({"/": b"here", "/model.onnx": LARGE}, port=0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def connected(server: PageServer) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=30)


def request(path: str = "/", host: str = "127.0.0.1") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()


def status(server: PageServer, host: str = "127.0.0.1") -> int:
    with connected(server) as browser:
        browser.sendall(request(host=host))
        return int(browser.recv(1000).split()[1])


def until_all_have_left(server: PageServer) -> None:
    with server._changed:
        assert server._changed.wait_for(lambda: server.connections == 0, timeout=30)


def read_to_the_end(browser: socket.socket) -> bytes:
    """All that still comes before the server closes; the socket's own 30 s are the test's failure."""
    pieces = []
    try:
        while piece := browser.recv(1 << 20):
            pieces.append(piece)
    except ConnectionResetError:
        pass
    return b"".join(pieces)


@pytest.mark.parametrize("half", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n"])
def test_who_does_not_finish_a_request_is_let_go(
    server: PageServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], half: bytes
) -> None:
    monkeypatch.setattr(listener, "REQUEST_S", 0.2)
    with connected(server) as browser:
        browser.sendall(half)
        assert b"200" not in read_to_the_end(browser)
    until_all_have_left(server)
    assert capfd.readouterr() == ("", "")


def test_a_header_a_moment_does_not_hold_a_connection_open(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "REQUEST_S", 0.5)
    with connected(server) as browser:
        browser.settimeout(0.05)
        browser.sendall(b"GET / HTTP/1.1\r\n")
        for number in range(600):  # 30 s
            try:
                if not browser.recv(1000):
                    break
            except TimeoutError:
                browser.sendall(f"X-{number % 50}: 1\r\n".encode()[number % 5 :])
            except ConnectionError:
                break
        else:
            pytest.fail("it may go on for ever")


def test_who_reads_nothing_is_let_go(
    server: PageServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(listener, "STALL_S", 0.2)
    with connected(server) as browser:
        browser.sendall(request("/model.onnx"))
        assert browser.recv(4) == b"HTTP"
        until_all_have_left(server)
        assert len(read_to_the_end(browser)) < len(LARGE)
    assert capfd.readouterr() == ("", "")


def test_an_answer_is_not_waited_for_longer_than_is_said(server: PageServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "ANSWER_S", 0.2)
    with connected(server) as browser:
        browser.sendall(request("/model.onnx"))
        assert browser.recv(4) == b"HTTP"
        until_all_have_left(server)


def test_half_sent_requests_keep_nobody_out_and_take_no_threads_without_end(server: PageServer) -> None:
    before = threading.active_count()
    with ExitStack() as held:
        for _ in range(3 * listener.MOST):
            held.enter_context(connected(server)).sendall(b"GET / HTTP/1.1\r\n")
            assert threading.active_count() <= before + listener.MOST
        assert status(server) == 200
        assert server.connections <= listener.MOST


def test_several_requests_come_over_one_connection(server: PageServer) -> None:
    with connected(server) as browser:
        for _ in range(3):
            browser.sendall(request())
            answer = b""
            while not answer.endswith(b"here"):
                answer += (piece := browser.recv(10_000))
                assert piece, "the connection was closed"


def test_a_browser_that_breaks_off_is_no_error(server: PageServer, capfd: pytest.CaptureFixture[str]) -> None:
    with connected(server) as browser:
        browser.sendall(request("/model.onnx"))
        browser.recv(1000)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
    until_all_have_left(server)
    assert status(server) == 200
    assert capfd.readouterr() == ("", "")


def test_another_error_is_one_line(server: PageServer, capfd: pytest.CaptureFixture[str]) -> None:
    server.given = None  # type: ignore[assignment]
    with connected(server) as browser:
        browser.sendall(request())
        read_to_the_end(browser)
    until_all_have_left(server)
    said = capfd.readouterr().err
    assert said.startswith("a request from 127.0.0.1 failed: TypeError")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "bound", "ours", "others"),
    [
        ("127.0.0.1", "127.0.0.1", ["127.0.0.1:8000", "localhost", "LocalHost:1", "[::1]:8000", "127.0.0.2"], []),
        ("127.0.0.2", "127.0.0.2", ["127.0.0.2:8000", "localhost"], ["192.168.0.7"]),
        ("::1", "::1", ["[::1]:8000", "[::1]", "localhost"], []),
        ("desk.example", "192.168.0.7", ["desk.example:8000", "Desk.Example", "192.168.0.7"], ["localhost"]),
        ("192.168.0.7", "192.168.0.7", ["192.168.0.7:8000"], ["localhost", "127.0.0.1", "192.168.0.8"]),
        ("0.0.0.0", "0.0.0.0", ["127.0.0.1", "192.168.0.7:8000", "localhost", socket.gethostname()], []),
        ("::", "::", ["[::1]:80", "[fd00::7]:80", "192.168.0.7:8000"], []),
    ],
)
def test_a_server_answers_to_its_own_names_alone(given: str, bound: str, ours: list[str], others: list[str]) -> None:
    assert [name for name in ours if not names_us(name, given=given, bound=bound)] == []
    rebound = [
        "evil.example",
        "evil.example:8000",
        "",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "127.0.0.1@x",
    ]
    assert [name for name in [*rebound, *others] if names_us(name, given=given, bound=bound)] == []


@pytest.mark.parametrize("host", ["127.0.0.2", "127.9.9.9", "0.0.0.0"])
def test_a_page_under_another_name_gets_nothing_at_any_address(host: str) -> None:
    with PageServer({"/": b"here"}, host, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for name, wanted in (("evil.example", 403), (f"127.0.0.1:{server.server_address[1]}", 200)):
            with socket.create_connection((host, server.server_address[1]), timeout=30) as browser:
                browser.sendall(request(host=name))
                assert int(browser.recv(1000).split()[1]) == wanted
        server.shutdown()


def test_other_sites_may_embed_nothing(server: PageServer) -> None:
    with connected(server) as browser:
        browser.sendall(request())
        assert b"Cross-Origin-Resource-Policy: same-origin\r\n" in browser.recv(10_000)
