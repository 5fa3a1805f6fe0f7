"""Settings that are proposed from the figures of those before, by Optuna (TPE), through Ray Tune's wrapper of it.

Of the searchers that Ray Tune wraps, BayesOpt knows no choices, and most of the space here is choices; HyperOpt has
had no release for years. Optuna has both kinds of values, and three small packages are all that it adds to what MLflow
brings along. It is an extra: grid and random search do without.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from pipeline.config.search_space import Range, SearchConfig, Setting, label
from pipeline.search.record import TrialRecord
from pipeline.search.trial import METRIC


def need_optuna() -> None:
    """Tell where Optuna is not installed.

    Raises:
        ValueError: it is not.
    """
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ValueError(
            "search.algorithm is optuna and Optuna is not installed: pip install 'lightweight-hrnet[search]', or "
            "take search.algorithm=random"
        ) from error


def holds(config: SearchConfig, setting: Setting) -> bool:
    """Whether a setting is one of a search's space: its keys, and each value in the list or range of its key."""
    space = config.space()
    return setting.keys() == space.keys() and all(
        isinstance(value, int | float) and choice.low <= value <= choice.high
        if isinstance(choice := space[key], Range)
        else value in choice
        for key, value in setting.items()
    )


class Proposals(Searcher):  # type: ignore[misc]  # Ray has no types
    """Adds a seed to every proposal. A setting that is proposed again gets the next seed.

    Args:
        config: the space, and how many runs a setting gets.
        seed: first seed of a setting's runs, and the seed of the proposals.
        known: records of an earlier attempt. Their settings are given out first, as they were then, but for those that
            a changed space does not hold: Optuna refuses them.

    Raises:
        ValueError: Optuna is not installed.
    """

    def __init__(self, config: SearchConfig, *, seed: int, known: Sequence[TrialRecord] = ()) -> None:
        super().__init__(metric=METRIC, mode="max")
        need_optuna()
        import optuna
        from ray.tune.search.optuna import OptunaSearch

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.repeats, self.seed = config.repeats, seed
        self.given: Counter[str] = Counter()
        self.waiting: list[tuple[Setting, int]] = []
        self.repeating: dict[str, Setting] = {}
        """Trials that Optuna did not propose as such: it hears of them as further figures of a setting."""
        first = [
            dict(record.setting)
            for record in known
            if (record.seed - seed) % config.repeats == 0 and holds(config, record.setting)
        ]
        self.inner = OptunaSearch(metric=METRIC, mode="max", seed=seed, points_to_evaluate=first or None)
        space = {
            key: (tune.loguniform if choice.log else tune.uniform)(choice.low, choice.high)
            if isinstance(choice, Range)
            else tune.choice(list(choice))
            for key, choice in config.space().items()
        }
        self.inner.set_search_properties(METRIC, "max", space)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """The next trial."""
        if self.waiting:
            setting, seed = self.waiting.pop(0)
            self.repeating[trial_id] = setting
        else:
            setting = dict(self.inner.suggest(trial_id))
            seed = self._next_seed(setting)
            self.waiting = [(setting, self._next_seed(setting)) for _ in range(self.repeats - 1)]
        return {"trial": {**setting, "seed": seed}}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Ignored: a proposal is judged by its final AP."""

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Report a proposal's result to Optuna."""
        if trial_id not in self.repeating:
            self.inner.on_trial_complete(trial_id, result, error)
        elif result and METRIC in result:
            self.inner.add_evaluated_point(dict(self.repeating[trial_id]), result[METRIC])

    def _next_seed(self, setting: Setting) -> int:
        name = label(setting)
        self.given[name] += 1
        return self.seed + self.given[name] - 1

    def save(self, checkpoint_path: str) -> None:
        """Nothing: an interrupted search continues from its records."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing; see `save`."""
