"""What a search says: a row for each setting, what the exchange gains, which settings nothing beats, which to take.

Plain functions of the trials' records. AP runs from 0 to 1.
"""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lhrnet.network.profile import Profile
from pipeline.config.search_space import CEM_KEY, R, Setting, other_keys
from pipeline.evaluation.gate import GateConfig
from pipeline.search.paper import PAPER, PaperRow
from pipeline.search.record import TrialRecord


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Several figures of the same thing."""

    mean: float
    deviation: float | None
    """Standard deviation over the figures; none of a single one."""
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread | None":
        """Of one figure or more; none of none."""
        if not values:
            return None
        deviation = statistics.stdev(values) if len(values) > 1 else None
        return cls(mean=statistics.fmean(values), deviation=deviation, count=len(values))


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a setting's network takes."""

    side: int
    """Of the input that it is scored at, pixels."""
    params: int
    paper_flops: int
    macs: int
    native: bool
    """Whether its input is the one that the paper gives this r."""
    latency_ms: float | None = None
    device: str = ""

    @classmethod
    def of(cls, counted: Profile, *, native: bool, latency_ms: float | None = None, device: str = "") -> "Cost":
        """From a network's counts."""
        return cls(
            side=counted.input_size[0],
            params=counted.params,
            paper_flops=counted.paper_flops,
            macs=counted.macs,
            native=native,
            latency_ms=latency_ms,
            device=device,
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """A setting and what came of its runs."""

    setting: Setting
    cost: Cost
    ap: Spread | None
    """Over the runs that went to their end."""
    by_seed: Mapping[int, float]
    """Their AP."""
    pruned: tuple[tuple[float, int], ...]
    """AP and step at which runs were ended early."""
    failed: int
    begun: int
    """All its runs, whatever came of them."""

    @property
    def whole(self) -> bool:
        """Whether all its runs went to their end, so that its mean is not that of those with lucky seeds."""
        return self.ap is not None and self.ap.count == self.begun

    @property
    def r(self) -> int:
        """Scale."""
        return int(self.setting[R])

    @property
    def cem(self) -> str:
        """Channel exchange."""
        return str(self.setting[CEM_KEY])

    @property
    def others(self) -> str:
        """What else it sets."""
        return other_keys(self.setting)

    @property
    def paper(self) -> PaperRow | None:
        """What the paper prints of this r and exchange."""
        return PAPER.get((self.r, self.cem))


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A channel exchange compared with none, all else equal."""

    with_it: Row
    without: Row
    difference: Spread
    """Over seeds that both were run with, each pair apart; where there are none, of the two means."""
    paired: bool

    @property
    def paper(self) -> float | None:
        """The same difference in the paper, on COCO val2017."""
        ours, bare = self.with_it.paper, self.without.paper
        return ours.ap_val - bare.ap_val if ours and bare else None


def same(one: Setting, other: Setting) -> bool:
    """Whether two settings are the same but for the exchange."""
    return _key(one, but=CEM_KEY) == _key(other, but=CEM_KEY)


def _key(setting: Setting, but: str = "") -> str:
    return json.dumps({key: value for key, value in setting.items() if key != but}, sort_keys=True)


def rows(records: Sequence[TrialRecord], costs: Mapping[str, Cost]) -> list[Row]:
    """A row for each setting, the largest network first.

    Args:
        records: all trials.
        costs: by the name of each trial.
    """
    groups: dict[str, list[TrialRecord]] = {}
    for record in records:
        groups.setdefault(_key(record.setting), []).append(record)
    found = []
    for group in groups.values():
        done = {record.seed: record.ap for record in group if record.state == "finished" and record.ap >= 0}
        found.append(
            Row(
                setting=group[0].setting,
                cost=costs[group[0].name],
                ap=Spread.of(list(done.values())),
                by_seed=done,
                pruned=tuple((record.ap, record.step) for record in group if record.state == "pruned"),
                failed=sum(record.state == "failed" for record in group),
                begun=len(group),
            )
        )
    order = ("none", "full", "half", "half-reordered")
    return sorted(found, key=lambda row: (-row.r, row.others, order.index(row.cem)))


def gains(table: Sequence[Row]) -> list[Gain]:
    """Each exchange against none at the same r and other keys, where both have runs that went to their end."""
    found = []
    for row in table:
        bare = next((other for other in table if other.cem == "none" and same(row.setting, other.setting)), None)
        if row.cem == "none" or bare is None or row.ap is None or bare.ap is None:
            continue
        pairs = [ap - bare.by_seed[seed] for seed, ap in row.by_seed.items() if seed in bare.by_seed]
        difference = Spread.of(pairs or [row.ap.mean - bare.ap.mean])
        assert difference is not None
        found.append(Gain(with_it=row, without=bare, difference=difference, paired=bool(pairs)))
    return found


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """The Pareto front of (cost, AP): numbers of the points that no other beats, by rising cost.

    A point is beaten by one that costs no more and has no less AP, and is better in one of the two.
    """
    best = float("-inf")
    chosen: list[int] = []
    for number in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        cost, ap = points[number]
        equal = bool(chosen) and points[chosen[-1]] == (cost, ap)
        if ap > best or equal:
            chosen.append(number)
            best = ap
    return chosen


def best_at(table: Sequence[Row], cost: Callable[[Row], float | None]) -> list[Row]:
    """The settings on the front of AP over a cost, the cheapest first; those without either are left out."""
    known = [(value, row) for row in table if row.ap and (value := cost(row)) is not None]
    return [known[i][1] for i in front([(value, row.ap.mean) for value, row in known if row.ap])]


def choose(table: Sequence[Row], ceilings: GateConfig) -> Row | None:
    """The setting with the highest mean AP among those that the gate's ceilings allow; of equals the cheapest.

    One whose runs did not all finish is chosen only if there is no other: the mean of the runs that were not ended
    early is no mean over seeds.
    """
    allowed = [row for row in table if row.ap is not None and not over(row, ceilings)]
    return max(allowed, key=lambda row: (row.whole, row.ap.mean if row.ap else -1.0, -row.cost.macs), default=None)


def over(row: Row, ceilings: GateConfig) -> list[str]:
    """The ceilings that a setting is over. Its latency is the network's alone, so the gate may still say no."""
    held = (
        ("params", row.cost.params, ceilings.max_params),
        ("macs", row.cost.macs, ceilings.max_macs),
        ("latency_ms", row.cost.latency_ms, ceilings.max_latency_ms),
    )
    return [name for name, value, limit in held if value is not None and limit is not None and value > limit]
