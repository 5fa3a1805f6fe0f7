"""Files that wait to be sent: oldest first, whoever put them there."""

from pathlib import Path

from pipeline.tracking.outbox import Outbox


def test_files_wait_under_their_names_oldest_first_and_leave_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "artifacts"
    assert Outbox(folder).waiting() == []
    Outbox(folder).put("pictures/a.jpg", b"a")
    Outbox(folder).put("b.jpg", b"b")
    later = Outbox(folder)
    (first, file), (second, other) = later.waiting()
    assert (first, file.read_bytes(), second) == ("pictures/a.jpg", b"a", "b.jpg")
    later.sent(file)
    assert [name for name, _ in later.waiting()] == ["b.jpg"]
    later.sent(other)
    assert list(tmp_path.iterdir()) == []


def test_half_a_file_is_not_sent(tmp_path: Path) -> None:
    (tmp_path / "0" / "pictures").mkdir(parents=True)
    (tmp_path / "0" / "pictures" / ".a.jpg.x1").write_bytes(b"ha")
    assert Outbox(tmp_path).waiting() == []
