"""Rows that wait in a file: kept in order through kills, taken up by whoever comes next."""

from pathlib import Path

import pytest

from pipeline.tracking.spool import Spool


def test_rows_come_back_in_order_and_once_sent_no_more(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    for number in range(5):
        spool.append({"n": number})
    rows, end = spool.waiting(3)
    assert [row["n"] for row in rows] == [0, 1, 2]
    assert spool.waiting(3) == (rows, end)
    spool.mark(end)
    assert [row["n"] for row in spool.waiting(3)[0]] == [3, 4]


def test_a_file_in_use_is_left_to_its_writer(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    assert Spool.left_behind(tmp_path, but=tmp_path / "mine.jsonl") == []
    with pytest.raises(BlockingIOError):
        Spool(spool.path)


def test_a_killed_writers_rows_are_taken_up_where_it_stopped_sending(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    for number in range(3):
        spool.append({"n": number})
    spool.mark(spool.waiting(1)[1])
    spool._file.write(b'{"n": 3, "torn')
    spool._file.close()
    (found,) = Spool.left_behind(tmp_path, but=tmp_path / "mine.jsonl")
    assert [row["n"] for row in found.waiting(9)[0]] == [1, 2]
    found.append({"n": 9})
    assert [row["n"] for row in found.waiting(9)[0]] == [1, 2, 9]


def test_files_are_taken_up_oldest_first(tmp_path: Path) -> None:
    for number in range(3):
        spool = Spool.create(tmp_path)
        spool.append({"n": number})
        spool._file.close()
    found = Spool.left_behind(tmp_path, but=tmp_path / "mine.jsonl")
    assert [spool.waiting(1)[0][0]["n"] for spool in found] == [0, 1, 2]


def test_an_empty_or_sent_file_is_removed_and_another_kept(tmp_path: Path) -> None:
    sent, waiting = Spool.create(tmp_path), Spool.create(tmp_path)
    waiting.append({"n": 1})
    sent.append({"n": 1})
    sent.mark(sent.waiting(1)[1])
    sent.close()
    waiting.close()
    assert list(tmp_path.glob("*")) == [waiting.path]


@pytest.mark.parametrize("mark", [b"", b"\0\0\0", b"abc"])
def test_a_mark_that_a_lost_machine_left_damaged_counts_as_nothing_sent(tmp_path: Path, mark: bytes) -> None:
    spool = Spool.create(tmp_path)
    spool.append({"n": 0})
    spool._file.close()
    spool.path.with_suffix(".sent").write_bytes(mark)
    assert Spool(spool.path).waiting(9)[0] == [{"n": 0}]


def test_a_damaged_row_is_passed_by(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path)
    spool.append({"n": 0})
    spool._file.write(b"\0\0\0\n")
    spool.append({"n": 1})
    rows, end = spool.waiting(9)
    assert rows == [{"n": 0}, {"n": 1}]
    spool.mark(end)
    spool.close()
    assert list(tmp_path.iterdir()) == []
