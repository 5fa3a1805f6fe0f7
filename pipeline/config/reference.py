"""The reference of every setting as Markdown, made from the config's own classes: `lhrnet config --reference`.

A section's text is its class's docstring, a key's text the string below the field and its range what pydantic checks,
so that nothing is written twice.
"""

import ast
import dataclasses
import inspect
import json
import textwrap
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from pydantic.dataclasses import dataclass, is_pydantic_dataclass
from pydantic.fields import FieldInfo

from pipeline.config.tree import Config
from pipeline.evaluation.markdown import markdown_table

BOUNDS = {"gt": "above", "ge": "at least", "lt": "below", "le": "at most"}
HEAD = """# Configuration

Made by `lhrnet config --reference` from the classes that hold the settings; do not edit it by hand.

A run's settings are one tree: a YAML file, given with `-c`, and `a.b=value` on the command line laid over it. An
unknown key or a value that is not allowed is an error that names the key. `lhrnet config -c FILE a.b=value` prints the
resolved tree; MLflow and every checkpoint keep it. `jobs/configs/` holds the demo's file and COCO's, with comments.
"""


@dataclasses.dataclass(frozen=True)
class Key:
    """One setting."""

    name: str
    kind: str
    default: str
    meaning: str

    def row(self) -> tuple[str, ...]:
        """A line of the table."""
        return f"`{self.name}`", self.kind, self.default, self.meaning


def reference() -> str:
    """The whole page.

    Raises:
        ValueError: a section or a key is not explained where it is defined.
    """
    top, sections = [], []
    hints = get_type_hints(Config, include_extras=True)
    for name, field in Config.model_fields.items():
        section = _section(hints[name])
        if section is None:
            top.append(Key(name, _kind(hints[name]), _default(field), _said(field.description, name)))
        else:
            sections.append(_chapter(name, section, required=field.is_required()))
    return "\n".join([HEAD, "## The top\n", _table(top), *(line for chapter in sections for line in chapter)]) + "\n"


def _chapter(name: str, section: type, *, required: bool) -> list[str]:
    hints = get_type_hints(section, include_extras=True)
    keys = [
        Key(f"{name}.{key}", _kind(hints[key]), _default(field), _said(field.description, f"{name}.{key}"))
        for key, field in _fields(section).items()
    ]
    text = _said(section.__doc__, name) + (" Required." if required else "")
    return ["", f"## {name}\n", f"{text}\n", _table(keys)]


def _table(keys: list[Key]) -> str:
    return markdown_table([("key", "type", "default", "meaning"), *(key.row() for key in keys)])


def _section(kind: Any) -> type | None:
    """The dataclass that a field of the tree holds; None where it holds a value."""
    found = [part for part in (kind, *get_args(kind)) if isinstance(part, type) and dataclasses.is_dataclass(part)]
    return found[0] if found else None


def _fields(section: Any) -> dict[str, FieldInfo]:
    """What pydantic knows of each field, and the string below it.

    The dataclasses of `lhrnet`, which knows no pydantic, are made pydantic's here, their strings read from the source.
    """
    if is_pydantic_dataclass(section):
        return dict(section.__pydantic_fields__)
    fields: dict[str, FieldInfo] = dict(dataclass(frozen=True, kw_only=True)(section).__pydantic_fields__)
    for name, text in _explained(section).items():
        fields[name].description = text
    return fields


def _explained(section: type) -> dict[str, str]:
    """The string below each field, by its name."""
    body = ast.parse(textwrap.dedent(inspect.getsource(section))).body[0]
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for node, below in zip(body.body, body.body[1:], strict=False):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(below, ast.Expr):
            value = below.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                texts[node.target.id] = value.value
    return texts


def _said(text: str | None, name: str) -> str:
    if not text:
        raise ValueError(f"config key {name} is not explained; write a string below it where it is defined")
    return _flow(text)


def _flow(text: str) -> str:
    """A docstring as one paragraph a paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in inspect.cleandoc(text).split("\n\n"))


def _kind(hint: Any) -> str:
    parts, origin = get_args(hint), get_origin(hint)
    if origin is Annotated:
        bounds = [bound for part in parts[1:] for bound in getattr(part, "metadata", [part])]
        return ", ".join([_kind(parts[0]), *_allowed(bounds)])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin in (tuple, list):
        return "list of " + ", ".join(_kind(part) for part in parts if part is not ...)
    if origin is dict:
        return "keys and values"
    if parts:
        return " or ".join(_kind(part) for part in parts if part is not NoneType) + (
            ", or empty" if NoneType in parts else ""
        )
    names = {str: "text", bool: "true, false", int: "whole number", float: "number"}
    return names.get(hint, getattr(hint, "__name__", str(hint)))


def _allowed(bounds: list[Any]) -> list[str]:
    """The range that bounds leave, in words."""
    limits = {name: getattr(bound, name) for bound in bounds for name in BOUNDS if hasattr(bound, name)}
    if {"ge", "le"} == limits.keys():
        return [f"{limits['ge']} to {limits['le']}"]
    return [f"{BOUNDS[name]} {limit}" for name, limit in limits.items()]


def _default(field: FieldInfo) -> str:
    return "required" if field.is_required() else _shown(field.get_default(call_default_factory=True))


def _shown(value: Any) -> str:
    if value is None or value == "":
        return "empty"
    if isinstance(value, str):
        return f"`{value}`"
    return f"`{json.dumps(value, default=dataclasses.asdict)}`"
