"""What this user keeps on the machine is nobody else's to read, to take over or to point elsewhere."""

import os
import stat
from pathlib import Path

import pytest

from pipeline.storage.own_folder import make_private, own_folder
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.spool import Spool


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_it_is_made_for_its_user_alone(tmp_path: Path) -> None:
    made = make_private(own_folder("spool"))
    assert made == tmp_path / "lhrnet" / "spool"
    assert [stat.S_IMODE(place.stat().st_mode) for place in (made.parent, made)] == [0o700, 0o700]
    assert make_private(made) == made


def test_without_a_state_folder_its_name_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    assert own_folder("spool").parent.name == f"lhrnet-{os.getuid()}"


@pytest.mark.parametrize("wrong", ["a link", "writable", "another's"])
def test_one_that_others_could_change_is_refused(tmp_path: Path, wrong: str) -> None:
    place = tmp_path / "lhrnet"
    if wrong == "a link":
        (tmp_path / "theirs").mkdir()
        place.symlink_to(tmp_path / "theirs")
    else:
        place.mkdir(mode=0o700)
        if wrong == "writable":
            place.chmod(0o777)
        elif os.geteuid():
            pytest.skip("only root can give a folder to another user")
        else:
            os.chown(place, 12345, 12345)
    with pytest.raises(PermissionError, match=r"lhrnet is a link, belongs to another user or may be written to"):
        make_private(own_folder("spool"))


def test_links_in_a_spool_are_neither_sent_nor_cut(tmp_path: Path) -> None:
    secret = tmp_path / "key"
    secret.write_text("no newline at its end")
    folder = tmp_path / "run"
    (folder / "artifacts" / "1").mkdir(parents=True)
    (folder / "artifacts" / "1" / "key").symlink_to(secret)
    (folder / "0.jsonl").symlink_to(secret)
    assert Outbox(folder / "artifacts").waiting() == []
    assert Spool.left_behind(folder, but=folder / "own.jsonl") == []
    assert secret.read_text() == "no newline at its end"
