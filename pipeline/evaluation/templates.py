"""Pages from Jinja2 templates, which stand beside the code that fills them."""

import base64
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template


def template(path: str) -> Template:
    """A template.

    Values are escaped in HTML and stand as they are in Markdown. A value that was not given is an error. A template
    may include its neighbours by their names.

    Args:
        path: below `pipeline/`, e.g. `release/model_card.md.j2`.
    """
    folder, _, name = path.rpartition("/")
    return _environment(folder).get_template(name)


@cache
def _environment(folder: str) -> Environment:
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1] / folder),
        autoescape=lambda name: bool(name) and str(name).endswith(".html.j2"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["base64"] = lambda data: base64.b64encode(data).decode()
    made.filters["thousands"] = "{:,}".format
    return made
