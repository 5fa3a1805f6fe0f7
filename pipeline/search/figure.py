"""The answer of a search as a picture: AP over multiply-adds and over latency, with what no other setting beats."""

import io
import math
from collections.abc import Callable, Sequence

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluation.report.figures import STYLE
from pipeline.search.paper import PAPER
from pipeline.search.table import Row, front

MARKERS = {
    "none": ("#5d6778", "o"),
    "full": ("#3d9970", "s"),
    "half": ("#e0762f", "^"),
    "half-reordered": ("#2b62c4", "D"),
}
"""Colour and marker of each exchange."""
COSTS: dict[str, Callable[[Row], float | None]] = {
    "multiply-adds of an image, 10⁹": lambda row: row.cost.macs / 1e9,
    "network, ms an image": lambda row: row.cost.latency_ms,
}


def picture(table: Sequence[Row], *, title: str, on_coco: bool) -> bytes:
    """A PNG.

    Args:
        table: the settings; those without a finished run are left out.
        title: what it shows.
        on_coco: whether the AP is COCO's: then the paper's stands beside ours, where the input is the paper's.
    """
    done = [row for row in table if row.ap is not None]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.4, 4.0), layout="constrained")
        for axes, (name, cost) in zip(figure.subplots(1, 2, sharey=True), COSTS.items(), strict=True):
            _panel(axes, [(value, row) for row in done if (value := cost(row)) is not None])
            axes.set_xlabel(name)
        first = figure.axes[0]
        if on_coco:
            _paper(first, [row for row in done if row.cost.native])
        first.set_ylabel("AP")
        handles, labels = first.get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=7.5)
        figure.suptitle(title, fontsize=10, fontweight="bold")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
        return buffer.getvalue()


def _panel(axes: Axes, points: Sequence[tuple[float, Row]]) -> None:
    for cem, (colour, marker) in MARKERS.items():
        of = [(cost, row.ap) for cost, row in points if row.cem == cem and row.ap]
        if of:
            axes.errorbar(
                [cost for cost, _ in of],
                [ap.mean for _, ap in of],
                yerr=[ap.deviation or 0.0 for _, ap in of],
                fmt=marker,
                color=colour,
                ms=5,
                capsize=2,
                lw=1,
                label=f"CEM {cem}",
            )
    for cost, row in points:
        if row.ap:
            place = (cost, row.ap.mean)
            axes.annotate(f"r {row.r}", place, xytext=(5, 4), textcoords="offset points", fontsize=7, color="#333333")
    line = [(cost, row.ap.mean) for cost, row in points if row.ap]
    best = [line[number] for number in front(line)]
    axes.step([x for x, _ in best], [y for _, y in best], where="post", color="#b8433a", lw=1, label="front", zorder=0)
    costs = [cost for cost, _ in points]
    if costs and max(costs) > 4 * min(costs) > 0 and math.isfinite(max(costs)):
        axes.set_xscale("log")


def _paper(axes: Axes, ours: Sequence[Row]) -> None:
    there = [(row.cost.macs / 1e9, PAPER[row.r, row.cem].ap_val) for row in ours if (row.r, row.cem) in PAPER]
    if there:
        axes.plot(*zip(*there, strict=True), "o", mfc="none", mec="black", ms=8, ls="none", label="the paper")
