"""What a search tries: settings over r, the channel exchange and any other key, with a seed for every repeat.

A setting is `{"model.r": -2, "model.cem": "none", ...}`: keys of the config, with the values that it puts there.
"""

import hashlib
import itertools
import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as section

from lhrnet.network.config import CEM
from pipeline import SECTION
from pipeline.checkpoints.stored_config import first_key

Setting = Mapping[str, Any]
R: Final = "model.r"
CEM_KEY: Final = "model.cem"
FIXED: Final = ("name", "seed", "storage", "search", "tracking")
"""What the search itself gives every trial."""
ATTEMPTS: Final = 1000
"""Draws in a row that bring nothing new, after which a space is taken to be used up."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, evenly or, with `log`, evenly in their logarithm."""

    low: float
    high: float
    log: bool = False

    def draw(self, chance: random.Random) -> float:
        """One number of the range."""
        if self.log:
            return math.exp(chance.uniform(math.log(self.low), math.log(self.high)))
        return chance.uniform(self.low, self.high)

    @property
    def inside(self) -> float:
        """A number between the ends, and no whole one where those are."""
        return self.low + (self.high - self.low) / math.pi


@section(frozen=True, kw_only=True, config=SECTION)
class SearchConfig:
    """What `lhrnet tune` tries and how. Everything else about a trial is the rest of the config."""

    r: tuple[int, ...] = (0, -1, -2, -3, -4)
    """Scales to try, each from -4 to 0."""
    cem: tuple[CEM, ...] = ("none", "full", "half", "half-reordered")
    """Channel exchanges to try."""
    also: dict[str, Any] = field(default_factory=dict)
    """Further keys by section, each with a list of values, or with a range: `optim: {lr: [1.0e-3, 3.0e-3]}` or
    `optim: {lr: {low: 1.0e-3, high: 1.0e-2, log: true}}`."""
    algorithm: Literal["grid", "random", "optuna"] = "grid"
    """`grid`: every setting; `random`: some of them; `optuna`: each proposed from the figures of those before."""
    samples: NonNegativeInt = 0
    """Settings that `random` draws or `optuna` proposes; `grid` tries all there are."""
    repeats: PositiveInt = 1
    """Runs of each setting, with the seeds `seed`, `seed` + 1 and so on: two or more give a spread."""
    asha: bool = False
    """End trials early that are behind at equal progress (ASHA). Needs validations on the way: train.validate_every."""
    grace: Annotated[float, Field(gt=0, lt=1)] = 0.2
    """Part of its run that every trial has before it may be ended early."""
    reduction: Annotated[int, Field(ge=2)] = 3
    """Of so many trials that reach a rung, about one goes on."""
    max_concurrent: NonNegativeInt = 0
    """At most this many trials at once; 0: as many as the cluster has room for when the search starts."""

    def __post_init__(self) -> None:
        for key in ("r", "cem"):
            if not getattr(self, key) or len(set(getattr(self, key))) != len(getattr(self, key)):
                raise ValueError(f"{key} is {list(getattr(self, key))}; allowed: one value or more, each once")
        ranges = [key for key, values in self.space().items() if isinstance(values, Range)]
        if self.algorithm == "grid" and ranges:
            raise ValueError(f"also has a range for {ranges[0]}; allowed with algorithm grid: lists of values")
        if self.algorithm != "grid" and not self.samples:
            raise ValueError(f"samples is 0; allowed with algorithm {self.algorithm}: 1 or more")

    def space(self) -> dict[str, tuple[Any, ...] | Range]:
        """What every key may be, by dotted key.

        Raises:
            ValueError: a key of `also` has neither a list of values nor a range.
        """
        return {R: self.r, CEM_KEY: self.cem, **dict(_leaves(self.also, ""))}


def _leaves(tree: Mapping[str, Any], above: str) -> Iterator[tuple[str, tuple[Any, ...] | Range]]:
    for name, value in tree.items():
        key = f"{above}{name}"
        if key in (R, CEM_KEY):
            raise ValueError(f"also has {key}; allowed: other keys, {key} is set by search.{name}")
        if key.split(".")[0] in FIXED:
            raise ValueError(f"also has {key}; allowed: other keys, as a search sets {key} itself")
        section = isinstance(value, Mapping) and value and not {"low", "high"} & value.keys()
        if key in ("model", "model.name") and not section:
            raise ValueError(
                f"also has {value!r} for {key}; allowed: other keys, as networks are tried by search.r and search.cem"
            )
        if isinstance(value, list | tuple) and value:
            yield key, tuple(value)
        elif isinstance(value, Mapping) and {"low", "high"} <= value.keys() <= {"low", "high", "log"}:
            yield key, _range(key, value)
        elif section:
            yield from _leaves(value, f"{key}.")
        else:
            raise ValueError(f"also has {value!r} for {key}; allowed: a list of values, or {{low: ..., high: ...}}")


def _range(key: str, value: Mapping[str, Any]) -> Range:
    try:
        # YAML reads 1e-3, without a dot, as text
        made = Range(float(value["low"]), float(value["high"]), bool(value.get("log", False)))
    except (TypeError, ValueError) as error:
        raise ValueError(f"also has {dict(value)} for {key}; allowed: numbers as low and high") from error
    if not made.low < made.high or (made.log and made.low <= 0):
        raise ValueError(f"also has {dict(value)} for {key}; allowed: low below high, and above 0 where log is true")
    return made


def settings(config: SearchConfig, *, seed: int) -> list[Setting]:
    """The settings of a grid, or those drawn at random: the same for the same seed, and more of them begin the same.

    Raises:
        ValueError: the algorithm is one that proposes settings as it goes.
    """
    space = config.space()
    if config.algorithm == "grid":
        values = [choice for choice in space.values() if not isinstance(choice, Range)]
        return [dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*values)]
    if config.algorithm != "random":
        raise ValueError(f"search.algorithm {config.algorithm} has no list of settings before it runs")
    chance, found, idle = random.Random(seed), list[Setting](), 0
    while len(found) < config.samples and idle < ATTEMPTS:
        drawn = {
            key: choice.draw(chance) if isinstance(choice, Range) else chance.choice(choice)
            for key, choice in space.items()
        }
        idle = idle + 1 if drawn in found else 0
        if not idle:
            found.append(drawn)
    return found


def corners(config: SearchConfig) -> list[Setting]:
    """Settings in which every value of a list and both ends of a range occur: what is checked before a search."""
    space = {
        key: (choice.low, choice.high) if isinstance(choice, Range) else choice
        for key, choice in config.space().items()
    }
    first = {key: values[0] for key, values in space.items()}
    return [{**first, key: value} for key, values in space.items() for value in values]


def label(setting: Setting) -> str:
    """A setting's name, e.g. `r-2-half-reordered`, with six letters more for what it sets besides.

    The letters are made of keys as they were first called: a search goes on with trials of an earlier version.
    """
    others = {first_key(key): value for key, value in setting.items() if key not in (R, CEM_KEY)}
    tail = f"-{hashlib.sha1(json.dumps(others, sort_keys=True).encode()).hexdigest()[:6]}" if others else ""
    return f"r{setting[R]}-{setting[CEM_KEY]}{tail}"


def other_keys(setting: Setting) -> str:
    """What a setting sets besides r and the exchange, for people; empty where it is nothing."""
    return ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in setting.items()
        if key not in (R, CEM_KEY)
    )
