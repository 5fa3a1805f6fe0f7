"""Files and folders of this machine that appear whole under their name or not at all.

What is being written lies beside its place as `.NAME.part`, locked by its writer. A writer that was killed leaves it
there, unlocked: the next one that writes NAME takes it over, so nothing is left for good, and what another process is
still writing is never touched, whatever machine or container that one is in.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def named_errors(path: str | Path) -> Iterator[None]:
    """Have errors of the disk say where: those of a write, such as that of a full one, come without a name.

    Args:
        path: what is written.

    Raises:
        OSError: as in the block, with the path where it had none.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


class atomic:  # noqa: N801 - reads as a verb: `with atomic(path) as file`
    """A file that takes its name when the block ends well, and leaves nothing when it does not.

    Args:
        path: its place; the folder is there.
        replace: whether it takes the place of a file that lies there already; else that is an error.

    Raises:
        OSError: it cannot be written; names the path.
        FileExistsError: something lies there and is not to be replaced.
    """

    def __init__(self, path: Path, *, replace: bool = True) -> None:
        self.path, self.replace = path, replace

    def __enter__(self) -> BinaryIO:
        """Open a temporary file beside the path."""
        with named_errors(self.path):
            self.file, self.temporary = _open_aside(self.path)
        self._made = os.fstat(self.file.fileno())
        return self.file

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *_: object) -> None:
        """Give the file its name, or remove it."""
        if isinstance(error, OSError) and error.errno is not None and error.filename is None:
            error.filename = str(self.path)
        try:
            if kind is None:
                with named_errors(self.path):
                    self.file.flush()
                    os.fchmod(self.file.fileno(), 0o644)
                    if self.replace:
                        os.replace(self.temporary, self.path)  # while it is locked: nobody takes it over before
                    else:
                        os.link(self.temporary, self.path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(self._made, self.temporary.lstat()):  # not what the next writer has begun
                    self.temporary.unlink()
            with contextlib.suppress(OSError):  # what could not be flushed is told already
                self.file.close()


@contextlib.contextmanager
def aside_folder(path: Path) -> Iterator[Path]:
    """A folder to write to beside a path, empty at first; gone at the end, unless it was renamed.

    Raises:
        OSError: it cannot be made.
    """
    folder = path.with_name(f".{path.name}.part")
    lock = None
    try:
        lock = _locked_folder(folder)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _open_aside(path: Path) -> tuple[BinaryIO, Path]:
    """A file to write to, empty and locked, and its place: one that a killed process left, or a new one."""
    aside = path.with_name(f".{path.name}.part")
    while True:
        try:
            descriptor = os.open(aside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError:  # a link, another user's, or no folder to write to: then this fails too, and says so
            break
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # another process is writing, or nothing can be locked here
            os.close(descriptor)
            break
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), aside.lstat()):
                os.ftruncate(descriptor, 0)
                return os.fdopen(descriptor, "wb"), aside
        os.close(descriptor)  # its writer has just given it its name
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    return os.fdopen(descriptor, "wb"), Path(name)


def _locked_folder(folder: Path) -> int:
    """Make a folder, or take over and empty one that a killed process left; its lock.

    Raises:
        OSError: another process has it, or it cannot be made.
    """
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for entry in os.scandir(folder):
            shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
        return descriptor
    except BaseException:
        os.close(descriptor)
        raise
