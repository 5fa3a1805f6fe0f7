"""Reports of a trial's training, passed on to Ray Tune."""

from typing import Any

from ray.tune.integration.ray_train import TuneReportCallback


class ReportToTune(TuneReportCallback):  # type: ignore[misc]  # Ray has no types
    """Passes on every validation but the last.

    Not the last one: a trial that is stopped for its last validation would lose the checkpoint that is saved after it.
    The trial reports that one itself, when all is saved.
    """

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Any) -> None:
        """Called by Ray Train with every worker's report; the first worker's counts."""
        row = metrics[0]
        if row["step"] < row["of"]:
            kept = {"ap": row["ap"], "step": row["step"], "part": max(1, 100 * row["step"] // row["of"])}
            super().after_report(run_context, [kept], None)
