"""One process at a time works on a run."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.cluster import lease
from pipeline.cluster.lease import MAX_LIFE_SECONDS, Lease, UnreadableLeaseError, newest, should_stop
from pipeline.cluster.stop_notice import Notice
from pipeline.storage import store


def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    run = str(tmp_path)
    with Lease(run, life=1.0), pytest.raises(RuntimeError, match=r"is being worked on by process \d+ on .* since 20"):
        Lease(run, life=1.0).__enter__()


def test_a_lease_that_was_given_back_is_free_at_once(tmp_path: Path) -> None:
    run = str(tmp_path)
    with Lease(run, life=30.0) as first:
        pass
    begun = time.monotonic()
    with Lease(run, life=30.0) as second:
        assert second.number == first.number + 1
    assert time.monotonic() - begun < 5


def test_a_dead_processs_lease_is_taken_over_when_it_has_run_out(tmp_path: Path) -> None:
    run = str(tmp_path)
    content = {"host": "gone", "pid": 1, "since": "2026", "life": 1.0, "beat": 3, "state": "held"}
    store.write_bytes(store.join(run, "lease", "00000007.json"), json.dumps(content).encode())
    begun = time.monotonic()
    with Lease(run, life=1.0) as taken:
        assert time.monotonic() - begun >= 1.0
        assert taken.number == 8


def test_a_holder_that_was_taken_over_notices(tmp_path: Path) -> None:
    run = str(tmp_path)
    with Lease(run, life=0.5) as first:
        assert store.create(store.join(run, "lease", f"{first.number + 1:08d}.json"), first._content())
        assert first.lost.wait(5)
        assert should_stop(run, first.number)


def test_workers_read_the_wish_to_stop_from_the_lease(tmp_path: Path) -> None:
    run = str(tmp_path)
    with Lease(run, life=30.0) as held:
        assert not should_stop(run, held.number)
        held.ask_to_stop()
        until = time.monotonic() + 5
        while not should_stop(run, held.number) and time.monotonic() < until:
            time.sleep(0.05)
        assert should_stop(run, held.number)


def test_a_store_that_is_away_for_a_while_costs_no_lease(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = str(tmp_path)
    real = store.write_bytes

    def away(url: str, data: bytes) -> None:
        raise ConnectionError("away")

    with Lease(run, life=0.5) as held:
        monkeypatch.setattr(store, "write_bytes", away)
        time.sleep(0.5)
        monkeypatch.setattr(store, "write_bytes", real)
        before = newest(run)
        time.sleep(0.5)
        after = newest(run)
        assert before
        assert after
        assert after.beat > before.beat
        assert not held.lost.is_set()


def race(url: str) -> list[bool]:
    won: list[bool] = []
    barrier = threading.Barrier(8)

    def contend() -> None:
        barrier.wait()
        won.append(store.create(url, b"x"))

    threads = [threading.Thread(target=contend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_of_many_at_once_one_is_granted_the_number(tmp_path: Path) -> None:
    assert sorted(race(str(tmp_path / "lease" / "1.json"))) == [False] * 7 + [True]
    assert [path.name for path in (tmp_path / "lease").iterdir()] == ["1.json"]


@pytest.mark.stack
def test_the_object_store_grants_the_number_to_one(s3: str) -> None:
    assert sorted(race(f"{s3}/lease/1.json")) == [False] * 7 + [True]


@pytest.mark.stack
def test_leases_in_the_object_store_refuse_and_are_given_back(s3: str) -> None:
    with Lease(s3, life=2.0), pytest.raises(RuntimeError, match="is being worked on"):
        Lease(s3, life=2.0).__enter__()
    with Lease(s3, life=2.0):
        pass


def test_two_that_begin_together_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = str(tmp_path)

    def late(*_: Any) -> None:
        return None

    with Lease(run, life=1.0):
        monkeypatch.setattr(lease, "newest", late)
        with pytest.raises(RuntimeError, match="has just begun"):
            Lease(run, life=1.0).__enter__()


GARBLED = [b"", b"<html>log in</html>", b"null", b'{"state": "held"}', b"[" * 100_000, b'{"host": 1, "pid": "x"}']


@pytest.mark.parametrize("answer", GARBLED)
def test_an_answer_that_is_no_lease_ends_neither_the_lease_nor_the_listening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    run = str(tmp_path)
    with Lease(run, life=0.5) as held:
        notice = Notice(run, held.number, every=0.05)
        real = store.read_bytes
        monkeypatch.setattr(store, "read_bytes", lambda url: answer)
        time.sleep(0.4)
        monkeypatch.setattr(store, "read_bytes", real)
        before = newest(run)
        assert before
        until = time.monotonic() + 5
        while (now := newest(run)) == before and time.monotonic() < until:
            time.sleep(0.05)
        assert now
        assert now.beat > before.beat, "the lease is renewed no more"
        assert not held.lost.is_set()
        assert not notice()
        held.ask_to_stop()
        assert notice.by_lease.wait(5), "nobody listens any more"
        notice.close()


@pytest.mark.parametrize("content", GARBLED)
def test_a_lease_that_stays_unreadable_is_taken_over(tmp_path: Path, content: bytes) -> None:
    run = str(tmp_path)
    store.write_bytes(store.join(run, "lease", "00000007.json"), content)
    with pytest.raises(UnreadableLeaseError, match=r"00000007\.json is no lease"):
        newest(run)
    with Lease(run, life=0.3) as taken:
        assert taken.number == 8
    assert [path.name for path in (tmp_path / "lease").iterdir()] == ["00000008.json"]


def test_a_lease_that_becomes_readable_again_has_a_holder(tmp_path: Path) -> None:
    run = str(tmp_path)
    with Lease(run, life=0.5) as held:
        store.write_bytes(store.join(run, "lease", f"{held.number:08d}.json"), b"")
        with pytest.raises(RuntimeError, match="is being worked on"):
            Lease(run, life=3.0).__enter__()


def test_no_lease_is_waited_for_longer_than_ten_minutes(tmp_path: Path) -> None:
    content = {"host": "gone", "pid": 1, "since": "2026", "life": 1e18, "beat": 3, "state": "held"}
    store.write_bytes(store.join(str(tmp_path), "lease", "00000001.json"), json.dumps(content).encode())
    held = newest(str(tmp_path))
    assert held
    assert held.life == MAX_LIFE_SECONDS


def test_all_leases_before_are_removed(tmp_path: Path) -> None:
    run = str(tmp_path)
    content = {"host": "gone", "pid": 1, "since": "2026", "life": 0.1, "beat": 3, "state": "free"}
    for number in range(1, 13):
        store.write_bytes(store.join(run, "lease", f"{number:08d}.json"), json.dumps(content).encode())
    with Lease(run, life=5.0):
        pass
    assert [path.name for path in (tmp_path / "lease").iterdir()] == ["00000013.json"]
