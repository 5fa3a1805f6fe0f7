"""The gate: rules that decide whether a challenger may replace the champion.

Everything here is a pure function of measured values. `pipeline.release.promotion` registers versions, moves aliases,
and stores every `Decision`, accepted or refused.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any

from pydantic import Field, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass as section

from lhrnet.metrics.matching import Difference
from pipeline import SECTION, Share
from pipeline.evaluation.markdown import markdown_table

SIZES = ("ap_medium", "ap_large")
"""COCO's size classes of people (32² to 96² pixels, and above), by the names of their figures."""

SHOWN = 3
"""Classes named in a sentence; the tables have all of them."""


@section(frozen=True, kw_only=True, config=SECTION)
class GateConfig:
    """What a challenger must show before it is served. AP and similarities run from 0 to 1."""

    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "lightweight-hrnet"
    """Name of the registered model."""
    min_ap: Share = 0.0
    """A model with a lower AP is not served, not even the first."""
    min_gain: Share = 0.001
    """The challenger's AP must exceed the champion's by at least this."""
    confidence: Share = 0.9
    """The challenger gains at least `min_gain` in at least this share of bootstrap resamples of the images."""
    resamples: Annotated[int, Field(ge=100)] = 1000
    """Bootstrap resamples of the images."""
    seed: int = 0
    """Seed of the bootstrap."""
    max_params: PositiveInt | None = None
    """At most this many parameters; empty: no limit."""
    max_macs: PositiveInt | None = None
    """At most this many multiply-accumulates for one forward pass of an image of the scored size; empty: no limit."""
    max_latency_ms: PositiveFloat | None = None
    """At most this many milliseconds an image, network and decoding, on the device that scored both. Empty: any."""
    max_keypoint_loss: Share = 0.05
    """Any keypoint's mean similarity (OKS of that keypoint alone) may fall by at most this."""
    max_size_loss: Share = 0.03
    """The AP of medium or of large people may fall by at most this."""


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """What was measured of one model on one split under one protocol."""

    version: str
    """Version in the registry; "candidate" while it has none."""
    scores: Mapping[str, float]
    """COCO's ten figures by name; -1 where the split has no such people."""
    keypoint_oks: Mapping[str, float]
    """Mean OKS of each keypoint where it is labelled; 0 where the person was not found."""
    params: int
    macs: int
    """Multiply-accumulates of one forward pass of a square image at the scored size."""
    latency_ms: float
    """Network plus decoding, milliseconds an image."""
    device: str
    protocol: Mapping[str, Any]
    """How it was scored: input size, flip, scales, grouping. Models of one comparison may differ in their size."""


@dataclass(frozen=True)
class Rule:
    """One rule's outcome: `measured` and `limit`, and a sentence with both."""

    name: str
    passed: bool
    measured: float
    limit: float
    says: str


@dataclass(frozen=True, kw_only=True)
class Decision:
    """The gate's answer, with everything it was decided by."""

    accepted: bool
    rules: tuple[Rule, ...]
    challenger: Measurements
    champion: Measurements | None
    difference: Difference | None
    """The challenger's AP minus the champion's, by a paired bootstrap over images; none for a first model."""
    data: Mapping[str, Any]
    """The shards both were scored on: address, split, images, sha256 of the index."""

    @property
    def reason(self) -> str:
        """One line: the rules that failed, or what the challenger gained."""
        failed = [rule.says for rule in self.rules if not rule.passed]
        if failed:
            return "; ".join(failed)
        return next(
            (rule.says for rule in self.rules if rule.name == "minimum gain"), "first model: no champion to beat"
        )

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self) | {"reason": self.reason}


def decide(
    config: GateConfig,
    challenger: Measurements,
    champion: Measurements | None,
    difference: Difference | None,
    *,
    data: Mapping[str, Any],
) -> Decision:
    """Apply the rules to a challenger.

    Args:
        config: the rules' limits.
        challenger: measured values of the model that is to be served.
        champion: those of the model being served; None where there is none, and then only floors and ceilings count.
        difference: paired bootstrap of the two APs; None exactly when `champion` is.
        data: what both were scored on, for the record.

    Raises:
        ValueError: only one of `champion` and `difference` was given.
    """
    if (champion is None) != (difference is None):
        raise ValueError("a comparison needs both the champion's figures and the bootstrap of the difference")
    rules = _own_rules(config, challenger)
    if champion is not None and difference is not None:
        rules += _comparisons(config, challenger, champion, difference)
    return Decision(
        accepted=all(rule.passed for rule in rules),
        rules=tuple(rules),
        challenger=challenger,
        champion=champion,
        difference=difference,
        data=data,
    )


def _own_rules(config: GateConfig, challenger: Measurements) -> list[Rule]:
    ap = challenger.scores["ap"]
    rules = [_floor("minimum AP", ap, config.min_ap, f"AP is {ap:.4f}, at least {config.min_ap:.4f} is asked")]
    ceilings = (
        ("params", challenger.params, config.max_params, ",d"),
        ("macs", challenger.macs, config.max_macs, ",d"),
        ("latency", challenger.latency_ms, config.max_latency_ms, ".1f"),
    )
    for name, value, limit, form in ceilings:
        if limit is not None:
            unit = " ms an image" if name == "latency" else ""
            says = f"{name}: {value:{form}}{unit}, the ceiling is {limit:{form}}{unit}"
            rules.append(Rule(f"maximum {name}", value <= limit, float(value), float(limit), says))
    return rules


def _comparisons(
    config: GateConfig, challenger: Measurements, champion: Measurements, difference: Difference
) -> list[Rule]:
    gain = challenger.scores["ap"] - champion.scores["ap"]
    enough = f"AP {gain:+.4f} against version {champion.version}, at least {config.min_gain:+.4f} is asked"
    sure = (
        f"the gain holds in {difference.share:.1%} of {difference.resamples} resamples of the images "
        f"(90% interval {difference.low:+.4f} to {difference.high:+.4f}), at least {config.confidence:.1%} is asked"
    )
    return [
        _floor("minimum gain", gain, config.min_gain, enough),
        _floor("confidence", difference.share, config.confidence, sure),
        _worst("size", _losses(challenger.scores, champion.scores, SIZES), config.max_size_loss),
        _worst(
            "keypoint",
            _losses(challenger.keypoint_oks, champion.keypoint_oks, tuple(champion.keypoint_oks)),
            config.max_keypoint_loss,
        ),
    ]


def _losses(new: Mapping[str, float], old: Mapping[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """How much each class fell, without classes that the split has no people of (COCO's −1)."""
    return {name: old[name] - new[name] for name in names if old[name] >= 0 and not new[name] < 0}


def _floor(name: str, measured: float, limit: float, says: str) -> Rule:
    return Rule(name, measured >= limit, measured, limit, says)


def _worst(kind: str, losses: dict[str, float], limit: float) -> Rule:
    if not losses:
        return Rule(f"no {kind} worse", True, 0.0, limit, f"no {kind} class was measured on this split")
    # a figure that is no number has fallen below every limit
    ranked = sorted(losses.items(), key=lambda item: -item[1] if math.isfinite(item[1]) else -math.inf)
    over = [f"{name} {-loss:+.4f}" for name, loss in ranked if not loss <= limit]
    more = f" and {len(over) - SHOWN} more" if len(over) > SHOWN else ""
    name, loss = ranked[0]
    says = (
        f"{kind} classes that fell by more than {limit:.4f}: {', '.join(over[:SHOWN])}{more}"
        if over
        else f"worst {kind}: {name} {-loss:+.4f}"
    )
    return Rule(f"no {kind} worse", not over, loss, limit, says)


def to_markdown(decision: Decision) -> str:
    """The decision as Markdown for reviewers: the answer, the rules, the figures side by side."""
    new, old = decision.challenger, decision.champion
    rules = [
        (rule.name, f"{rule.measured:.4g}", f"{rule.limit:.4g}", "yes" if rule.passed else "**no**")
        for rule in decision.rules
    ]
    before = {} if old is None else _table(old)
    figures = [_row(name, value, before.get(name)) for name, value in _table(new).items()]
    champion = f"version {old.version}" if old else "no champion"
    lines = [
        f"# Version {new.version}: {'accepted' if decision.accepted else 'refused'}",
        "",
        decision.reason,
        "",
        markdown_table([("rule", "measured", "limit", ""), *rules]),
        "",
        markdown_table([("figure", f"version {new.version}", champion, ""), *figures]),
    ]
    how = {"Scored": new.protocol}
    if old and dict(old.protocol) != dict(new.protocol):
        how = {f"Version {new.version} scored": new.protocol, f"Version {old.version} scored": old.protocol}
    lines += ["", *(f"{who} with: {_listed(protocol)}." for who, protocol in how.items())]
    return "\n".join([*lines, f"Data: {_listed(decision.data)}.", ""])


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items())


def _table(figures: Measurements) -> dict[str, float]:
    oks = {f"OKS of {name}": value for name, value in figures.keypoint_oks.items()}
    cost = {"params": figures.params, "macs": figures.macs, f"ms an image ({figures.device})": figures.latency_ms}
    return {**figures.scores, **oks, **cost}


def _row(name: str, new: float, old: float | None) -> tuple[str, str, str, str]:
    form = ",d" if isinstance(new, int) else ".1f" if name.startswith("ms ") else ".4f"
    if old is None:
        return name, f"{new:{form}}", "", ""
    return name, f"{new:{form}}", f"{old:{form}}", f"{new - old:+{form}}"
