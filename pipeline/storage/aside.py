"""Files written aside and renamed; halves that a killed process left go with the next one that writes there."""

import contextlib
import os
import re
import socket
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

import psutil


class atomic:  # noqa: N801 - reads as a verb: `with atomic(path) as file`
    """A file that takes its name when the block ends well, and leaves nothing when it does not.

    Where the process is killed meanwhile, its half stays until the next one writes a file of the same name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> BinaryIO:
        """Open a temporary file beside the path."""
        _remove_halves_of_the_dead(self.path)
        mine = f".{self.path.name}.{_here()}_{os.getpid()}_"
        descriptor, self.temporary = tempfile.mkstemp(prefix=mine, dir=self.path.parent)
        self.file = os.fdopen(descriptor, "wb")
        return self.file

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Give the file its name, or remove it."""
        try:
            self.file.close()
            if kind is None:
                os.chmod(self.temporary, 0o644)
                os.replace(self.temporary, self.path)
        finally:
            Path(self.temporary).unlink(missing_ok=True)


def _here() -> str:
    """This machine, in eight letters: process numbers of another say nothing here."""
    return f"{zlib.crc32(socket.gethostname().encode()):08x}"


def _remove_halves_of_the_dead(path: Path) -> None:
    """Those beside a path that processes of this machine began, and do not live to end."""
    half = re.compile(rf"\.{re.escape(path.name)}\.{_here()}_(\d+)_\w+")
    with contextlib.suppress(OSError):  # writing does not fail for what another left
        for other in path.parent.glob(f".{_no_pattern(path.name)}.{_here()}_*"):
            found = half.fullmatch(other.name)
            if found and not psutil.pid_exists(int(found[1])):
                other.unlink(missing_ok=True)


def _no_pattern(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
