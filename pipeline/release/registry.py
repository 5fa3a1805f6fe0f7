"""The model registry: versions, the aliases that say which is served, and the audit trail.

Two aliases are MLflow's usual ones: `champion` is served, `challenger` was the last candidate. A third, `previous`, is
the version that a rollback returns to. The rollback itself does not rely on that alias but on the tag `previous` of
the champion's own version, written before the one atomic step, setting the alias `champion`:

    claim the move                          nobody else moves (`pipeline.release.claim`)
    tag `previous` of the new champion      the version that is champion now
    tag `audit.<time>` of the model         the move
    alias `champion`                        the atomic step: what fails before it is undone
    aliases `previous` and `challenger`     follow from it; the next move repairs them
"""

import contextlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from pipeline.release.claim import claim, user_and_host
from pipeline.tracking.client import MlflowClient, MlflowException, TrackingError, mlflow_errors

log = logging.getLogger(__name__)
Alias = Literal["champion", "challenger", "previous"]
ALIASES: tuple[Alias, ...] = ("champion", "challenger", "previous")
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


class OvertakenError(RuntimeError):
    """Another version became champion after the two were compared."""


class Registry:
    """The versions of one registered model.

    Args:
        mlflow: a client of a server that answers (`pipeline.tracking.mlflow_run.connect`).
        model: the registered model's name.
    """

    def __init__(self, mlflow: MlflowClient, model: str) -> None:
        self.mlflow, self.model = mlflow, model

    def register(self, run_id: str, folder: str, *, tags: Mapping[str, str]) -> Version:
        """Register a folder of a run's artifacts as a new version; creates the registered model if needed."""
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
            expected: the champion it was compared with; None for none.
            reason: for the record.

        Raises:
            OvertakenError: another champion was made meanwhile.
            RuntimeError: another move is under way.
        """
        with self._errors(), claim(self.mlflow, self.model) as still_mine:
            champion = self._aliases().get("champion")
            if champion != expected:
                raise OvertakenError(
                    f"version {number} was compared with {_called(expected)}, but {_called(champion)} is the champion "
                    "by now: somebody else promoted meanwhile. Nothing was moved; promote again to compare with it"
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
        with self._errors(), claim(self.mlflow, self.model) as still_mine:
            champion, previous = self.predecessor()
            if expected not in (None, champion):
                raise RuntimeError(
                    f"version {expected} was to be rolled back, but version {champion} is the champion by now: "
                    "somebody else moved it meanwhile. Nothing was moved; look with `lhrnet models`"
                )
            return self._move("rollback", champion, previous.number, reason, still_mine)

    def settle(self) -> None:
        """Repair the aliases that follow from the champion, after a move that could not set them.

        Raises:
            RuntimeError: a move is under way.
        """
        with self._errors(), claim(self.mlflow, self.model):
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
        """Record the move, set the alias `champion` in one step, then the aliases that follow from it."""
        move = AliasMove(
            action=action, old=old, new=new, by=user_and_host(), at=datetime.now(UTC).isoformat(), reason=reason[:2000]
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
                f"({str(error).splitlines()[0]}): once MLflow is back, `lhrnet models` shows whether it is"
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
