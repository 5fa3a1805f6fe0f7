"""The report's figures as PNG: precision over recall, AP by class, keypoints, errors and what they cost."""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lhrnet.metrics.errors import KINDS
from lhrnet.metrics.matching import RECALLS, precision_at_recall
from pipeline.evaluation.report.findings import RunReport

RUNS = ("#2b62c4", "#e0762f")
"""Colours of the first and the second model."""
ERRORS = {"good": "#3d9970", "jitter": "#f0c24b", "inversion": "#e0762f", "swap": "#8e5bb5", "miss": "#b8433a"}
WIDTH = 4.2
"""Inches: narrow enough that the text is legible on a phone, where a figure is as wide as the screen."""
NAME_WIDTH = 36
"""Characters of a model's name in a line of a legend: as many of the widest ones fit a figure."""
STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "figure.dpi": 200,
}


@dataclass(frozen=True)
class ReportFigure:
    """One figure."""

    name: str
    title: str
    says: str
    """What it shows, in a sentence; also the text for screen readers."""
    png: bytes


def draw_figures(runs: Sequence[RunReport]) -> list[ReportFigure]:
    """All figures of one model or of two."""
    with mpl.rc_context(STYLE):
        return [
            *(_precision_recall(run, f"precision-recall-{n}", len(runs) > 1) for n, run in enumerate(runs, start=1)),
            _classes(runs),
            _costs(runs),
            _keypoints(runs),
            *(_kinds(run, f"keypoint-errors-{n}", len(runs) > 1) for n, run in enumerate(runs, start=1)),
        ]


def _precision_recall(run: RunReport, name: str, several: bool) -> ReportFigure:
    figure, axes = _blank(3.6)
    curves = precision_at_recall(run.matches)
    shades = mpl.colormaps["viridis"](np.linspace(0.0, 0.9, 10))
    for number, threshold in enumerate(np.linspace(0.5, 0.95, 10)):
        if curves is not None:
            label = f"{threshold:.2f}  AP {curves[number].mean():.2f}"
            axes.plot(RECALLS, curves[number], color=shades[number], lw=1.4, label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision")
    axes.legend(title="OKS from", fontsize=7.5, title_fontsize=7.5, loc="center left", bbox_to_anchor=(1.0, 0.5))
    of = f" of {run.name}" if several else ""
    says = f"Precision at each recall{of}, from a loose (0.50) to a strict (0.95) similarity."
    return ReportFigure(name, f"Precision over recall{of}", says, _png(figure))


def _classes(runs: Sequence[RunReport]) -> ReportFigure:
    figure, axes = _blank(2.8)
    names = ["all", "medium people", "large people", *runs[0].crowding]
    values = []
    for run in runs:
        scores = run.evaluation.scores
        values.append([scores.ap, scores.ap_medium, scores.ap_large, *run.crowding.values()])
    _bars(axes, names, values, runs, limit=1.0)
    axes.set_xlabel("AP")
    says = "AP by size of the person (32² to 96² pixels, and above) and by how many people an image shows."
    return ReportFigure("classes", "AP by size and crowding", says, _png(figure))


def _costs(runs: Sequence[RunReport]) -> ReportFigure:
    figure, axes = _blank(2.9)
    names = list(runs[0].errors.gains)
    _bars(axes, names, [[run.errors.gains[name] for name in names] for run in runs], runs, limit=None)
    axes.set_xlabel("AP gained if errors of this kind alone were corrected")
    says = (
        "What keeps AP down: misplaced keypoints (jitter, inversion, swap, miss), scores that put wrong people before "
        "right ones (score: the AP if all right ones came first), people found where nobody is (background), people "
        "not found. Each is corrected alone, so the bars overlap and do not add up."
    )
    return ReportFigure("error-costs", "What each error costs", says, _png(figure))


def _keypoints(runs: Sequence[RunReport]) -> ReportFigure:
    count = len(runs[0].matches.keypoint_oks)
    figure, axes = _blank((4.6 if len(runs) > 1 else 4.0) * max(1.0, count / 17))
    names = list(runs[0].matches.keypoint_oks)
    values = [[run.matches.keypoint_oks[name] for name in names] for run in runs]
    _bars(axes, [name.replace("_", " ") for name in names], values, runs, limit=1.0)
    axes.set_xlabel("mean similarity (people not found count 0)")
    return ReportFigure(
        "keypoints", "Each keypoint", "Mean similarity of each keypoint to the ground truth.", _png(figure)
    )


def _kinds(run: RunReport, name: str, several: bool) -> ReportFigure:
    names = list(run.errors.keypoints)
    figure, axes = _blank(4.0 * max(1.0, len(names) / 17))
    left = np.zeros(len(names))
    total = np.array([max(1, sum(run.errors.keypoints[k].values())) for k in names])
    for kind in KINDS:
        share = np.array([run.errors.keypoints[k][kind] for k in names]) / total
        axes.barh(range(len(names)), share, left=left, color=ERRORS[kind], label=kind, height=0.78)
        left += share
    axes.set_yticks(range(len(names)), [k.replace("_", " ") for k in names])
    axes.set(xlim=(0, 1), xlabel="share of labelled keypoints")
    axes.invert_yaxis()
    axes.legend(
        ncols=5, fontsize=7.5, loc="lower left", bbox_to_anchor=(-0.25, 1.0), columnspacing=0.8, handlelength=1.0
    )
    of = f" of {run.name}" if several else ""
    says = f"How the keypoints of found people{of} lie: good (0.85 or more), or which error."
    return ReportFigure(name, f"Errors by keypoint{of}", says, _png(figure))


def _bars(
    axes: Axes,
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    runs: Sequence[RunReport],
    limit: float | None,
) -> None:
    """Horizontal bars, one a name and model, each with its number.

    With a limit the values are shares, of which −1 is shown as "none" (in the split); without one, differences.
    """
    height = 0.78 / len(values)
    for number, row in enumerate(values):
        places = np.arange(len(names)) + (number - (len(values) - 1) / 2) * height
        # wrapped, not cut: long names often differ in their last letters alone
        label = textwrap.fill(runs[number].name, NAME_WIDTH)
        axes.barh(places, np.maximum(row, 0), height * 0.92, color=RUNS[number], label=label)
        for place, value in zip(places, row, strict=True):
            text = "none" if limit is not None and value == -1 else f"{value:.3f}"
            axes.text(max(value, 0), place, f" {text}", va="center", fontsize=7.5, color="#333333")
    axes.set_yticks(range(len(names)), list(names))
    axes.invert_yaxis()
    if limit is not None:
        axes.set_xlim(0, limit)
    else:
        axes.margins(x=0.16)
    if len(values) > 1:
        axes.figure.legend(fontsize=7.5, loc="outside upper left")


def _blank(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, figure.subplots()


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
