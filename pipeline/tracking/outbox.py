"""A queue on disk of files for a run's artifacts; it outlives the process that wrote them.

<folder>/<time>/<name>    the name is the one they get; older ones go first
"""

import contextlib
import threading
import time
from pathlib import Path

from pipeline.storage.store import atomic


def _is_ours(file: Path) -> bool:
    """Whether it is a file of this folder: through a link another's file would be sent, and removed."""
    return file.is_file() and not file.is_symlink() and not file.parent.is_symlink()


class Outbox:
    """One folder, which exists while something waits. One thread may put while another sends.

    Args:
        folder: where files wait; a later process continues with what it finds there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()

    def put(self, name: str, content: bytes) -> None:
        """Queue a file.

        Raises:
            OSError: it cannot be written.
        """
        path = self.folder / f"{time.time_ns():020d}" / name
        with self._lock:
            path.parent.mkdir(parents=True)
            with atomic(path) as file:
                file.write(content)

    def waiting(self) -> list[tuple[str, Path]]:
        """Names and files that are not sent yet, oldest first."""
        places = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        files = [(place, file) for place in places for file in sorted(place.rglob("[!.]*")) if _is_ours(file)]
        return [(file.relative_to(place).as_posix(), file) for place, file in files]

    def sent(self, file: Path) -> None:
        """Remove a file, and the folders that are empty without it."""
        with self._lock, contextlib.suppress(OSError):
            file.unlink(missing_ok=True)
            for folder in file.parents[: len(file.relative_to(self.folder).parts)]:
                folder.rmdir()
