"""A queue on disk of rows for MLflow: one JSON object a line, and beside it a file that says how many bytes are sent.

Each process writes a file of its own and locks it while it lives. A later process first sends the files whose writers
are gone, oldest first, so that the rows of a killed process come before those that follow them. Rows that the disk does
not take wait in memory, behind those in the file.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Waiting:
    """The oldest rows that are not yet sent."""

    rows: list[dict[str, Any]]
    end: int
    """Bytes of the file that are sent once these rows are."""
    held: int
    """How many of the rows are from memory."""


class Spool:
    """One file of rows. `append` may be called from one thread while another reads.

    Args:
        path: the file; made where it does not exist. None: all rows wait in memory.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be made.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._held: list[bytes] = []
        """Rows that the disk did not take, in order; all of them come after those in the file."""
        self._warned = self._closed = False
        self._file: BinaryIO | None = None
        self.sent = 0
        """Bytes of the file that are sent."""
        if path is None:
            return
        self._file = path.open("ab+", buffering=0)  # a row is in the file, or an error says that it is not
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise
        self._cut_torn_row()
        self.sent = self._marked()

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new file in the folder, named by the time, so that names sort by age; memory where there can be none."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return cls(folder / f"{time.time_ns():020d}-{os.getpid()}.jsonl")
        except OSError as error:
            return cls.in_memory(error)

    @classmethod
    def in_memory(cls, error: OSError) -> Self:
        """One without a file, since there can be none."""
        made = cls(None)
        made.warn(error)
        return made

    @classmethod
    def left_behind(cls, folder: Path, but: Path | None) -> list[Self]:
        """The files of writers that are gone, oldest first."""
        found = []
        for path in sorted(folder.glob("*.jsonl")):
            if path != but and not path.is_symlink():  # through a link another's file would be cut and removed
                with contextlib.suppress(OSError):  # in use, just removed, or another user's
                    found.append(cls(path))
        return found

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row: to the file, or in memory where the disk takes none.

        Raises:
            ValueError: it is closed.
        """
        with self._lock:
            if self._closed:
                raise ValueError("the spool is closed")
            self._held.append(json.dumps(row).encode() + b"\n")
            if len(self._held) == 1:
                self._write_held()

    def waiting(self, most: int) -> Waiting:
        """The oldest rows not yet sent. A damaged row is skipped."""
        with self._lock:
            self._write_held()
            lines = self._unsent(most)
            if lines:
                return Waiting(_parsed(lines), self.sent + sum(map(len, lines)), 0)
            held = self._held[:most]
            return Waiting(_parsed(held), self.sent, len(held))

    def mark(self, done: Waiting) -> None:
        """Note that these rows are sent. Where the disk takes no note, a later process sends them again."""
        with self._lock:
            self.sent = done.end
            del self._held[: done.held]
            if self.path is None:
                return
            mark = self.path.with_suffix(".sent")
            new = mark.with_suffix(".new")
            try:
                new.write_text(str(done.end))
                new.replace(mark)
            except OSError as error:
                self.warn(error)
                with contextlib.suppress(OSError):
                    new.unlink(missing_ok=True)
                    mark.unlink(missing_ok=True)

    def close(self) -> None:
        """Close and unlock the file; it is removed if all of it is sent."""
        with self._lock:
            self._closed = True
            self._write_held()
            if self._held:
                log.warning("%d rows of figures are lost: neither MLflow nor the disk took them", len(self._held))
                self._held.clear()
            if self._file is None or self.path is None:
                return
            if self.sent >= os.fstat(self._file.fileno()).st_size:
                for file in (self.path, self.path.with_suffix(".sent")):
                    with contextlib.suppress(OSError):
                        file.unlink(missing_ok=True)
            self._file.close()
            self._file = None

    def warn(self, error: OSError) -> None:
        """Say once that what the disk does not take waits in memory."""
        if not self._warned:
            where = f" {self.path.parent}" if self.path else ""
            log.warning(
                "the spool%s cannot be written (%s): figures go to MLflow from memory, and are lost if this process is "
                "killed before it has them; free the disk, or set tracking.spool to another",
                *(where, error),
            )
        self._warned = True

    def _write_held(self) -> None:
        """Write what waits in memory to the file, as far as the disk takes it; a row is written whole or not at all."""
        while self._held and self._file is not None:
            whole = os.fstat(self._file.fileno()).st_size
            row = self._held[0]
            try:
                written = self._file.write(row)
                if written != len(row):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError as error:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file.fileno(), whole)
                self.warn(error)
                return
            del self._held[0]

    def _unsent(self, most: int) -> list[bytes]:
        """The oldest whole lines of the file that are not sent."""
        lines: list[bytes] = []
        if self._file is not None:
            with os.fdopen(os.dup(self._file.fileno()), "rb") as file:  # not by its name, which may be gone
                file.seek(self.sent)
                for line in file:
                    if len(lines) == most or not line.endswith(b"\n"):
                        break
                    lines.append(line)
        return lines

    def _marked(self) -> int:
        """What the mark says; nothing where a machine that lost its power left it empty or full of zeros."""
        assert self.path
        try:
            return int(self.path.with_suffix(".sent").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _cut_torn_row(self) -> None:
        """A process that was killed while it wrote leaves half a row."""
        assert self.path
        assert self._file
        whole = self.path.read_bytes()
        if whole and not whole.endswith(b"\n"):
            self._file.truncate(whole.rfind(b"\n") + 1)


def _parsed(lines: Iterable[bytes]) -> list[dict[str, Any]]:
    rows = []
    for line in lines:
        with contextlib.suppress(ValueError):
            rows.append(json.loads(line))
    return rows
