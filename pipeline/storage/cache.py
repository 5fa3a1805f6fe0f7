"""A folder of shards on the node, shared by its processes: each shard is fetched once, the oldest make room.

Entries are named by their sha256, so shards of different folders cannot be mixed up, and appear whole by a rename.
What is being fetched takes its room from the start; what a killed fetch has left goes when the next one wants room.
An entry that is evicted while somebody reads it stays readable for them: its name goes, its open file does not.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pipeline.storage import store


@dataclass(frozen=True)
class NodeCache:
    """The cache in `folder`, of at most `limit` bytes, or as many as the disk has room for."""

    folder: Path
    limit: int

    def open(self, url: str, *, sha256: str, size: int) -> BinaryIO:
        """A verified shard, open for reading at its start; fetched if it is not here.

        Raises:
            ValueError: the shard is larger than the whole cache, or not what the index says.
            FileNotFoundError, PermissionError, ConnectionError: as `store.fetch`.
            OSError: the disk is full, the cache's own entries left aside, or cannot be written (`is_of_the_disk`).
        """
        if size > self.limit:
            raise ValueError(f"{url} has {size} bytes and the cache {self.limit}; set a larger stream.cache_gb")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / f"{sha256}.tar"
        with self._locked(f"{sha256}.lock"):
            file = self._verified(path, sha256, size)
            if file is None:
                file = self._fetched(url, path, sha256, size)
        return file

    def _fetched(self, url: str, path: Path, sha256: str, size: int) -> BinaryIO:
        part = path.with_suffix(".part")
        part.unlink(missing_ok=True)
        while (file := self._reserved(part, size)) is None:
            time.sleep(0.05)
        try:
            store.fetch(url, file, sha256=sha256, size=size)
            file.flush()
            part.rename(path)
        except BaseException:
            file.close()
            part.unlink(missing_ok=True)
            raise
        file.seek(0)
        return file

    def _reserved(self, part: Path, size: int) -> BinaryIO | None:
        """A file whose bytes the disk and the limit have room for; None while others that are fetched take it up."""
        with self._locked("evict.lock"):
            if not self._make_room(size):
                return None
            file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w+b")
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                else:  # macOS
                    file.truncate(size)
            except BaseException:
                file.close()
                part.unlink()
                raise
            return file

    def _verified(self, path: Path, sha256: str, size: int) -> BinaryIO | None:
        try:
            file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb")
        except FileNotFoundError:
            return None
        if os.fstat(file.fileno()).st_size == size and hashlib.file_digest(file, "sha256").hexdigest() == sha256:
            file.seek(0)
            os.utime(file.fileno())
            return file
        file.close()
        path.unlink(missing_ok=True)
        return None

    def _make_room(self, size: int) -> bool:
        """Whether so many bytes fit, or need not wait for the fetches under way to end."""
        self._clear_killed()
        entries = self._entries("*.tar")
        fetched = sum(entry[1] for entry in self._entries("*.part"))
        held = fetched + sum(entry[1] for entry in entries)
        room = min(self.limit, held + shutil.disk_usage(self.folder).free)
        for _, freed, path in sorted(entries):
            if held + size <= room:
                break
            path.unlink(missing_ok=True)
            held -= freed
        return held + size <= self.limit

    def _entries(self, pattern: str) -> list[tuple[int, int, Path]]:
        """When last used, bytes, path."""
        entries = []
        for path in self.folder.glob(pattern):
            try:
                found = path.lstat()
                entries.append((found.st_mtime_ns, found.st_size, path))
            except FileNotFoundError:
                continue
        return entries

    def _clear_killed(self) -> None:
        """Remove what is fetched by nobody any more: its lock is free."""
        for part in self.folder.glob("*.part"):
            with suppress(OSError), _lock_file(part.with_suffix(".lock")) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                part.unlink(missing_ok=True)

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with _lock_file(self.folder / name) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _lock_file(path: Path) -> BinaryIO:
    """Open a lock, which stays as it is; through a link that somebody put there another file would be made."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b")


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
UNUSABLE = (
    *FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ELOOP, errno.ENOTDIR, errno.ENOENT, errno.EEXIST
)  # fmt: skip


def is_full(error: OSError) -> bool:
    """Whether an error says that a disk or a quota is full."""
    return error.errno in FULL


def is_of_the_disk(error: OSError) -> bool:
    """Whether an error is of a folder on this machine, and not of the store: it is full or cannot be written."""
    return error.errno in UNUSABLE


def node_cache(folder: str, gigabytes: float) -> NodeCache | None:
    """The cache that settings ask for; None where `folder` is empty."""
    return NodeCache(Path(folder).expanduser(), int(gigabytes * 1e9)) if folder else None
