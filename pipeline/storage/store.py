"""One opener for every place where bytes lie: a folder, `file://`, `s3://`, and `http(s)://` to read from.

The endpoint and the keys of S3 come from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and
AWS_DEFAULT_REGION, never from a URL. Whatever is written appears whole under its name or not at all. A connection that
breaks is taken up again where it broke; one that stays broken is an error that names the URL, within a minute even
where a server takes the call and says nothing.
"""

import hashlib
import io
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote, urlsplit

from pipeline.storage import s3, web
from pipeline.storage.address import refuse_user
from pipeline.storage.atomic import atomic as atomic  # part of this module, for its callers

CHUNK = 1 << 20
TRIES = 3
MAX_BYTES = 1 << 30
"""Bytes that are read into memory at once, at most; nothing of a run or a data set but shards comes near."""


def scheme(url: str) -> str:
    """`file`, `s3`, `http` or `https`.

    Raises:
        ValueError: another scheme, a URL that carries a password, an s3 URL without a bucket or with //, or a file URL
            that is no path on this machine.
    """
    if "://" not in url:
        if url.startswith("models:/") and not Path(url).exists():
            raise ValueError(
                f"{url} is a registered model: evaluate, report, submit, predict, export and train.init_from take one, "
                "promote takes its number; elsewhere give a folder, or a URL like s3://bucket/prefix"
            )
        if not url:
            raise ValueError("an empty storage URL; give a folder, or a URL like s3://bucket/prefix")
        if re.match(r"(s3|https?|file):", url, re.IGNORECASE) and not Path(url).exists():
            raise ValueError(f"{url!r} lacks a slash; write it like s3://bucket/prefix or https://host/file")
        return "file"
    parts = urlsplit(url)
    refuse_user(f"a storage URL for {parts.hostname}", url, "put keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
    if not url.startswith(parts.scheme):
        raise ValueError(f"{url!r}: write {parts.scheme}:// in small letters")
    if parts.scheme not in ("file", "s3", "http", "https"):
        raise ValueError(f"{url!r}: storage knows a folder, file://, s3:// and http(s)://, not {parts.scheme}://")
    if parts.scheme == "s3" and not parts.netloc:
        raise ValueError(f"{url!r} names no bucket; it should look like s3://bucket/prefix")
    if parts.scheme == "s3" and "//" in parts.path:
        raise ValueError(
            f"{url!r} has an empty name between two slashes, which stores understand each in their own way; write one /"
        )
    if parts.scheme == "file" and (parts.netloc not in ("", "localhost") or parts.query or parts.fragment):
        raise ValueError(f"{url!r} is no path on this machine; write file:///folder, or the folder as it is")
    return parts.scheme


def local_path(url: str) -> Path:
    """The path of a folder or file:// URL."""
    return Path(unquote(urlsplit(url).path) if url.startswith("file://") else url).expanduser()


def is_local(url: str) -> bool:
    """Whether the URL is a path on this machine."""
    return scheme(url) == "file"


def join(url: str, *parts: str) -> str:
    """The URL of something below `url`; names are given as they are, and a file:// URL holds them quoted.

    A web address keeps its query at its end: `https://host/coco?key=1` and `val2017.zip` are
    `https://host/coco/val2017.zip?key=1`.
    """
    names = [quote(part) if url.startswith("file://") else part for part in parts]
    place, query = _without_query(url)
    return "/".join([place.rstrip("/"), *(name.strip("/") for name in names if name)]) + query


def last_name(url: str) -> str:
    """The last name in a URL's path, such as a file's, without a web address's query."""
    return _without_query(url)[0].rstrip("/").rpartition("/")[2]


def _without_query(url: str) -> tuple[str, str]:
    """A web address's two halves; in other places a `?` is a letter like any."""
    if not url.startswith(("http://", "https://")):
        return url, ""
    place, mark, query = url.partition("?")
    return place, mark + query


def stream(url: str, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """Yield the bytes of `url` from `start` on in pieces, taking a broken connection up again where it broke.

    Raises:
        FileNotFoundError: nothing is there.
        PermissionError: the keys are missing, wrong or expired.
        ConnectionError: the place cannot be reached, or the connection broke three times without progress.
        ValueError: the store sends a checksum, and the bytes are not those.
    """
    kind = scheme(url)
    if kind == "file":
        yield from _stream_file(local_path(url), start, length)
        return
    pieces = s3.stream if kind == "s3" else web.stream
    done, tries = 0, 0
    while True:
        try:
            for piece in pieces(url, start + done, None if length is None else length - done):
                done, tries = done + len(piece), 0
                yield piece
            return
        except ConnectionResetError:
            tries += 1
            if tries >= TRIES:
                raise
            time.sleep(0.2 * 2**tries)
            if length is not None and done >= length:
                return


def _stream_file(path: Path, start: int, length: int | None) -> Iterator[bytes]:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not here; check the path")
    left = path.stat().st_size if length is None else length
    with path.open("rb") as file:
        file.seek(start)
        while left and (piece := file.read(min(CHUNK, left))):
            left -= len(piece)
            yield piece


def read_bytes(url: str, start: int = 0, length: int | None = None) -> bytes:
    """All bytes of `url`, or `length` of them from `start` on. What comes damaged is read once more.

    Raises:
        OSError: there is more than `MAX_BYTES`.
        OSError, ValueError: as `stream` does.
    """
    try:
        return _read_once(url, start, length)
    except ValueError:
        if is_local(url):
            raise
        return _read_once(url, start, length)


def _read_once(url: str, start: int, length: int | None) -> bytes:
    pieces: list[bytes] = []
    left = MAX_BYTES
    for piece in stream(url, start, length):
        left -= len(piece)
        if left < 0:
            raise OSError(f"{url} has more than {MAX_BYTES:,} bytes, too many to be read at once")
        pieces.append(piece)
    return b"".join(pieces)


def write_bytes(url: str, data: bytes) -> None:
    """Put `data` under `url`, whole or not at all. Folders are made as needed."""
    _write(url, io.BytesIO(data))


def create(url: str, data: bytes) -> bool:
    """Put data where nothing lies. False where something does; of several at once, one gets True."""
    if not is_local(url):
        return s3.create(url, data)
    path = local_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with atomic(path, replace=False) as file:
            file.write(data)
    except FileExistsError:
        return False
    return True


def put_file(path: str | Path, url: str) -> None:
    """Put a file's bytes under `url`, whole or not at all."""
    with open(path, "rb") as file:
        _write(url, file)


def _write(url: str, data: BinaryIO) -> None:
    kind = scheme(url)
    if kind == "s3":
        s3.write(url, data)
        return
    if kind != "file":
        raise ValueError(f"{url} can only be read; write to a folder or to s3://bucket/prefix")
    path = local_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as file:
        shutil.copyfileobj(data, file, CHUNK)


def size(url: str) -> int | None:
    """Bytes of the object under `url`; None where there is none."""
    kind = scheme(url)
    if kind == "file":
        path = local_path(url)
        return path.stat().st_size if path.is_file() else None
    return (s3.size if kind == "s3" else web.size)(url)


def exists(url: str) -> bool:
    """Whether an object lies under `url`; a folder counts where it lies on this machine or holds objects in S3."""
    if is_local(url):
        return local_path(url).exists()
    return size(url) is not None or (scheme(url) == "s3" and s3.holds_objects(url))


def listing(url: str) -> dict[str, int]:
    """Bytes of every object below `url`, by its path relative to `url`, in order of the paths; empty if none.

    Raises:
        ValueError: `url` is http(s)://, which has no listing.
    """
    kind = scheme(url)
    if kind == "s3":
        return s3.listing(url)
    if kind != "file":
        raise ValueError(f"{url} cannot be listed over {kind}; use a folder or s3://bucket/prefix")
    root = local_path(url)
    found = {path.relative_to(root).as_posix(): path.stat().st_size for path in root.rglob("*") if path.is_file()}
    return dict(sorted(found.items()))


def delete(url: str) -> None:
    """Remove the object under `url` and everything below it. Nothing there is no error."""
    kind = scheme(url)
    if kind == "s3":
        s3.delete(url)
    elif kind != "file":
        raise ValueError(f"{url} can only be read; nothing was deleted")
    elif (path := local_path(url)).is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def fetch(url: str, to: str | Path | BinaryIO, *, sha256: str | None = None, size: int | None = None) -> None:
    """Copy `url` into a file and hold it against what it should be. What comes damaged is read once more.

    Args:
        url: where it lies.
        to: a path, which appears whole or not at all, or a file open for writing.
        sha256: hexadecimal; None leaves it unchecked.
        size: bytes; None leaves them unchecked.

    Raises:
        ValueError: the bytes are not those asked for; the message names the URL and both values.
        FileNotFoundError, PermissionError, ConnectionError: as `stream`.
    """
    if isinstance(to, str | Path):
        path = Path(to)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as file:
            fetch(url, file, sha256=sha256, size=size)
        return
    begin = to.tell()
    try:
        _fetch_once(url, to, sha256, size)
    except ValueError:
        if is_local(url):
            raise
        to.seek(begin)
        to.truncate()
        _fetch_once(url, to, sha256, size)


def _fetch_once(url: str, to: BinaryIO, sha256: str | None, size: int | None) -> None:
    digest, count = hashlib.sha256(), 0
    for piece in stream(url):
        count += len(piece)
        if size is not None and count > size:
            break
        digest.update(piece)
        to.write(piece)
    if size is not None and count != size:
        seen = f"{count} bytes" if count < size else "more bytes"
        raise ValueError(f"{url} has {seen} where {size} were written: it was cut or changed")
    if sha256 is not None and digest.hexdigest() != sha256:
        raise ValueError(f"{url} has sha256 {digest.hexdigest()[:12]} where {sha256[:12]} was written: it was changed")
