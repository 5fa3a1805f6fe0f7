"""The registry: aliases move in one step, one mover at a time, with a trail."""

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED

from pipeline.release import claim as claims
from pipeline.release.claim import claim
from pipeline.release.registry import ALIASES, OvertakenError, Registry


@pytest.fixture(scope="module")
def mlflow(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    place = tmp_path_factory.mktemp("mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{place}/mlflow.db")
    client.create_experiment("e", artifact_location=str(place / "artifacts"))
    return client


@pytest.fixture
def versions(mlflow: MlflowClient, tmp_path: Path) -> Registry:
    """A registry with three versions that nobody serves."""
    registry = Registry(mlflow, f"model-{uuid.uuid4().hex[:8]}")
    experiment = mlflow.get_experiment_by_name("e")
    run_id = mlflow.create_run(experiment.experiment_id).info.run_id
    (tmp_path / "file.txt").write_text("x")
    mlflow.log_artifact(run_id, str(tmp_path / "file.txt"), "model")
    for number in range(3):
        registry.register(run_id, "model", tags={"place": str(number)})
    return registry


def _holders(registry: Registry) -> dict[str, str | None]:
    return {a: (v.number if (v := registry.holder(a)) else None) for a in ALIASES}


def test_versions_are_listed_newest_first_with_tags_and_aliases(versions: Registry) -> None:
    versions.challenge("2")
    listed = versions.versions()
    assert [version.number for version in listed] == ["3", "2", "1"]
    assert [version.aliases for version in listed] == [(), ("challenger",), ()]
    assert listed[2].tags["place"] == "0"


def test_a_model_that_was_never_registered_has_no_versions_and_no_champion(mlflow: MlflowClient) -> None:
    registry = Registry(mlflow, "never")
    assert registry.versions() == []
    assert registry.holder("champion") is None


def test_the_champion_moves_and_the_former_one_is_kept(versions: Registry) -> None:
    versions.challenge("1")
    versions.promote("1", expected=None, reason="first")
    assert _holders(versions) == {"champion": "1", "challenger": None, "previous": None}
    versions.challenge("2")
    move = versions.promote("2", expected="1", reason="better")
    assert _holders(versions) == {"champion": "2", "challenger": None, "previous": "1"}
    assert (move.action, move.old, move.new, move.reason) == ("promote", "1", "2", "better")


def test_rollback_goes_back_step_by_step_and_writes_the_trail(versions: Registry) -> None:
    for number, expected in (("1", None), ("2", "1"), ("3", "2")):
        versions.promote(number, expected=expected, reason="")
    versions.rollback("bad elbows")
    assert _holders(versions) == {"champion": "2", "challenger": None, "previous": "1"}
    versions.rollback("bad knees")
    assert _holders(versions) == {"champion": "1", "challenger": None, "previous": None}
    trail = [(move.action, move.old, move.new, move.reason) for move in versions.history()]
    assert trail[:2] == [("rollback", "2", "1", "bad knees"), ("rollback", "3", "2", "bad elbows")]
    assert len(trail) == 5
    with pytest.raises(ValueError, match="first champion"):
        versions.rollback("")


def test_there_is_nothing_to_roll_back_without_a_champion(versions: Registry) -> None:
    with pytest.raises(ValueError, match="no champion"):
        versions.rollback("")


def test_a_champion_made_meanwhile_stops_the_move(versions: Registry) -> None:
    versions.promote("1", expected=None, reason="")
    with pytest.raises(OvertakenError, match="compared with no version, but version 1 is the champion by now"):
        versions.promote("2", expected=None, reason="")
    assert _holders(versions)["champion"] == "1"
    assert len(versions.history()) == 1


def test_a_second_mover_is_told_and_moves_nothing(versions: Registry) -> None:
    with claim(versions.mlflow, versions.model), pytest.raises(RuntimeError, match="try again") as told:
        versions.promote("1", expected=None, reason="")
    assert not isinstance(told.value, OvertakenError)
    assert _holders(versions)["champion"] is None
    versions.promote("1", expected=None, reason="the claim is gone")


def test_a_claim_left_by_a_dead_process_is_broken_after_a_while(
    versions: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.mlflow.create_registered_model(f"{versions.model}.moving", tags={"token": "dead"})
    with pytest.raises(RuntimeError, match="try again"):
        versions.promote("1", expected=None, reason="")
    monkeypatch.setattr(claims, "STALE_SECONDS", -1)
    versions.promote("1", expected=None, reason="")
    assert _holders(versions)["champion"] == "1"
    assert not [m for m in versions.mlflow.search_registered_models() if m.name.endswith(".moving")]


def test_a_mover_whose_claim_was_taken_over_moves_nothing(versions: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    claim, tag = f"{versions.model}.moving", versions.mlflow.set_model_version_tag

    def taken_over(*args: Any) -> None:
        tag(*args)
        versions.mlflow.delete_registered_model(claim)
        versions.mlflow.create_registered_model(claim, tags={"token": "another"})

    for number, expected in (("2", None), ("1", "2"), ("3", "1")):
        versions.promote(number, expected=expected, reason="")
    with monkeypatch.context() as patch:
        patch.setattr(versions.mlflow, "set_model_version_tag", taken_over)
        with pytest.raises(RuntimeError, match="another took over"):
            versions.promote("1", expected="3", reason="")
    assert _holders(versions)["champion"] == "3"
    assert versions.get("1").tags["previous"] == "2", "as its own move left it"


def _fails(real: Callable[..., Any], alias: str) -> Callable[..., Any]:
    def call(model: str, name: str, *rest: Any) -> Any:
        if name == alias:
            raise MlflowException("the store is away")
        return real(model, name, *rest)

    return call


def test_a_store_that_goes_away_at_the_move_leaves_champion_and_trail_as_they_were(
    versions: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions.promote("1", expected=None, reason="")
    versions.promote("2", expected="1", reason="")
    with monkeypatch.context() as patch:
        patch.setattr(
            versions.mlflow,
            "set_registered_model_alias",
            _fails(versions.mlflow.set_registered_model_alias, "champion"),
        )
        for number in ("1", "3"):
            with pytest.raises(ConnectionError, match="the store is away"):
                versions.promote(number, expected="2", reason="")
    assert _holders(versions) == {"champion": "2", "challenger": None, "previous": "1"}
    assert len(versions.history()) == 2
    assert "previous" not in versions.get("3").tags
    versions.rollback("")
    with pytest.raises(ValueError, match="version 1 is the first champion"):
        versions.rollback("the way back is that of the moves that were made")


def test_a_move_whose_answer_was_lost_is_a_move(versions: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    versions.promote("1", expected=None, reason="")
    real = versions.mlflow.set_registered_model_alias

    def set_but_not_told(model: str, alias: str, number: str) -> None:
        real(model, alias, number)
        if alias == "champion":
            raise MlflowException("timed out")

    monkeypatch.setattr(versions.mlflow, "set_registered_model_alias", set_but_not_told)
    assert versions.promote("2", expected="1", reason="").new == "2"
    assert _holders(versions) == {"champion": "2", "challenger": None, "previous": "1"}
    assert [move.new for move in versions.history()] == ["2", "1"]


def test_a_move_of_which_nothing_is_known_says_so(versions: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    real = versions.mlflow.set_registered_model_alias

    def away_for_good(*args: Any) -> None:
        raise MlflowException("away")

    def set_and_away(*args: Any) -> None:
        real(*args)
        monkeypatch.setattr(versions.mlflow, "get_registered_model", away_for_good)
        away_for_good()

    monkeypatch.setattr(versions.mlflow, "set_registered_model_alias", set_and_away)
    with pytest.raises(ConnectionError, match="`lhrnet models` shows whether it is"):
        versions.promote("1", expected=None, reason="")
    monkeypatch.undo()
    assert [move.new for move in versions.history()] == ["1"]


def test_a_move_that_could_not_set_what_follows_is_a_move_and_is_settled_later(
    versions: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    versions.promote("1", expected=None, reason="")
    versions.promote("2", expected="1", reason="")
    versions.challenge("3")
    with monkeypatch.context() as patch:
        patch.setattr(
            versions.mlflow,
            "set_registered_model_alias",
            _fails(versions.mlflow.set_registered_model_alias, "previous"),
        )
        assert versions.promote("3", expected="2", reason="").new == "3"
    assert "version 3 is the champion" in caplog.text
    assert _holders(versions) == {"champion": "3", "challenger": "3", "previous": "1"}
    versions.settle()
    assert _holders(versions) == {"champion": "3", "challenger": None, "previous": "2"}


def test_a_claim_is_as_old_as_the_servers_clock_says(versions: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    fast = SimpleNamespace(time=lambda: time.time() + 2 * claims.STALE_SECONDS)
    monkeypatch.setattr(claims, "time", fast, raising=False)
    with claim(versions.mlflow, versions.model), pytest.raises(RuntimeError, match="try again"):
        versions.promote("1", expected=None, reason="")


def test_a_claim_that_the_server_refuses_is_no_other_move(versions: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    real = versions.mlflow.create_registered_model
    with claim(versions.mlflow, versions.model):
        calls = iter([real])

        def refused(*args: Any, **more: Any) -> Any:
            for first in calls:
                return first(*args, **more)
            raise MlflowException("not allowed", error_code=PERMISSION_DENIED)

        monkeypatch.setattr(versions.mlflow, "create_registered_model", refused)
        with pytest.raises(ConnectionError, match="not allowed"):
            versions.promote("1", expected=None, reason="")


def test_a_rollback_of_another_champion_than_was_looked_at_moves_nothing(versions: Registry) -> None:
    for number, expected in (("1", None), ("2", "1"), ("3", "2")):
        versions.promote(number, expected=expected, reason="")
    with pytest.raises(RuntimeError, match="version 2 was to be rolled back, but version 3 is the champion"):
        versions.rollback("", expected="2")
    assert _holders(versions)["champion"] == "3"


def test_a_rollback_does_not_need_the_alias_previous(versions: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    versions.promote("1", expected=None, reason="")
    versions.promote("2", expected="1", reason="")
    versions.mlflow.delete_registered_model_alias(versions.model, "previous")
    assert versions.rollback("").new == "1"


def test_a_version_that_is_not_there_is_named(versions: Registry) -> None:
    with pytest.raises(ValueError, match="no version 9"):
        versions.get("9")


def test_who_moved_is_a_number_where_the_user_has_no_name(versions: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert versions.promote("1", expected=None, reason="").by.startswith(f"{os.getuid()}@")
