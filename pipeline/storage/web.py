"""Reading over HTTP by range requests, with time-outs and retries."""

import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

CHUNK = 1 << 20
TIMEOUT = 10.0
TRIES = 3


def _open(url: str, headers: dict[str, str], method: str = "GET") -> Any:
    for attempt in range(1, TRIES + 1):
        try:
            return urllib.request.urlopen(urllib.request.Request(url, headers=headers, method=method), timeout=TIMEOUT)
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
        promised = int(answer.headers.get("Content-Length", -1))
        got = 0
        try:
            while piece := answer.read(CHUNK):
                got += len(piece)
                yield piece
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionResetError(f"{url}: the connection broke after {got} bytes ({error})") from error
        if got < promised:
            raise ConnectionResetError(f"{url}: the connection broke after {got} of {promised} bytes")


def size(url: str) -> int | None:
    """Bytes under `url`; None where there is nothing."""
    try:
        with _open(url, {}, method="HEAD") as answer:
            return int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
    except FileNotFoundError:
        return None
