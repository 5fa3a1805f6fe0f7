"""To whom the page's server listens, for how long, and to how many at once.

Whoever can reach the port may send half a request, a header a minute, or read nothing of an answer. None of that holds
a thread for ever, and none of it keeps the next browser out: where all places are taken, who has waited longest leaves.
"""

import contextlib
import ipaddress
import socket
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from typing import Any

REQUEST_S = 20.0
"""Within this many seconds a request has come whole; the next one on the same connection too."""
STALL_S = 20.0
"""For this long a reader may take nothing of an answer."""
ANSWER_S = 600.0
"""An answer that has not been read whole by then is broken off: 14 MB take 23 kB/s."""
MOST = 32
"""Connections, each with its thread; a browser opens six."""


class BoundedServer(ThreadingHTTPServer):
    """A threading server with a bound on its threads, in number and in time. Handlers say `expect` what they do."""

    daemon_threads = True
    request_queue_size = 4 * MOST

    def __init__(self, *arguments: Any) -> None:
        self._deadlines: dict[socket.socket, float] = {}
        self._changed = threading.Condition()
        super().__init__(*arguments)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._deadlines)

    def expect(self, connection: socket.socket, seconds: float) -> None:
        """End a connection unless something else is expected of it by then."""
        with self._changed:
            if connection in self._deadlines:
                self._deadlines[connection] = time.monotonic() + seconds

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, for which room is made."""
        with self._changed:
            if len(self._deadlines) >= MOST:
                _end(min(self._deadlines, key=self._deadlines.__getitem__))
                self._changed.wait_for(lambda: len(self._deadlines) < MOST, timeout=1.0)
            full = len(self._deadlines) >= MOST
            if not full:
                self._deadlines[request] = time.monotonic() + REQUEST_S
        if full:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection; its place is free."""
        super().shutdown_request(request)
        with self._changed:
            self._deadlines.pop(request, None)
            self._changed.notify_all()

    def service_actions(self) -> None:
        """Twice a second: end whose time is up."""
        now = time.monotonic()
        with self._changed:
            for connection, deadline in self._deadlines.items():
                if deadline < now:
                    _end(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that breaks off is no error; anything else is one line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            print(f"a request from {client_address[0]} failed: {type(error).__name__}: {error}", file=sys.stderr)


def _end(connection: socket.socket) -> None:
    """Wake the thread that reads or writes here; it closes the connection itself."""
    with contextlib.suppress(OSError):  # it has gone
        connection.shutdown(socket.SHUT_RDWR)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a text is; None if it is a name."""
    try:
        return ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None


def names_us(header: str, *, given: str, bound: str) -> bool:
    """Whether a request's Host header names this server.

    Against DNS rebinding, by which a web page reaches a server under the page's own name: a name counts only if it was
    given, an address only if the server can have it.

    Args:
        header: the Host header.
        given: what the user said the server listens at.
        bound: the address that it listens at.
    """
    name = (header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() else header).strip("[]").lower()
    if name in (given.strip("[]").lower(), bound):
        return True
    here, asked = _address(bound), _address(name)
    if here is None:
        return False
    if here.is_unspecified:  # every address of this machine
        return asked is not None or name in ("localhost", socket.gethostname().lower())
    return here.is_loopback and (name == "localhost" or (asked is not None and asked.is_loopback))
