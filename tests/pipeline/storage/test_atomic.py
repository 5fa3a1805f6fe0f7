"""What is written appears whole or not at all, leaves nothing behind, and an error of the disk says where."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from pipeline.storage import store
from pipeline.storage.atomic import aside_folder, atomic

KILLED = """
import os, signal, sys
from pathlib import Path
from pipeline.storage.atomic import aside_folder, atomic
place = Path(sys.argv[1])
with atomic(place / "file") as file, aside_folder(place / "folder") as folder:
    file.write(b"half of it")
    file.flush()
    (folder / "below").mkdir()
    (folder / "below" / "x").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_is_taken_over_by_the_next(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert sorted(os.listdir(tmp_path)) == [".file.part", ".folder.part"]
    store.write_bytes(str(tmp_path / "file"), b"whole")
    with aside_folder(tmp_path / "folder") as folder:
        assert os.listdir(folder) == []
        folder.rename(tmp_path / "folder")
    assert (tmp_path / "file").read_bytes() == b"whole"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_what_another_is_writing_is_left_alone(tmp_path: Path) -> None:
    with atomic(tmp_path / "x") as first, aside_folder(tmp_path / "y") as one:
        first.write(b"first")
        (one / "of-one").touch()
        store.write_bytes(str(tmp_path / "x"), b"second")
        with aside_folder(tmp_path / "y") as other:
            assert (other != one, os.listdir(other)) == (True, [])
        assert os.listdir(one) == ["of-one"]
        assert (tmp_path / "x").read_bytes() == b"second"
    assert (tmp_path / "x").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["x"]


def test_no_link_that_lies_in_wait_is_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("theirs")
    (tmp_path / ".x.part").symlink_to(tmp_path / "precious")
    store.write_bytes(str(tmp_path / "x"), b"ours")
    assert (tmp_path / "precious").read_text() == "theirs"
    assert (tmp_path / "x").read_bytes() == b"ours"


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_the_old_one(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "evaluation.json"
    store.write_bytes(str(path), b"old")
    with full_disk(1000), pytest.raises(OSError, match=r"evaluation\.json"):
        store.write_bytes(str(path), b"x" * 2000)
    with full_disk(1000), pytest.raises(OSError, match=r"lease\.json"):
        store.create(str(tmp_path / "lease.json"), b"x" * 2000)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [path.name]
