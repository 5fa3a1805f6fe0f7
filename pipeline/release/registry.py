"""The model registry: versions, the aliases that say who is served, and the audit trail. The one place that moves them.

Two aliases are MLflow's usual ones: `champion` is served, `challenger` was the last to ask for its place. A third,
`previous`, is the way back. What a rollback relies on is not that alias but the tag `previous` of each champion's own
version, written before the one step that cannot be half done: setting the alias `champion`.

MLflow can't compare and swap an alias. What it can do is refuse to make a registered model twice, so a model of the
name `<model>.moving`, there for the seconds of a move, keeps others from moving at the same time.
"""

import contextlib
import getpass
import json
import logging
import os
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipeline.tracking.client import MlflowClient, MlflowException, TrackingError, mlflow_errors

log = logging.getLogger(__name__)
Alias = Literal["champion", "challenger", "previous"]
ALIASES: tuple[Alias, ...] = ("champion", "challenger", "previous")
STALE_SECONDS = 120
AUDIT = "audit."


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered version."""

    number: str
    run_id: str
    source: str
    """Where its artifacts lie: runs:/<run>/<folder>."""
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    created: datetime


@dataclass(frozen=True, kw_only=True)
class AliasMove:
    """One move of the champion, for the record."""

    action: Literal["promote", "rollback"]
    old: str
    """The champion before; empty where there was none."""
    new: str
    by: str
    """user@host."""
    at: str
    """UTC, ISO 8601."""
    reason: str


class Registry:
    """The versions of one registered model.

    Args:
        mlflow: a client of a server that answers (`pipeline.tracking.mlflow_run.connect`).
        model: the registered model's name.
    """

    def __init__(self, mlflow: MlflowClient, model: str) -> None:
        self.mlflow, self.model = mlflow, model

    def register(self, run_id: str, folder: str, *, tags: Mapping[str, str]) -> Version:
        """Make a version of a run's artifact folder, the registered model too where there is none."""
        with self._errors():
            with contextlib.suppress(MlflowException):
                self.mlflow.create_registered_model(self.model)
            made = self.mlflow.create_model_version(
                self.model, source=f"runs:/{run_id}/{folder}", run_id=run_id, tags=dict(tags)
            )
        return self.get(made.version)

    def versions(self) -> list[Version]:
        """All versions, newest first; none where the model was never registered."""
        with self._errors():
            found = self.mlflow.search_model_versions(f"name = '{self.model}'", max_results=1000)
            aliases = self._aliases()
        versions = [_version(v, aliases) for v in found]
        return sorted(versions, key=lambda version: -int(version.number))

    def version_of(self, checkpoint_sha256: str) -> str:
        """The number of the newest version made of a checkpoint; empty where there is none."""
        made = (v.number for v in self.versions() if v.tags.get("checkpoint_sha256") == checkpoint_sha256)
        return next(made, "")

    def get(self, number: str) -> Version:
        """One version.

        Raises:
            ValueError: there is no such version.
        """
        with self._errors():
            try:
                found = self.mlflow.get_model_version(self.model, number)
            except MlflowException as error:
                if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                    raise ValueError(f"{self.model} has no version {number}; `lhrnet models` lists them") from error
                raise
            return _version(found, self._aliases())

    def holder(self, alias: Alias) -> Version | None:
        """The version that has an alias; None when nobody has."""
        number = self._aliases_checked().get(alias)
        return self.get(number) if number else None

    def tag(self, number: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with self._errors():
            for key, value in tags.items():
                self.mlflow.set_model_version_tag(self.model, number, key, value[:5000])

    def challenge(self, number: str) -> None:
        """Give a version the alias `challenger`."""
        with self._errors():
            self.mlflow.set_registered_model_alias(self.model, "challenger", number)

    def promote(self, number: str, *, expected: str | None, reason: str) -> AliasMove:
        """Make a version the champion, if the champion is still the one it was compared with.

        Args:
            number: the new champion.
            expected: the champion it was held against; None for none.
            reason: for the record.

        Raises:
            RuntimeError: another move is under way, or another champion was made meanwhile.
        """
        with self._errors(), self._moving() as still_mine:
            champion = self._aliases().get("champion")
            if champion != expected:
                raise RuntimeError(
                    f"version {number} was compared with {_called(expected)}, but {_called(champion)} is the champion "
                    "by now: somebody else promoted meanwhile. Nothing was moved; promote again to compare anew"
                )
            before = self.get(number).tags.get("previous")
            self.mlflow.set_model_version_tag(self.model, number, "previous", champion or "")
            try:
                return self._move("promote", champion or "", number, reason, still_mine)
            except (MlflowException, RuntimeError):
                self._put_back(number, before)
                raise

    def predecessor(self) -> tuple[str, Version]:
        """The champion's number, and the version that was champion before it.

        Raises:
            ValueError: there is no champion, or it has no predecessor.
        """
        champion = self._aliases_checked().get("champion")
        if champion is None:
            raise ValueError(f"{self.model} has no champion: there is nothing to roll back")
        previous = self.get(champion).tags.get("previous", "")
        if not previous:
            raise ValueError(f"version {champion} is the first champion of {self.model}: there is none before it")
        return champion, self.get(previous)

    def rollback(self, reason: str, *, expected: str | None = None) -> AliasMove:
        """Make the champion's predecessor the champion again.

        Args:
            reason: for the record.
            expected: the champion whose predecessor was looked at; left out, whichever it is.

        Raises:
            ValueError: there is no champion, or it has no predecessor.
            RuntimeError: another move is under way, or another champion was made meanwhile.
        """
        with self._errors(), self._moving() as still_mine:
            champion, previous = self.predecessor()
            if expected not in (None, champion):
                raise RuntimeError(
                    f"version {expected} was to be rolled back, but version {champion} is the champion by now: "
                    "somebody else moved it meanwhile. Nothing was moved; look with `lhrnet models`"
                )
            return self._move("rollback", champion, previous.number, reason, still_mine)

    def settle(self) -> None:
        """Set what follows from who the champion is, where a move could not end with it.

        Raises:
            RuntimeError: a move is under way.
        """
        with self._errors(), self._moving():
            self._follow()

    def history(self) -> list[AliasMove]:
        """Every move of the champion, newest first."""
        with self._errors():
            tags = self.mlflow.get_registered_model(self.model).tags
        moves = [AliasMove(**json.loads(value)) for key, value in tags.items() if key.startswith(AUDIT)]
        return sorted(moves, key=lambda move: move.at, reverse=True)

    def _move(
        self, action: Literal["promote", "rollback"], old: str, new: str, reason: str, still_mine: Callable[[], None]
    ) -> AliasMove:
        """Write the move down, set the alias `champion` in one step, then what only follows from it."""
        move = AliasMove(
            action=action, old=old, new=new, by=_who(), at=datetime.now(UTC).isoformat(), reason=reason[:2000]
        )
        key = f"{AUDIT}{move.at.replace('+00:00', 'Z').replace(':', '.')}"
        still_mine()
        self.mlflow.set_registered_model_tag(self.model, key, json.dumps(asdict(move)))
        try:
            self.mlflow.set_registered_model_alias(self.model, "champion", new)
        except MlflowException as error:
            # the server may have set it and only its answer was lost
            if self._champion_after(error, new) != new:
                with contextlib.suppress(MlflowException):
                    self.mlflow.delete_registered_model_tag(self.model, key)
                raise
        try:
            self._follow()
        except (MlflowException, ConnectionError) as error:
            log.warning(
                "version %s is the champion of %s, but the aliases `previous` and `challenger` could not be set (%s); "
                "the next promote sets them",
                *(new, self.model, str(error).splitlines()[0]),
            )
        return move

    def _put_back(self, number: str, previous: str | None) -> None:
        """Undo the tag `previous` of a version that did not become champion: once it is one, rollbacks follow it."""
        with contextlib.suppress(MlflowException):
            if self._aliases().get("champion") == number:
                return  # whoever took over made it that
            if previous is None:
                self.mlflow.delete_model_version_tag(self.model, number, "previous")
            else:
                self.mlflow.set_model_version_tag(self.model, number, "previous", previous)

    def _champion_after(self, error: MlflowException, new: str) -> str:
        """Who is champion after a step whose answer was an error."""
        try:
            return self._aliases().get("champion", "")
        except MlflowException as again:
            raise TrackingError(
                f"MLflow went away while version {new} was made the champion of {self.model} "
                f"({str(error).splitlines()[0]}): whether it is, `lhrnet models` tells once MLflow is back"
            ) from again

    def _follow(self) -> None:
        """The alias `previous` as the champion's own tag says, and no champion is its own challenger."""
        aliases = self._aliases()
        champion = aliases.get("champion")
        previous = self.get(champion).tags.get("previous", "") if champion else ""
        if previous:
            self.mlflow.set_registered_model_alias(self.model, "previous", previous)
        else:
            self.mlflow.delete_registered_model_alias(self.model, "previous")
        if champion and aliases.get("challenger") == champion:
            self.mlflow.delete_registered_model_alias(self.model, "challenger")

    @contextlib.contextmanager
    def _moving(self) -> Iterator[Callable[[], None]]:
        """Nobody else moves meanwhile. Yields a check that this is still so.

        Raises:
            RuntimeError: somebody else is moving.
        """
        claim, token = f"{self.model}.moving", uuid.uuid4().hex
        try:
            self.mlflow.create_registered_model(claim, tags={"token": token, "by": _who()})
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            self._break_stale(claim)
            try:
                self.mlflow.create_registered_model(claim, tags={"token": token, "by": _who()})
            except MlflowException as again:
                if again.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                raise RuntimeError(
                    f"another promotion or rollback of {self.model} is moving the champion; nothing was moved: "
                    "try again in a minute"
                ) from again

        def still_mine() -> None:
            if self.mlflow.get_registered_model(claim).tags.get("token") != token:
                raise RuntimeError(f"this move of {self.model} took too long and another took over; nothing was moved")

        try:
            yield still_mine
        finally:
            with contextlib.suppress(MlflowException, RuntimeError):
                still_mine()
                self.mlflow.delete_registered_model(claim)

    def _break_stale(self, claim: str) -> None:
        """A claim older than any move takes was left by a process that died. Both times are of the server's clock."""
        with contextlib.suppress(MlflowException):
            found = self.mlflow.update_registered_model(claim, description="somebody waits for its end")
            if found.last_updated_timestamp - found.creation_timestamp > 1000 * STALE_SECONDS:
                self.mlflow.delete_registered_model(claim)

    def _errors(self) -> contextlib.AbstractContextManager[None]:
        return mlflow_errors(f"read or change the registered model {self.model}")

    def _aliases_checked(self) -> dict[str, str]:
        with self._errors():
            return self._aliases()

    def _aliases(self) -> dict[str, str]:
        try:
            aliases = self.mlflow.get_registered_model(self.model).aliases
            return {alias: str(number) for alias, number in aliases.items()}
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise


def _version(found: Any, aliases: Mapping[str, str]) -> Version:
    return Version(
        number=str(found.version),
        run_id=found.run_id or "",
        source=found.source or "",
        aliases=tuple(alias for alias, number in aliases.items() if str(number) == str(found.version)),
        tags=dict(found.tags),
        created=datetime.fromtimestamp(found.creation_timestamp / 1000, UTC),
    )


def _called(number: str | None) -> str:
    return f"version {number}" if number else "no version"


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may be a number without a name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
