"""A JSON record of every trial, beside the search: a search that was killed continues from these files.

Ray Tune keeps a state of its own, as pickles, which only the same code on the same version of Ray reads back, and which
may run anything that somebody put there. These are values: they are checked when they are read, they outlive a change
of version, and a search may be widened, as trials that are there are never run again.
"""

import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from pipeline.checkpoints.checkpoint import ap_of
from pipeline.checkpoints.stored_config import current_key
from pipeline.storage import store

State = Literal["running", "finished", "pruned", "failed"]


@dataclass(frozen=True, kw_only=True)
class ValidationScore:
    """One validation of a trial."""

    step: int
    part: int
    """Percent of the run that were done."""
    ap: float
    """-1 where it was no number."""

    def __post_init__(self) -> None:
        """An AP that is no number can be compared with none."""
        object.__setattr__(self, "ap", ap_of({"val/ap": self.ap}))


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    """A trial: what it tried and what came of it."""

    name: str
    setting: dict[str, Any]
    seed: int
    order: int = 0
    """Its place in the search, from 0."""
    state: State = "running"
    seen: tuple[ValidationScore, ...] = ()
    """Validations, by rising step; the last one of a finished trial is in `ap`."""
    ap: float = -1.0
    """Of the last validation; -1: none."""
    step: int = 0
    seconds: float = 0.0
    """Of its last attempt."""
    resumed_from: int = 0
    """Step that its last attempt began at."""
    checkpoint: str = ""
    """URL of the best, of a finished trial."""
    error: str = ""
    """Why it failed."""

    def __post_init__(self) -> None:
        """An AP that is no number can be compared with none."""
        object.__setattr__(self, "ap", ap_of({"val/ap": self.ap}))

    @property
    def over(self) -> bool:
        """Whether it is not run again: finished or ended early. One that failed is tried again by the next command."""
        return self.state in ("finished", "pruned")

    def saw(self, seen: ValidationScore) -> "TrialRecord":
        """With one validation more; one that is repeated after a restart counts once."""
        if self.seen and seen.step <= self.seen[-1].step:
            return self
        return replace(self, seen=(*self.seen, seen), ap=seen.ap, step=seen.step)


@dataclass(frozen=True)
class TrialRecords:
    """All records of a search.

    Args:
        url: the search's folder.
    """

    url: str
    by_name: dict[str, TrialRecord] = field(default_factory=dict)

    @classmethod
    def read(cls, url: str) -> "TrialRecords":
        """What an earlier attempt left.

        Raises:
            ValueError: a file is no record.
            ConnectionError: the store does not answer.
        """
        folder = store.join(url, "records")
        found = cls(url)
        for name in sorted(store.listing(folder)):
            if not name.startswith(".") and name.endswith(".json"):  # others are halves that a killed writer left
                record = _read(store.join(folder, name))
                found.by_name[record.name] = record
        return found

    @staticmethod
    def read_one(url: str, name: str) -> TrialRecord | None:
        """What is known of one trial, also while others are written: a folder is not listed.

        Raises:
            ValueError: the file is no record.
            ConnectionError: the store does not answer.
        """
        try:
            return _read(_place(url, name))
        except FileNotFoundError:
            return None

    def write(self, record: TrialRecord) -> None:
        """Keep a record, in memory and in storage."""
        self.by_name[record.name] = record
        store.write_bytes(_place(self.url, record.name), json.dumps(asdict(record), indent=1).encode())

    def in_order(self) -> list[TrialRecord]:
        """All of them, as the search began them."""
        return sorted(self.by_name.values(), key=lambda record: (record.order, record.name))


def _place(url: str, name: str) -> str:
    return store.join(url, "records", f"{name}.json")


def _read(place: str) -> TrialRecord:
    try:
        record = TypeAdapter(TrialRecord).validate_json(store.read_bytes(place))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        raise ValueError(f"{place} is no record of a trial ({where}: {fault['msg']}): delete it") from error
    named = {current_key(key): value for key, value in record.setting.items()}
    return replace(record, setting={key: value for key, value in named.items() if key is not None})
