"""The report as one HTML page that needs no other file, no script and no network."""

from collections.abc import Sequence
from typing import Any

from pipeline.evaluation.report.figures import RUNS, ReportFigure
from pipeline.evaluation.report.findings import RunReport
from pipeline.evaluation.templates import template

SECTIONS = {
    "worst": ("Worst images", "Ground truth on the left, people found above the best score threshold on the right."),
    "best": ("Best images", "The other end of the same order."),
    "maps": ("Heatmaps and tags", "Orange is left, blue is right; in the tags one colour is one person."),
}
"""Heading and explanation of each kind of picture."""
TableRow = tuple[str, list[str]]
"""A name and the values that stand beside it."""


def render(runs: Sequence[RunReport], figures: Sequence[ReportFigure]) -> str:
    """The page.

    Args:
        runs: one model, or two to compare.
        figures: from `pipeline.evaluation.report.figures.draw_figures`.
    """
    first, data = runs[0], runs[0].evaluation.data
    title = " against ".join(run.name for run in runs)
    left_out = f" ({data['left_out']:,} more of the split are in no shard)" if data["left_out"] else ""
    about = (
        f"{data['dataset']} {data['split']}, {data['images']:,} images{left_out}, {data['people']:,} annotated "
        f"people and crowds. Protocol {first.evaluation.protocol['name']}, input "
        f"{' against '.join(dict.fromkeys(str(run.evaluation.protocol['size']) for run in runs))} px."
    )
    sections = []
    for kind, (heading, says) in SECTIONS.items():
        shown = [(run, picture) for run in runs for picture in run.pictures if picture.kind == kind]
        if shown:
            named = [(f"{run.name}: {p.caption}" if len(runs) > 1 else p.caption, p.jpeg) for run, p in shown]
            sections.append((heading, says, named))
    return template("evaluation/report/report.html.j2").render(
        title=title,
        about=about,
        colours=RUNS,
        names=[run.name for run in runs],
        tiles=_tiles(runs),
        scores=_scores(runs),
        settings=_settings(runs),
        figures=figures,
        sections=sections,
    )


def _tiles(runs: Sequence[RunReport]) -> list[tuple[str, str, str]]:
    """Name, the first model's value, the second's; empty where there is one model."""
    rows = [_headline(run) for run in runs]
    return [(name, value, rows[1][name] if len(rows) > 1 else "") for name, value in rows[0].items()]


def _headline(run: RunReport) -> dict[str, str]:
    evaluation, latency = run.evaluation, run.evaluation.predictions.latency
    return {
        "AP": f"{evaluation.scores.ap:.3f}",
        "AP at OKS 0.50": f"{evaluation.scores.ap50:.3f}",
        "million parameters": f"{evaluation.params / 1e6:.2f}",
        "billion MACs": f"{evaluation.macs / 1e9:.2f}",
        "ms an image": f"{latency.total_ms:.1f}",
    }


def _scores(runs: Sequence[RunReport]) -> list[TableRow]:
    rows: list[TableRow] = []
    scores = [run.evaluation.scores.as_dict() for run in runs]
    for name in scores[0]:
        rows.append((name.replace("_", " ").upper().replace("MEDIUM", "medium").replace("LARGE", "large"), []))
        rows[-1][1].extend(_number(figures[name]) for figures in scores)
        if len(runs) > 1:
            rows[-1][1].append(_change(scores[0][name], scores[1][name]))
    costs: dict[str, tuple[list[float], str]] = {
        "params": ([run.evaluation.params for run in runs], ",d"),
        "macs": ([run.evaluation.macs for run in runs], ",d"),
        "network, ms an image": ([run.evaluation.predictions.latency.network_ms for run in runs], ",.1f"),
        "decode, ms an image": ([run.evaluation.predictions.latency.decode_ms for run in runs], ",.1f"),
    }
    for name, (values, form) in costs.items():
        rows.append((name, [f"{value:{form}}" for value in values]))
        if len(runs) > 1:
            rows[-1][1].append(f"{values[1] - values[0]:+{form}}")
    rows.append(("device", [run.evaluation.predictions.latency.device for run in runs]))
    return rows


def _settings(runs: Sequence[RunReport]) -> list[TableRow]:
    facts: list[dict[str, Any]] = [
        {
            "checkpoint": run.evaluation.checkpoint,
            "training steps": f"{run.evaluation.step:,}",
            "protocol": f"{run.evaluation.protocol['name']}, input {run.evaluation.protocol['size']} px",
            "flip, scales": f"{run.evaluation.protocol['flip']}, {run.evaluation.protocol['scales']}",
            "grouping": ", ".join(f"{k} {v}" for k, v in run.evaluation.protocol["grouping"].items()),
            "best score threshold": f"{run.threshold:.3f}",
            "shards": f"{run.evaluation.data['url']} (index sha256 {run.evaluation.data['index_sha256'][:16]})",
        }
        for run in runs
    ]
    return [(name, [str(fact[name]) for fact in facts]) for name in facts[0]]


def _number(value: float) -> str:
    return "none in the split" if value == -1 else f"{value:.4f}"


def _change(old: float, new: float) -> str:
    return "" if -1 in (old, new) else f"{new - old:+.4f}"
