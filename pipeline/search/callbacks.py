"""The search's own process while trials run: it records their reports, closes their runs and counts them."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ray.tune import Callback, Stopper

from pipeline.search.record import State, TrialRecord, TrialRecords, ValidationScore
from pipeline.search.trial import ENDED, METRIC, PROGRESS, trial_name
from pipeline.search.trial_runs import TrialRuns
from pipeline.tracking.progress import Progress

log = logging.getLogger(__name__)


class TuneCallbacks(Callback):  # type: ignore[misc]  # Ray has no types
    """Called by Ray Tune at every event of a trial.

    Args:
        name: the search's.
        records: where trials are written down.
        trial_runs: their runs in MLflow.
        progress: counts trials that are over.
        stopping: whether the search was asked to stop; a trial that ends then is not over.
    """

    def __init__(
        self, name: str, records: TrialRecords, trial_runs: TrialRuns, progress: Progress, stopping: Callable[[], bool]
    ) -> None:
        self.name, self.records, self.trial_runs, self.progress = name, records, trial_runs, progress
        self.stopping = stopping

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial starts; one that failed before is tried again."""
        record = self._record(trial)
        if record.state == "failed":
            self.records.write(replace(record, state="running", error=""))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A trial was validated, or reports how it ended."""
        record = self._record(trial)
        if record.over:
            return
        ended = result.get(ENDED)
        if ended is None:
            self.records.write(
                record.saw(ValidationScore(step=int(result["step"]), part=int(result[PROGRESS]), ap=result[METRIC]))
            )
        elif ended == "finished":
            seen = record.saw(ValidationScore(step=int(result["step"]), part=100, ap=result[METRIC]))
            ended_with = {key: result[key] for key in ("checkpoint", "seconds", "resumed_from")}
            self._over(replace(seen, **ended_with), "finished")
        else:
            self._over(replace(record, error=str(result.get("error", ""))), "failed")

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process has ended: without a last report, it was ended early."""
        record = self._record(trial)
        if record.state == "running" and not self.stopping():
            self._over(record, "pruned")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial's process died, and those that replaced it."""
        record = self._record(trial)
        if not record.over:
            self._over(replace(record, error="its process died, as did those that replaced it"), "failed")

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles its settings, and nobody reads them back."""
        return {}

    def _record(self, trial: Any) -> TrialRecord:
        given = dict(trial.config["trial"])
        seed = int(given.pop("seed"))
        name = trial_name(self.name, given, seed)
        known = self.records.by_name.get(name)
        if known is None:
            known = TrialRecord(name=name, setting=given, seed=seed, order=len(self.records.by_name))
            self.records.write(known)
        return known

    def _over(self, record: TrialRecord, state: State) -> None:
        record = replace(record, state=state)
        self.records.write(record)
        self.trial_runs.settle(record)
        says = {"finished": f"AP {record.ap:.3f}", "pruned": f"AP {record.ap:.3f} at step {record.step:,}"}
        note = f"{record.name} {state}, {says.get(state, record.error)}"
        self.progress.advance(1, note)
        if state == "failed":
            log.warning("trial %s failed: %s", record.name, record.error)


class StopWhenAsked(Stopper):  # type: ignore[misc]  # Ray has no types
    """Ends the search in good order when it was asked to stop.

    Args:
        asked: whether it was.
    """

    def __init__(self, asked: Callable[[], bool]) -> None:
        self.asked = asked

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        """Whether all trials are to end."""
        return self.asked()

    def __getstate__(self) -> dict[str, Any]:
        """As `TuneCallbacks`'s."""
        return {}
