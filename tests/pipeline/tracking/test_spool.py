"""Rows that wait in a file: kept in order through kills, taken up by whoever comes next."""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

import pytest

from pipeline.tracking.spool import Spool


def file_of(spool: Spool) -> BinaryIO:
    assert spool._file
    return spool._file


def test_rows_come_back_in_order_and_once_sent_no_more(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    for number in range(5):
        spool.append({"n": number})
    first = spool.waiting(3)
    assert [row["n"] for row in first.rows] == [0, 1, 2]
    assert spool.waiting(3) == first
    spool.mark(first)
    assert [row["n"] for row in spool.waiting(3).rows] == [3, 4]


def test_a_file_in_use_is_left_to_its_writer(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    assert Spool.left_behind(tmp_path, but=tmp_path / "mine.jsonl") == []
    with pytest.raises(BlockingIOError):
        Spool(spool.path)


def test_a_killed_writers_rows_are_taken_up_where_it_stopped_sending(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    for number in range(3):
        spool.append({"n": number})
    spool.mark(spool.waiting(1))
    file_of(spool).write(b'{"n": 3, "torn')
    file_of(spool).close()
    (found,) = Spool.left_behind(tmp_path, but=tmp_path / "mine.jsonl")
    assert [row["n"] for row in found.waiting(9).rows] == [1, 2]
    found.append({"n": 9})
    assert [row["n"] for row in found.waiting(9).rows] == [1, 2, 9]


def test_files_are_taken_up_oldest_first(tmp_path: Path) -> None:
    for number in range(3):
        spool = Spool.create(tmp_path)
        spool.append({"n": number})
        file_of(spool).close()
    found = Spool.left_behind(tmp_path, but=tmp_path / "mine.jsonl")
    assert [spool.waiting(1).rows[0]["n"] for spool in found] == [0, 1, 2]


def test_an_empty_or_sent_file_is_removed_and_another_kept(tmp_path: Path) -> None:
    sent, waiting = Spool.create(tmp_path), Spool.create(tmp_path)
    waiting.append({"n": 1})
    sent.append({"n": 1})
    sent.mark(sent.waiting(1))
    sent.close()
    waiting.close()
    assert list(tmp_path.glob("*")) == [waiting.path]


@pytest.mark.parametrize("mark", [b"", b"\0\0\0", b"abc"])
def test_a_mark_that_a_lost_machine_left_damaged_counts_as_nothing_sent(tmp_path: Path, mark: bytes) -> None:
    spool = Spool.create(tmp_path)
    spool.append({"n": 0})
    file_of(spool).close()
    Path(str(spool.path)).with_suffix(".sent").write_bytes(mark)
    assert Spool(spool.path).waiting(9).rows == [{"n": 0}]


def test_a_damaged_row_is_passed_by(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.append({"n": 0})
    file_of(spool).write(b"\0\0\0\n")
    spool.append({"n": 1})
    found = spool.waiting(9)
    assert found.rows == [{"n": 0}, {"n": 1}]
    spool.mark(found)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_rows_that_a_full_disk_does_not_take_wait_in_memory_in_their_order(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]], caplog: pytest.LogCaptureFixture
) -> None:
    spool = Spool.create(tmp_path)
    with full_disk(20):
        for number in range(6):
            spool.append({"n": number})
        found = [spool.waiting(2)]
        while found[-1].rows:
            spool.mark(found[-1])
            found.append(spool.waiting(2))
    assert [row["n"] for waiting in found for row in waiting.rows] == [0, 1, 2, 3, 4, 5]
    assert caplog.text.count("cannot be written") == 1
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_once_there_is_room_again_rows_from_memory_are_on_disk_for_the_next_process(
    tmp_path: Path, full_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    spool = Spool.create(tmp_path)
    with full_disk(20):
        for number in range(4):
            spool.append({"n": number})
    assert spool.waiting(0).rows == []
    file_of(spool).close()
    (found,) = Spool.left_behind(tmp_path, but=None)
    assert [row["n"] for row in found.waiting(9).rows] == [0, 1, 2, 3]


def test_what_neither_the_disk_nor_anybody_takes_is_said_to_be_lost(caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool.in_memory(OSError("no folder"))
    spool.append({"n": 0})
    spool.close()
    assert "1 rows of figures are lost" in caplog.text


def test_a_folder_that_is_taken_away_costs_no_row(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path / "run")
    spool.append({"n": 0})
    shutil.rmtree(tmp_path / "run")
    spool.append({"n": 1})
    found = spool.waiting(9)
    assert found.rows == [{"n": 0}, {"n": 1}]
    spool.mark(found)
    spool.close()
