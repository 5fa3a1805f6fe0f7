"""A queue on disk of rows for MLflow: one JSON object a line, and beside it a file that says how many bytes are sent.

Each process writes a file of its own and locks it while it lives. A later process first sends the files whose writers
are gone, oldest first, so that the rows of a killed process come before those that follow them.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self


class Spool:
    """One file of rows. `append` may be called from one thread while another reads.

    Args:
        path: the file; made where it does not exist.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mark = path.with_suffix(".sent")
        self._file = path.open("ab+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise
        self._cut_torn_row()
        self.sent = self._marked()
        """Bytes of the file that are sent."""

    @classmethod
    def create(cls, folder: Path) -> Self:
        """A new file in the folder, named by the time, so that names sort by age."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder / f"{time.time_ns():020d}-{os.getpid()}.jsonl")

    @classmethod
    def left_behind(cls, folder: Path, but: Path) -> list[Self]:
        """The files of writers that are gone, oldest first."""
        found = []
        for path in sorted(folder.glob("*.jsonl")):
            if path != but and not path.is_symlink():  # through a link another's file would be cut and removed
                with contextlib.suppress(BlockingIOError, FileNotFoundError):
                    found.append(cls(path))
        return found

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a row."""
        self._file.write(json.dumps(row).encode() + b"\n")
        self._file.flush()

    def waiting(self, most: int) -> tuple[list[dict[str, Any]], int]:
        """The oldest rows not yet sent, and what `sent` becomes when they are. A damaged row is skipped."""
        rows: list[dict[str, Any]] = []
        end = self.sent
        with self.path.open("rb") as file:
            file.seek(self.sent)
            for line in file:
                if len(rows) == most or not line.endswith(b"\n"):
                    break
                with contextlib.suppress(ValueError):
                    rows.append(json.loads(line))
                end += len(line)
        return rows, end

    def mark(self, sent: int) -> None:
        """Note that the file is sent up to here."""
        self.sent = sent
        new = self._mark.with_suffix(".new")
        new.write_text(str(sent))
        new.replace(self._mark)

    def close(self) -> None:
        """Close and unlock the file; it is removed if all of it is sent."""
        if self.sent >= self.path.stat().st_size:
            self.path.unlink()
            self._mark.unlink(missing_ok=True)
        self._file.close()

    def _marked(self) -> int:
        """What the mark says; nothing where a machine that lost its power left it empty or full of zeros."""
        try:
            return int(self._mark.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _cut_torn_row(self) -> None:
        """A process that was killed while it wrote leaves half a row."""
        whole = self.path.read_bytes()
        if whole and not whole.endswith(b"\n"):
            self._file.truncate(whole.rfind(b"\n") + 1)
