"""Checkpoints written beside the training, and which are kept."""

import threading
import time
from pathlib import Path

import pytest
import torch

from pipeline.checkpoints import checkpoint, saver
from pipeline.checkpoints.checkpoint import Checkpoint, CheckpointInfo
from pipeline.checkpoints.saver import Saver, superfluous


def entry(step: int, ap: float | None = None) -> CheckpointInfo:
    return CheckpointInfo(url=f"u{step}", step=step, metrics={} if ap is None else {"val/ap": ap})


def item(step: int, ap: float | None = None) -> Checkpoint:
    metrics = {} if ap is None else {"val/ap": ap}
    return Checkpoint(url="", step=step, config={}, weights={"w": torch.ones(2)}, metrics=metrics)


def test_the_last_two_and_the_best_are_kept() -> None:
    entries = [entry(1, 0.9), entry(2, 0.5), entry(3, 0.8), entry(4), entry(5, 0.1), entry(6)]
    assert [e.step for e in superfluous(entries, keep_best=2)] == [2, 4]
    assert superfluous(entries[:2], keep_best=1) == []


def test_of_equal_ap_the_newer_is_kept() -> None:
    entries = [entry(1, 0.5), entry(2, 0.5), entry(3), entry(4)]
    assert [e.step for e in superfluous(entries, keep_best=1)] == [1]


def test_all_that_was_submitted_is_written_and_the_superfluous_removed(tmp_path: Path) -> None:
    writer = Saver(str(tmp_path), keep_best=1)
    for step, ap in ((1, 0.9), (2, None), (3, 0.2), (4, None)):
        writer.submit(item(step, ap))
        while writer.saved != checkpoint.step_url(str(tmp_path), step):
            time.sleep(0.01)
    writer.close()
    assert [e.step for e in checkpoint.listing(str(tmp_path))] == [1, 3, 4]


def test_submitting_does_not_wait_for_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = checkpoint.save

    def slow(one: Checkpoint, url: str) -> None:
        time.sleep(0.5)
        real(one, url)

    monkeypatch.setattr(checkpoint, "save", slow)
    writer = Saver(str(tmp_path), keep_best=1)
    begun = time.monotonic()
    writer.submit(item(1))
    assert time.monotonic() - begun < 0.2
    writer.close()
    assert [e.step for e in checkpoint.listing(str(tmp_path))] == [1]


def test_a_store_that_is_away_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tries = checkpoint.save, []

    def away_twice(one: Checkpoint, url: str) -> None:
        tries.append(url)
        if len(tries) < 3:
            raise ConnectionError("away")
        real(one, url)

    monkeypatch.setattr(checkpoint, "save", away_twice)
    monkeypatch.setattr(saver, "PAUSES", (0.01, 0.01, 0.01))
    writer = Saver(str(tmp_path), keep_best=1)
    writer.submit(item(1))
    writer.close()
    assert len(tries) == 3
    assert [e.step for e in checkpoint.listing(str(tmp_path))] == [1]


def test_a_store_that_stays_away_is_an_error_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(one: Checkpoint, url: str) -> None:
        raise ConnectionError("still away")

    monkeypatch.setattr(checkpoint, "save", away)
    monkeypatch.setattr(saver, "PAUSES", (0.01,))
    writer = Saver(str(tmp_path), keep_best=1)
    writer.submit(item(1))
    with pytest.raises(ConnectionError, match="still away"):
        writer.close(patience=0.1)
    assert not writer._thread.is_alive(), "it writes nothing after its end"


@pytest.mark.parametrize(
    ("submitted", "written"),
    [
        ([(1, 0.9), (2, None), (3, 0.2)], [1, 2, 3]),
        ([(1, None), (2, None), (3, None), (4, None)], [2, 3, 4]),
        ([(1, 0.9), (2, None), (3, 0.2), (4, None), (5, None)], [1, 4, 5]),
        ([(1, float("nan")), (2, 0.9), (3, 0.2), (4, None)], [2, 3, 4]),
    ],
)
def test_three_wait_for_a_store_that_is_away_and_the_best_is_among_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    submitted: list[tuple[int, float | None]],
    written: list[int],
) -> None:
    done, back = [], threading.Event()

    def away(one: Checkpoint, url: str) -> None:
        if not back.is_set():
            raise ConnectionError("away")
        done.append(one.step)

    monkeypatch.setattr(checkpoint, "save", away)
    monkeypatch.setattr(saver, "PAUSES", (0.01,))
    writer = Saver(str(tmp_path), keep_best=1)
    for step, ap in submitted:
        writer.submit(item(step, ap))
        time.sleep(0.02)
    back.set()
    writer.close()
    assert done == written


def test_a_checkpoint_is_saved_even_where_others_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    real = checkpoint.save

    def save(one: Checkpoint, url: str) -> None:
        saved.append(url)
        real(one, url)

    def refused(url: str) -> None:
        raise PermissionError("no right to delete")

    monkeypatch.setattr(checkpoint, "save", save)
    monkeypatch.setattr(checkpoint, "remove", refused)
    writer = Saver(str(tmp_path), keep_best=1)
    urls = [checkpoint.step_url(str(tmp_path), step) for step in (1, 2, 3, 4)]
    for step in (1, 2, 3):
        writer.submit(item(step))
    while writer.saved != urls[2]:
        time.sleep(0.01)
    writer.submit(item(4))
    writer.close()
    assert saved == urls
    assert writer.failed is None


def test_halves_of_checkpoints_that_were_passed_are_removed(tmp_path: Path) -> None:
    for name in ("step-00000001", "step-00000009", "mine"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "weights.pt").write_bytes(b"half")
    writer = Saver(str(tmp_path), keep_best=1)
    writer.submit(item(5))
    writer.close()
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left == ["mine", "step-00000005", "step-00000009"]
