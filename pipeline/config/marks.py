"""Keys of the config by the marks on their fields, so that a list of keys cannot differ from the keys.

Marks of a field of a section stand in its `metadata`, those of a field of the tree in its `json_schema_extra`:

    order          the order of the training images depends on it
    result         False: no trial's figures depend on it, or a search gives it to each trial
    recipe         a section that a model card lists
"""

from dataclasses import fields, is_dataclass
from typing import Literal

from pipeline.config.tree import Config

Mark = Literal["order", "result", "recipe"]


def keys_marked(mark: Mark, value: bool = True) -> tuple[str, ...]:
    """Dotted keys whose mark has a value. A marked section stands for all its keys, as its own name."""
    found = []
    for name, field in Config.model_fields.items():
        extra = field.json_schema_extra
        if isinstance(extra, dict) and extra.get(mark) == value:
            found.append(name)
        elif is_dataclass(field.annotation):
            found += [f"{name}.{part.name}" for part in fields(field.annotation) if part.metadata.get(mark) == value]
    return tuple(found)


def is_among(key: str, keys: tuple[str, ...]) -> bool:
    """Whether a dotted key is one of these, or lies in a section that is."""
    return any(key == known or key.startswith(f"{known}.") for known in keys)
