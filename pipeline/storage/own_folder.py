"""Folders on this machine that belong to the user alone: what lies in them is believed, sent and deleted."""

import os
import stat
import tempfile
from pathlib import Path


def own_folder(name: str) -> Path:
    """A folder of this name for this user: below $XDG_STATE_HOME where that is set, else in /tmp.

    It may not be there yet: `make_private` makes it.
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    root = Path(state) / "lhrnet" if state.startswith("/") else Path(tempfile.gettempdir()) / f"lhrnet-{os.getuid()}"
    return root / name


def make_private(folder: Path) -> Path:
    """Make a folder that nobody else may enter, or see that one that is there is such.

    Raises:
        PermissionError: it, or the folder it lies in where that is ours by name, belongs to another user, is a link, or
            others may write to it.
    """
    for place in (folder.parent, folder) if folder.parent.name.startswith("lhrnet") else (folder,):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = place.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o022:
            raise PermissionError(
                f"{place} is a link, belongs to another user or may be written to by others; remove it, or name a "
                "folder of your own"
            )
    return folder
