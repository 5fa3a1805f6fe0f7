"""A proxy before a real HTTP server that does to the next requests what it is told to."""

import http.client
import random
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal, get_args
from urllib.parse import urlsplit

Fault = Literal[
    "drop",
    "lost answer",
    "cut",
    "short",
    "delay",
    "trickle",
    "500",
    "503",
    "429",
    "captive portal",
    "empty 200",
    "empty 500",
    "flip read",
    "flip write",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)
DELAY_S = 2.0
PORTAL = b"<html>Please log in to this network</html>"
HOP = ("transfer-encoding", "content-length", "connection", "expect", "host")
"""Headers that are of one connection alone."""


class FaultProxy:
    """Listens on loopback and passes requests on; `next` is done to as many of the next ones as `count` says."""

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self.upstream = (str(parts.hostname), int(parts.port or 80))
        self.count = 0
        self.done = 0
        self._next: Fault = "drop"
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            of = proxy

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def order(self, fault: Fault, count: int) -> None:
        """Do this to the next `count` requests; 0: to none."""
        with self._lock:
            self._next, self.count, self.done = fault, count, 0

    def take(self) -> Fault | None:
        """What is to be done to this request."""
        with self._lock:
            if self.done >= self.count:
                return None
            self.done += 1
            return self._next


class _Handler(BaseHTTPRequestHandler):
    of: FaultProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError, http.client.HTTPException):
            self._break_off()

    def _break_off(self) -> None:
        self.close_connection = True
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _any(self) -> None:
        body, fault = self._body(), self.of.take()
        if fault == "drop":
            return self._break_off()
        if fault in ("500", "503", "429"):
            return self._say(int(fault), b"<Error><Code>SlowDown</Code><Message>busy</Message></Error>")
        if fault in ("captive portal", "empty 200"):
            return self._say(200, PORTAL if fault == "captive portal" else b"")
        if fault == "empty 500":
            return self._say(500, b"")
        if fault == "delay":
            time.sleep(DELAY_S)
        self._pass_on(_flipped(body) if fault == "flip write" else body, fault)
        return None

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_PATCH = _any  # noqa: N815

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline() not in (b"\r\n", b""):  # trailers
            pass
        return b"".join(pieces)

    def _say(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _pass_on(self, body: bytes, fault: Fault | None) -> None:
        behind = http.client.HTTPConnection(*self.of.upstream, timeout=60)
        behind.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        behind.putheader("Host", self.headers.get("Host", ""))
        for name, value in self.headers.items():
            if name.lower() not in HOP:
                behind.putheader(name, value)
        if body or self.command in ("PUT", "POST"):
            behind.putheader("Content-Length", str(len(body)))
        behind.endheaders(body)
        answer = behind.getresponse()
        content = answer.read()
        behind.close()
        if fault == "lost answer":
            return self._break_off()
        if fault == "flip read":
            content = _flipped(content)
        if fault == "short":
            content = content[: len(content) // 2]
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in HOP:
                self.send_header(name, value)
        length = answer.headers.get("Content-Length", "0") if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            return self._break_off()
        step = max(1, len(content) // 4) if fault == "trickle" else max(1, len(content))
        for start in range(0, len(content), step):
            self.wfile.write(content[start : start + step])
            if fault == "trickle":
                time.sleep(DELAY_S / 4)
        return None


def _flipped(data: bytes) -> bytes:
    if not data:
        return data
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def orders(draw: random.Random) -> tuple[Fault, int]:
    """A fault, and how many requests it befalls: mostly one, sometimes more than are tried again."""
    return draw.choice(FAULTS), draw.choice([1, 1, 1, 2, 40])
