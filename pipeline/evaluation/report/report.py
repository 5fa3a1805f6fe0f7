"""The report of one model, or of two side by side, as files: one page, its figures and pictures."""

import json
import re
from collections.abc import Collection, Sequence

from pipeline.evaluation.report.figures import draw_figures
from pipeline.evaluation.report.findings import RunReport
from pipeline.evaluation.report.html import render
from pipeline.storage import store

OWN = re.compile(r"pictures/[12]-(worst|best|maps)-\d{12}\.jpg|figures/(precision-recall|keypoint-errors)-[12]\.png")
"""Files that differ between one report and the next in the same folder."""


def report_files(runs: Sequence[RunReport]) -> dict[str, bytes]:
    """The report's files by name: `report.html` (which needs no other), `report.json`, figures and pictures.

    Args:
        runs: one model, or two to compare, scored on the same images.

    Raises:
        ValueError: not one or two, or two that were not scored on the same images.
    """
    if len(runs) not in (1, 2):
        raise ValueError(f"a report shows one model or compares two, not {len(runs)}")
    data = {json.dumps(run.evaluation.data, sort_keys=True) for run in runs}
    if len(data) > 1:
        raise ValueError("the two models were not scored on the same images; evaluate both on one split")
    figures = draw_figures(runs)
    pictures = {
        f"pictures/{number}-{picture.kind}-{picture.image_id:012d}.jpg": picture.jpeg
        for number, run in enumerate(runs, start=1)
        for picture in run.pictures
    }
    return {
        "report.html": render(runs, figures).encode(),
        "report.json": json.dumps([run.as_dict() for run in runs], indent=1).encode(),
        **{f"figures/{figure.name}.png": figure.png for figure in figures},
        **pictures,
    }


def remove_stale(url: str, content: Collection[str]) -> None:
    """Remove files of an earlier report in a folder that the present one does not have. Other files stay.

    Args:
        url: the report's folder.
        content: names of the present report's files.
    """
    for name in store.listing(url):
        if OWN.fullmatch(name) and name not in content:
            store.delete(store.join(url, name))
