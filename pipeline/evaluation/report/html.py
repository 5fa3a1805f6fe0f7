"""The report as one HTML page that needs no other file, no script and no network."""

import base64
from collections.abc import Sequence
from html import escape
from typing import Any

from pipeline.evaluation.report.figures import RUNS, Drawn
from pipeline.evaluation.report.findings import RunReport

SECTIONS = {
    "worst": ("Worst images", "Truth on the left, found people above the best score threshold on the right."),
    "best": ("Best images", "The other end of the same order."),
    "maps": ("Heatmaps and tags", "Orange is left, blue is right; in the tags one colour is one person."),
}

STYLE = f"""
:root {{ --ink: #1d2430; --soft: #5d6778; --line: #dfe3ea; --first: {RUNS[0]}; --second: {RUNS[1]}; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: #f5f6f8; color: var(--ink);
       font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }}
main {{ max-width: 1180px; margin: 0 auto; padding: 20px 16px 48px; }}
h1 {{ font-size: 1.6rem; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.15rem; margin: 36px 0 4px; }}
h3 {{ font-size: .95rem; margin: 0 0 8px; }}
p {{ margin: 0 0 12px; color: var(--soft); }}
.tiles {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(132px, 1fr)); gap: 10px; margin: 18px 0; }}
.tile, figure, .table {{ background: #fff; border: 1px solid var(--line); border-radius: 10px; }}
.tile {{ padding: 10px 14px; }}
.tile b {{ display: block; font-size: 1.35rem; font-variant-numeric: tabular-nums; }}
.tile span {{ color: var(--soft); font-size: .82rem; }}
.tile .second {{ color: var(--second); }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr)); gap: 14px; }}
.wide {{ grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); }}
figure {{ margin: 0; padding: 14px; overflow-wrap: anywhere; }}
img {{ display: block; width: 100%; height: auto; }}
figcaption {{ color: var(--soft); font-size: .85rem; margin-top: 8px; }}
.table {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; font-size: .92rem; }}
th, td {{ padding: 6px 14px; text-align: left; border-top: 1px solid var(--line); vertical-align: top; }}
tr:first-child > * {{ border-top: 0; }}
td {{ font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }}
th {{ font-weight: 600; white-space: nowrap; }}
.mark::before {{ content: ""; display: inline-block; width: .7em; height: .7em; border-radius: 2px; margin-right: .4em;
                background: var(--first); }}
.mark.two::before {{ background: var(--second); }}
@media (max-width: 480px) {{ th, td {{ padding: 6px 8px; }} th {{ white-space: normal; }} }}
"""


def render(runs: Sequence[RunReport], figures: Sequence[Drawn]) -> str:
    """The page.

    Args:
        runs: one model, or two to compare.
        figures: from `pipeline.evaluation.report.figures.draw`.
    """
    first, data = runs[0], runs[0].evaluation.data
    title = " against ".join(run.name for run in runs)
    left_out = f" ({data['left_out']:,} more of the split are in no shard)" if data["left_out"] else ""
    about = (
        f"{data['dataset']} {data['split']}, {data['images']:,} images{left_out}, {data['people']:,} annotated "
        f"people and crowds. Protocol {first.evaluation.protocol['name']}, input "
        f"{' against '.join(dict.fromkeys(str(run.evaluation.protocol['size']) for run in runs))} px."
    )
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(about)}</p>",
        _tiles(runs),
        "<h2>Figures</h2>",
        "<p>COCO's ten keypoint figures, and what the model costs.</p>",
        _scores(runs),
        '<h2>Where it stands</h2><div class="grid">',
        *(_figure(f.title, f.says, f.png, "png") for f in figures),
        "</div>",
    ]
    for kind, (heading, says) in SECTIONS.items():
        shown = [(run, picture) for run in runs for picture in run.pictures if picture.kind == kind]
        if shown:
            body.append(f'<h2>{heading}</h2><p>{says}</p><div class="grid wide">')
            for run, picture in shown:
                caption = f"{run.name}: {picture.caption}" if len(runs) > 1 else picture.caption
                body.append(_figure("", caption, picture.jpeg, "jpeg"))
            body.append("</div>")
    body += ["<h2>How it was made</h2>", _settings(runs)]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _tiles(runs: Sequence[RunReport]) -> str:
    rows = [_headline(run) for run in runs]
    tiles = []
    for name, value in rows[0].items():
        other = f'<b class="second">{escape(rows[1][name])}</b>' if len(rows) > 1 else ""
        tiles.append(f'<div class="tile"><b>{escape(value)}</b>{other}<span>{escape(name)}</span></div>')
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _headline(run: RunReport) -> dict[str, str]:
    evaluation, latency = run.evaluation, run.evaluation.predictions.latency
    return {
        "AP": f"{evaluation.scores.ap:.3f}",
        "AP at OKS 0.50": f"{evaluation.scores.ap50:.3f}",
        "million parameters": f"{evaluation.params / 1e6:.2f}",
        "billion MACs": f"{evaluation.macs / 1e9:.2f}",
        "ms an image": f"{latency.total_ms:.1f}",
    }


def _scores(runs: Sequence[RunReport]) -> str:
    rows: list[tuple[str, list[str]]] = []
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
    return _table(_heads(runs, change=True), rows)


def _settings(runs: Sequence[RunReport]) -> str:
    rows: list[tuple[str, list[str]]] = []
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
    for name in facts[0]:
        rows.append((name, [str(fact[name]) for fact in facts]))
    return _table(_heads(runs, change=False), rows)


def _heads(runs: Sequence[RunReport], *, change: bool) -> list[str]:
    if len(runs) == 1:
        return []
    names = [f'<span class="mark{" two" if n else ""}">{escape(run.name)}</span>' for n, run in enumerate(runs)]
    return ["", *names, *(["change"] if change else [])]


def _table(heads: Sequence[str], rows: Sequence[tuple[str, list[str]]]) -> str:
    lines = [f"<tr>{''.join(f'<th>{head}</th>' for head in heads)}</tr>"] if heads else []
    for name, values in rows:
        lines.append(f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(value)}</td>' for value in values)}</tr>")
    return f'<div class="table"><table>{"".join(lines)}</table></div>'


def _figure(title: str, says: str, data: bytes, kind: str) -> str:
    heading = f"<h3>{escape(title)}</h3>" if title else ""
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return (
        f'<figure>{heading}<img loading="lazy" alt="{escape(says, quote=True)}" src="{source}">'
        f"<figcaption>{escape(says)}</figcaption></figure>"
    )


def _number(value: float) -> str:
    return "none in the split" if value == -1 else f"{value:.4f}"


def _change(old: float, new: float) -> str:
    return "" if -1 in (old, new) else f"{new - old:+.4f}"
