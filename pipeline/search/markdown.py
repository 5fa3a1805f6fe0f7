"""The answer of a search in words: tables like the paper's V and VI, aligned, so that a terminal shows them too."""

from collections.abc import Sequence

from pipeline.evaluation.markdown import markdown_table
from pipeline.search.table import Gain, Row, Spread, best_at


def page(
    name: str,
    table: Sequence[Row],
    found: Sequence[Gain],
    chosen: Row | None,
    *,
    scored_on: str,
    failures: Sequence[str] = (),
) -> str:
    """The answer as Markdown.

    Args:
        name: the search's.
        table: its settings.
        found: what the exchange gains.
        chosen: the setting to take.
        scored_on: split and protocol, for the record.
        failures: a line for each trial that failed.
    """
    device = next((row.cost.device for row in table if row.cost.device), "")
    parts = [f"# Search {name}", "", f"AP on {scored_on}; the paper's on COCO val2017, at its own input sizes."]
    if device:
        parts[-1] += f" Latency: the network, one image at a time, on {device}."
    parts += ["", markdown_table(_settings(table), padded=True), "", "## With and without the exchange", ""]
    parts.append(
        markdown_table(_gains(found), padded=True)
        if found
        else "Nothing to compare: no setting finished both with and without it."
    )
    if table and not any(row.ap and row.ap.deviation is not None for row in table):
        parts += [
            "",
            "One run of each setting shows no spread; set search.repeats=3 for a standard deviation over seeds.",
        ]
    if any(row.ap and not row.whole for row in table):
        parts += [
            "",
            "Where not all runs of a setting finished, its AP is the mean of those that did: of its better seeds, "
            "where the others were ended early.",
        ]
    parts += ["", "## What no other setting beats", ""]
    for what, cost in (("macs", lambda row: row.cost.macs), ("latency", lambda row: row.cost.latency_ms)):
        names = [f"r {row.r} {row.cem}" + (f" ({row.others})" if row.others else "") for row in best_at(table, cost)]
        parts.append(f"- AP over {what}: {', '.join(names) or 'nothing was measured'}")
    says = describe(chosen) if chosen else "none; no setting finished below the gate's ceilings"
    parts += ["", f"Chosen: {says}"]
    if failures:
        parts += ["", "## Failed", "", *(f"- {line}" for line in failures)]
    return "\n".join([*parts, ""])


def describe(row: Row) -> str:
    """A setting in a line."""
    says = f"r {row.r}, CEM {row.cem}" + (f", {row.others}" if row.others else "")
    runs = "" if row.whole else f" ({_runs(row)} runs)"
    return (
        f"{says}: AP {spread(row.ap)}{runs}, {_millions(row.cost.params)}M parameters, {_billions(row.cost.macs)}G macs"
    )


def spread(value: Spread | None, *, signed: bool = False) -> str:
    """`0.512 ± 0.004`; without the spread where there is a single figure."""
    if value is None:
        return ""
    text = f"{value.mean:+.3f}" if signed else f"{value.mean:.3f}"
    return text if value.deviation is None else f"{text} ± {value.deviation:.3f}"


def _settings(table: Sequence[Row]) -> list[list[str]]:
    others = any(row.others for row in table)
    head = ["r", "CEM", *(["also"] if others else []), "input", "params", "paper_flops", "macs", "ms", "AP", "runs"]
    cells = [[*head, "paper: params", "FLOPs", "AP"]]
    for row in table:
        cost, paper = row.cost, row.paper
        cells.append(
            [
                str(row.r),
                row.cem,
                *([row.others] if others else []),
                str(cost.side),
                f"{_millions(cost.params)}M",
                f"{_billions(cost.paper_flops)}B",
                f"{_billions(cost.macs)}G",
                "" if cost.latency_ms is None else f"{cost.latency_ms:.1f}",
                spread(row.ap) or _ended(row),
                _runs(row),
                f"{paper.params / 1e6:.1f}M" if paper else "",
                f"{paper.flops / 1e9:.1f}B" if paper else "",
                f"{paper.ap_val:.3f}" if paper else "",
            ]
        )
    return cells


def _runs(row: Row) -> str:
    """How many runs finished, and of how many where that is not all."""
    return str(row.begun) if row.whole else f"{row.ap.count if row.ap else 0} of {row.begun}"


def _ended(row: Row) -> str:
    if row.pruned:
        ap, step = max(row.pruned)
        return f"({ap:.3f} at step {step:,})"
    return "failed" if row.failed else "not run"


def _gains(found: Sequence[Gain]) -> list[list[str]]:
    others = any(gain.with_it.others for gain in found)
    cells = [["r", "CEM", *(["also"] if others else []), "AP without", "AP with", "difference", "seeds", "paper"]]
    for gain in found:
        cells.append(
            [
                str(gain.with_it.r),
                gain.with_it.cem,
                *([gain.with_it.others] if others else []),
                spread(gain.without.ap),
                spread(gain.with_it.ap),
                spread(gain.difference, signed=True),
                str(gain.difference.count) if gain.paired else "different",
                "" if gain.paper is None else f"{gain.paper:+.3f}",
            ]
        )
    return cells


def _millions(count: float) -> str:
    return f"{count / 1e6:.2f}"


def _billions(count: float) -> str:
    return f"{count / 1e9:.2f}"
