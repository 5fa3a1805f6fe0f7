"""What a run tells MLflow: never raises, never waits, nothing lost, nothing doubled, in order."""

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from mlflow.entities import Metric, RunTag
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INTERNAL_ERROR, RESOURCE_DOES_NOT_EXIST

from pipeline.tracking import mlflow_run
from pipeline.tracking import sender as module
from pipeline.tracking.config import TrackingConfig
from pipeline.tracking.mlflow_run import TrackedRun
from pipeline.tracking.tracker import NullTracker, Tracker, start_tracker

RUN = TrackedRun(uri="http://nowhere", experiment_id="1", run_id="r1")


class FakeServer:
    """Takes what a client sends, or fails; keeps what came in, as MLflow does."""

    def __init__(self) -> None:
        self.away = False
        self.metrics: list[tuple[str, int, float]] = []
        self.tags: dict[str, str] = {}
        self.fail_after_write = 0
        self.files: dict[str, bytes] = {}
        self.no_files: Exception | None = None

    def log_batch(self, run_id: str, metrics: Any = (), tags: Any = ()) -> None:
        if self.away:
            raise ConnectionError("away")
        rows = [(m.key, m.step, m.value) for m in metrics]
        self.metrics += [row for row in rows if row not in self.metrics]  # the real one leaves out equal rows, too
        self.tags |= {tag.key: tag.value for tag in tags}
        if self.fail_after_write:
            self.fail_after_write -= 1
            raise TimeoutError("no answer, but it was written")

    def log_artifact(self, run_id: str, file: str, folder: str | None) -> None:
        if self.no_files:
            raise self.no_files
        self.files[f"{folder}/{Path(file).name}" if folder else Path(file).name] = Path(file).read_bytes()

    def get_metric_history(self, run_id: str, name: str) -> list[Metric]:
        if self.away:
            raise ConnectionError("away")
        return [Metric(key, value, 0, step) for key, step, value in self.metrics if key == name]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    fake = FakeServer()
    monkeypatch.setattr(module, "client", lambda uri: fake)
    return fake


def until(condition: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_rows_arrive_in_order(server: FakeServer, tmp_path: Path) -> None:
    with Tracker(RUN, tmp_path, pause=0.01) as tracker:
        for step in range(500):
            tracker.metrics({"loss": 1 / (1 + step), "lr": 0.1}, step)
        tracker.tags({"a": "b"})
    assert [step for key, step, _ in server.metrics if key == "loss"] == list(range(500))
    assert server.tags == {"a": "b"}
    assert list((tmp_path / "r1").iterdir()) == []


def test_an_outage_neither_raises_nor_waits_and_is_caught_up_with(server: FakeServer, tmp_path: Path) -> None:
    server.away = True
    with Tracker(RUN, tmp_path, pause=0.01) as tracker:
        begun = time.monotonic()
        for step in range(300):
            tracker.metrics({"loss": step}, step)
        assert time.monotonic() - begun < 1
        time.sleep(0.1)
        assert server.metrics == []
        server.away = False
        until(lambda: len(server.metrics) == 300)
    assert [step for _, step, _ in server.metrics] == list(range(300))


def test_a_server_that_never_comes_leaves_the_rows_to_the_next_attempt(server: FakeServer, tmp_path: Path) -> None:
    server.away = True
    tracker = Tracker(RUN, tmp_path, pause=0.01)
    for step in range(10):
        tracker.metrics({"loss": step}, step)
    assert not tracker.close(patience=0.3)
    server.away = False
    with Tracker(RUN, tmp_path, pause=0.01) as again:
        again.metrics({"loss": 10}, 10)
    assert [step for _, step, _ in server.metrics] == list(range(11))


def test_steps_repeated_after_a_kill_are_not_doubled(server: FakeServer, tmp_path: Path) -> None:
    with Tracker(RUN, tmp_path, pause=0.01) as first:
        for step in range(8):
            first.metrics({"loss": step, "val/ap": 0.1}, step)
    with Tracker(RUN, tmp_path / "another machine", pause=0.01) as second:
        for step in range(5, 12):  # back at the checkpoint of step 5
            second.metrics({"loss": step + 0.001, "val/ap": 0.1}, step)
    assert [step for key, step, _ in server.metrics if key == "loss"] == list(range(12))
    assert [step for key, step, _ in server.metrics if key == "val/ap"] == list(range(12))


def test_rows_of_a_lost_first_worker_are_sent_though_its_successor_elsewhere_was_faster(
    server: FakeServer, tmp_path: Path
) -> None:
    server.away = True
    here = Tracker(RUN, tmp_path / "a", pause=0.01)
    for step in range(1, 11):
        here.metrics({"loss": step}, step)
    assert not here.close(patience=0.05)
    server.away = False
    with Tracker(RUN, tmp_path / "b", pause=0.01) as elsewhere:
        for step in range(8, 15):
            elsewhere.metrics({"loss": step}, step)
    with Tracker(RUN, tmp_path / "a", pause=0.01):
        pass
    assert sorted(step for _, step, _ in server.metrics) == list(range(1, 15))


def test_of_a_step_that_was_written_twice_the_first_is_sent(server: FakeServer, tmp_path: Path) -> None:
    with Tracker(RUN, tmp_path, pause=0.01) as tracker:
        for value in (0.1, 0.2):
            tracker.metrics({"loss": value}, 1)
    assert server.metrics == [("loss", 1, 0.1)]


@pytest.mark.parametrize("error", [PermissionError("/mlflow"), MlflowException("away", INTERNAL_ERROR)])
def test_files_that_are_not_taken_hold_up_no_rows_and_wait(
    server: FakeServer, tmp_path: Path, error: Exception
) -> None:
    server.no_files = error
    tracker = Tracker(RUN, tmp_path, pause=0.01)
    tracker.artifact("pictures/1.jpg", b"one")
    for step in range(49):
        tracker.metrics({"loss": step}, step)
    assert not tracker.close(patience=0.05)
    assert len(server.metrics) == 49
    assert server.files == {}
    server.no_files = None
    with Tracker(RUN, tmp_path, pause=0.01) as again:
        again.artifact("2.jpg", b"two")
    assert server.files == {"pictures/1.jpg": b"one", "2.jpg": b"two"}
    assert list((tmp_path / "r1").iterdir()) == []


def test_a_file_that_is_refused_for_good_is_let_go(server: FakeServer, tmp_path: Path) -> None:
    server.no_files = MlflowException("no such run", RESOURCE_DOES_NOT_EXIST)
    with Tracker(RUN, tmp_path, pause=0.01) as tracker:
        tracker.artifact("1.jpg", b"one")
    assert list((tmp_path / "r1").iterdir()) == []


def test_a_batch_whose_answer_was_lost_is_not_doubled(server: FakeServer, tmp_path: Path) -> None:
    server.fail_after_write = 2
    with Tracker(RUN, tmp_path, pause=0.01) as tracker:
        for step in range(5):
            tracker.metrics({"loss": step}, step)
    assert [step for _, step, _ in server.metrics] == list(range(5))


def test_a_name_of_its_own_pace_is_not_held_back_by_another(server: FakeServer, tmp_path: Path) -> None:
    with Tracker(RUN, tmp_path, pause=0.01) as tracker:
        tracker.metrics({"loss": 0.0}, 100)
        tracker.metrics({"val/ap": 0.5}, 90)
    assert sorted(server.metrics) == [("loss", 100, 0.0), ("val/ap", 90, 0.5)]


def test_where_no_folder_can_be_written_all_goes_from_memory_and_it_is_said_once(
    server: FakeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    with start_tracker(RUN, tmp_path / "file") as tracker:
        for step in range(9):
            tracker.metrics({"loss": 1.0}, step)
        tracker.artifact("pictures/grid.jpg", b"people")
    assert [step for _, step, _ in server.metrics] == list(range(9))
    assert server.files == {"pictures/grid.jpg": b"people"}
    assert caplog.text.count("set tracking.spool") == 1


def test_a_full_disk_costs_neither_row_nor_file_while_the_server_is_up(
    server: FakeServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    full_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    with start_tracker(RUN, tmp_path) as tracker:
        server.away = True
        with full_disk(200):
            for step in range(50):
                tracker.metrics({"loss": float(step)}, step)
            tracker.artifact("pictures/grid.jpg", b"people" * 100)
        server.away = False
    assert [step for _, step, _ in server.metrics] == list(range(50))
    assert server.files == {"pictures/grid.jpg": b"people" * 100}
    assert caplog.text.count("cannot be written") == 1
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_without_a_run_nothing_is_written(tmp_path: Path) -> None:
    with start_tracker(None, tmp_path) as tracker:
        assert type(tracker) is NullTracker
        tracker.metrics({"loss": 1.0}, 1)
        tracker.artifact("picture.jpg", b"x")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def door(mlflow_server: Any, door_to: Callable[[str], Any]) -> Any:
    return door_to(mlflow_server.env["MLFLOW_TRACKING_URI"])


@pytest.mark.stack
def test_the_fake_server_answers_as_the_real_one_does(mlflow_server: Any, tmp_path: Path) -> None:
    real = mlflow_run.connect(TrackingConfig())
    run = mlflow_run.open_run(real, experiment="tracker", name="fake", identity=str(tmp_path), params={})
    seen = []
    for server, run_id in ((FakeServer(), "r1"), (real, run.run_id)):
        for _ in range(2):  # the same batch again, as after a lost answer
            server.log_batch(run_id, metrics=[Metric("loss", 0.5, 7, 1), Metric("loss", 0.25, 7, 2)])
        server.log_batch(run_id, metrics=[Metric("loss", 0.75, 8, 1)])  # another value: another row
        server.log_batch(run_id, tags=[RunTag("stage", "one"), RunTag("other", "x")])
        server.log_batch(run_id, tags=[RunTag("stage", "two")])
        (tmp_path / "a.txt").write_text("people")
        server.log_artifact(run_id, str(tmp_path / "a.txt"), "pictures")
        server.log_artifact(run_id, str(tmp_path / "a.txt"), None)
        seen.append([(m.key, m.step, m.value) for m in server.get_metric_history(run_id, "loss")])
        assert server.get_metric_history(run_id, "none") == []
    assert sorted(seen[0]) == sorted(seen[1]) == [("loss", 1, 0.5), ("loss", 1, 0.75), ("loss", 2, 0.25)]
    tags = real.get_run(run.run_id).data.tags
    fake = FakeServer()
    fake.log_batch("r1", tags=[RunTag("stage", "one"), RunTag("other", "x")])
    fake.log_batch("r1", tags=[RunTag("stage", "two")])
    assert fake.tags.items() <= tags.items()
    assert fake.tags["stage"] == "two"


@pytest.mark.stack
def test_the_real_server_goes_and_comes_back(door: Any, tmp_path: Path) -> None:
    mlflow = mlflow_run.connect(TrackingConfig(uri=door.address))
    run = mlflow_run.open_run(mlflow, experiment="tracker", name="a", identity=str(tmp_path), params={"lr": 0.1})
    with Tracker(run, tmp_path, pause=0.05) as tracker:
        for step in range(10):
            tracker.metrics({"loss": step}, step)
        until(lambda: len(mlflow.get_metric_history(run.run_id, "loss")) == 10, 30)
        door.shut()
        for step in range(10, 60):
            tracker.metrics({"loss": step}, step)
        tracker.artifact("pictures/grid.txt", b"people")
        time.sleep(1.0)
        door.reopen()
    history = mlflow.get_metric_history(run.run_id, "loss")
    assert [metric.step for metric in history] == list(range(60))
    assert [metric.value for metric in history] == list(range(60))
    assert [item.path for item in mlflow.list_artifacts(run.run_id, "pictures")] == ["pictures/grid.txt"]


@pytest.mark.stack
def test_a_server_that_goes_before_the_run_is_made_is_an_error_that_names_it(door: Any) -> None:
    mlflow = mlflow_run.connect(TrackingConfig(uri=door.address))
    door.shut()
    with pytest.raises(ConnectionError, match=rf"could not open the run a at {door.address}: .*tracking\.enabled"):
        mlflow_run.open_run(mlflow, experiment="tracker", name="a", identity="a", params={})


@pytest.mark.stack
def test_a_run_of_the_same_identity_is_taken_up_with_changed_settings_as_tags(
    mlflow_server: Any, tmp_path: Path
) -> None:
    mlflow = mlflow_run.connect(TrackingConfig())
    many = {f"key{i}": i for i in range(230)}
    opened = [
        mlflow_run.open_run(
            mlflow, experiment="tracker", name="a", identity=str(tmp_path), params={**many, "lr": lr}, tags={"t": "1"}
        )
        for lr in (0.1, 0.2)
    ]
    assert opened[0] == opened[1]
    assert mlflow_run.close_run(opened[0], "FINISHED")
    run = mlflow.get_run(opened[0].run_id)
    assert run.data.params["lr"] == "0.1"
    assert run.data.tags["changed.lr"] == "0.2"
    assert len(run.data.params) == 231
    assert run.info.status == "FINISHED"


def test_no_server_is_an_error_within_seconds_that_names_it() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}"
    begun = time.monotonic()
    with pytest.raises(ConnectionError, match=rf"MLflow at {uri} does not answer .*tracking\.enabled=false"):
        mlflow_run.connect(TrackingConfig(uri=uri))
    assert time.monotonic() - begun < 10


def test_no_address_is_an_error_that_says_how_to_set_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ValueError, match=r"set MLFLOW_TRACKING_URI or tracking\.uri"):
        mlflow_run.connect(TrackingConfig())
