"""Reading over HTTP by range requests, with time-outs and retries.

A server is not trusted: it may send us to no other host but by https, not send more than was asked, nor so little a
second that a read takes for ever.
"""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pipeline.storage.address import shown

CHUNK = 1 << 20
TIMEOUT = 10.0
TRIES = 3
MIN_RATE, MIN_RATE_AFTER = 1000.0, 30.0
"""Bytes a second that a server must send on average once so many seconds have gone by."""


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to itself, or to https elsewhere: a plain address elsewhere may lie inside our own network."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """The next request, as urllib makes it."""
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme != "https" and (new.scheme, new.netloc) != (old.scheme, old.netloc):
            raise PermissionError(
                f"{req.full_url} sends us to {shown(newurl)}: only https addresses are followed elsewhere"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


_opener = urllib.request.build_opener(_Redirects)


def _open(url: str, headers: dict[str, str], method: str = "GET") -> Any:
    for attempt in range(1, TRIES + 1):
        try:
            return _opener.open(urllib.request.Request(url, headers=headers, method=method), timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code in (404, 410):
                raise FileNotFoundError(f"{url} is not there (the server says {error.code}); check the URL") from error
            if error.code in (401, 403):
                raise PermissionError(f"{url}: the server refuses to give it ({error.code})") from error
            if error.code < 500 or attempt == TRIES:
                raise ConnectionError(f"{url}: the server answered {error.code} {error.reason}") from error
        except (urllib.error.URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
            if attempt == TRIES:
                raise ConnectionError(f"{url} cannot be reached ({error}); check the address") from error
        time.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


def stream(url: str, start: int, length: int | None) -> Iterator[bytes]:
    """Yield what lies under `url` from `start` on.

    Raises:
        ConnectionResetError: the connection broke before the end.
        ConnectionError: the server does not answer range requests, or cannot be reached.
    """
    if length == 0:
        return
    ranged = start > 0 or length is not None
    end = "" if length is None else str(start + length - 1)
    with _open(url, {"Range": f"bytes={start}-{end}"} if ranged else {}) as answer:
        if ranged and answer.status != 206:
            raise ConnectionError(f"{url}: the server does not answer range requests; download the file first")
        promised = _length(url, answer)
        if ranged and length is not None and (promised or 0) > length:
            raise ConnectionError(f"{url}: the server sends {promised:,} bytes where {length:,} were asked for")
        got, began = 0, time.monotonic()
        try:
            while piece := answer.read1(CHUNK):
                got += len(piece)
                if length is not None and got > length:
                    raise ConnectionError(f"{url}: the server sends more than the {length:,} bytes that were asked for")
                yield piece
                took = time.monotonic() - began
                if took > MIN_RATE_AFTER and got < MIN_RATE * took:
                    raise ConnectionError(f"{url}: the server sent only {got:,} bytes in {took:.0f} s; try again later")
        except ConnectionError as error:
            if type(error) is ConnectionError:
                raise
            raise ConnectionResetError(f"{url}: the connection broke after {got} bytes ({error})") from error
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionResetError(f"{url}: the connection broke after {got} bytes ({error})") from error
        if got < (promised or 0):
            raise ConnectionResetError(f"{url}: the connection broke after {got} of {promised} bytes")


def size(url: str) -> int | None:
    """Bytes under `url`; None where there is nothing."""
    try:
        with _open(url, {}, method="HEAD") as answer:
            return _length(url, answer)
    except FileNotFoundError:
        return None


def _length(url: str, answer: Any) -> int | None:
    """Bytes that the server says to send; None where it does not say."""
    said = answer.headers.get("Content-Length")
    if said is None:
        return None
    if not said.isascii() or not said.isdigit():
        raise ConnectionError(f"{url}: the server says its length is {said[:40]!r}")
    return int(said)
