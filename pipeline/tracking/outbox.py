"""A queue on disk of files for a run's artifacts; it outlives the process that wrote them.

<folder>/<time>/<name>    the name is the one they get; older ones go first

What the disk does not take waits in memory.
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from pipeline.storage.atomic import atomic

MAX_HELD = 64 << 20
"""Bytes of files that wait in memory, at most."""
MEMORY = Path("/dev/shm")
"""A folder in memory, where the machine has one: MLflow's client sends files by their path."""


def _is_ours(file: Path) -> bool:
    """Whether it is a file of this folder: through a link another's file would be sent, and removed."""
    return file.is_file() and not file.is_symlink() and not file.parent.is_symlink()


class Outbox:
    """One folder, which exists while something waits. One thread may put while another sends.

    Args:
        folder: where files wait; a later process continues with what it finds there. None: all wait in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._held: list[tuple[str, bytes]] = []

    def put(self, name: str, content: bytes) -> None:
        """Queue a file.

        Raises:
            OSError: the disk does not take it, and too much waits in memory already.
        """
        with self._lock:
            try:
                self._write(name, content)
            except OSError:
                if sum(len(held) for _, held in self._held) + len(content) > MAX_HELD:
                    raise
                self._held.append((name, content))

    def _write(self, name: str, content: bytes) -> None:
        if self.folder is None:
            raise OSError("there is no folder for files that wait")
        path = self.folder / f"{time.time_ns():020d}" / name
        try:
            path.parent.mkdir(parents=True)
            with atomic(path) as file:
                file.write(content)
        except OSError:
            self._remove_empty(path)
            raise

    def waiting(self) -> list[tuple[str, Path]]:
        """Names and files that are not sent yet, oldest first."""
        places = sorted(self.folder.iterdir()) if self.folder and self.folder.is_dir() else []
        files = [(place, file) for place in places for file in sorted(place.rglob("[!.]*")) if _is_ours(file)]
        return [(file.relative_to(place).as_posix(), file) for place, file in files]

    def sent(self, file: Path) -> None:
        """Remove a file, and the folders that are empty without it."""
        with self._lock, contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
            self._remove_empty(file)

    def held(self) -> bool:
        """Whether a file waits in memory."""
        return bool(self._held)

    @contextlib.contextmanager
    def oldest_held(self) -> Iterator[tuple[str, Path]]:
        """Name and path of the oldest file that waits in memory; it waits no more when the block ends well."""
        name, content = self._held[0]
        with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as place:
            file = Path(place, Path(name).name)
            file.write_bytes(content)
            yield name, file
        with self._lock:
            del self._held[0]

    def _remove_empty(self, file: Path) -> None:
        """Remove the folders that are empty without a file."""
        assert self.folder
        with contextlib.suppress(OSError):
            for folder in file.parents[: len(file.relative_to(self.folder).parts)]:
                folder.rmdir()
