"""A local server for the page that runs an exported network in a browser.

The server serves a fixed list of files and accepts no uploads. The page may load from this server alone: its content
security policy forbids everything else.
"""

import errno
import json
import socket
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from pathlib import Path
from typing import Any

from lhrnet.decoder.grouping import GroupingConfig
from lhrnet.draw import FINE, LEFT, MIN_SCORE, PEOPLE, RIGHT
from pipeline.serving.onnx_network import Card, card_tree
from pipeline.serving.page import listener
from pipeline.serving.page.listener import BoundedServer, names_us

PAGE = ("index.html", "style.css", "app.js", "maps.js", "enlarged.js", "grouping.js", "assignment.js", "drawing.js")
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
}
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    # with these two a page may share memory between threads
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    # and with this no other site embeds what is served here
    "Cross-Origin-Resource-Policy": "same-origin",
}
PIECE = 1 << 18
"""Bytes that are written at once."""


def settings(card: Card, *, picture: bool = False) -> dict[str, Any]:
    """Settings of the page: the file's card, and how people are grouped and drawn.

    Args:
        card: of the network.
        picture: whether there is a picture to begin with.
    """
    skeleton = card.model.keypoints
    limbs = [(a, b, side) for (a, b), side in zip(skeleton.limbs, skeleton.colours, strict=True) if side != "hidden"]
    points = [(side, sigma < FINE) for side, sigma in zip(skeleton.sides, skeleton.sigmas, strict=True)]
    return {
        "card": card_tree(card),
        "grouping": asdict(GroupingConfig(order=skeleton.order)),
        "drawing": {
            "limbs": limbs,
            "points": points,
            "left": LEFT,
            "right": RIGHT,
            "people": PEOPLE,
            "min_score": card.min_score or MIN_SCORE,
        },
        "picture": picture,
    }


def content(model: bytes, card: Card, runtime: Path, picture: bytes | None = None) -> dict[str, bytes]:
    """All that the server serves, by path.

    Args:
        model: the exported file.
        card: its metadata.
        runtime: folder of onnxruntime-web's files.
        picture: an image file to begin with.
    """
    page = files("pipeline.serving.page")
    given = {f"/{name}": (page / name).read_bytes() for name in PAGE}
    given["/"] = given["/index.html"]
    given |= {f"/ort/{path.name}": path.read_bytes() for path in sorted(runtime.iterdir())}
    given["/model.onnx"] = model
    given["/model.json"] = json.dumps(settings(card, picture=picture is not None)).encode()
    if picture is not None:
        given["/picture"] = picture
    return given


class PageServer(BoundedServer):
    """Serves fixed content, to requests with the right host name only.

    Args:
        given: content by path.
        host: address to listen at.
        port: 0 takes a free one.

    Raises:
        OSError: the port is taken, or the host is no address of this machine.
    """

    def __init__(self, given: dict[str, bytes], host: str = "127.0.0.1", port: int = 8000) -> None:
        self.given = given
        self.host = host
        self.policy = POLICY
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            other = "--port" if error.errno in (errno.EADDRINUSE, errno.EACCES) else "--host"
            raise OSError(f"{host}:{port} cannot be listened at: {error.strerror}; give another {other}") from error

    @property
    def address(self) -> str:
        """What to open in a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}/"

    def knows(self, name: str) -> bool:
        """Whether a Host header names this server."""
        return names_us(name, given=self.host, bound=str(self.server_address[0]))


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    server_version = "lightweight-hrnet"
    sys_version = ""
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        self.connection.settimeout(listener.STALL_S)

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = self.path.partition("?")[0]
        self.server.expect(self.connection, listener.ANSWER_S)
        if not self.server.knows(self.headers.get("Host", "")):
            self._send(403, b"unknown host", "text/plain")
        elif path not in self.server.given:
            self._send(404, b"not here", "text/plain")
        else:
            suffix = ".html" if path == "/" else Path(path).suffix
            self._send(200, self.server.given[path], TYPES.get(suffix, "application/octet-stream"))
        self.server.expect(self.connection, listener.REQUEST_S)

    def _send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        own = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": self.server.policy,
        }
        for name, value in (HEADERS | own).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            for start in range(0, len(body), PIECE):
                self.wfile.write(body[start : start + PIECE])

    def log_message(self, *_: object) -> None:
        pass
