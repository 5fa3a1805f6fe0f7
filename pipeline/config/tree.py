"""One validated tree of settings: a YAML file, `a.b=value` overrides on top, and errors that name the key.

Every section is a frozen dataclass that stands beside the code it sets; this module only composes them. The resolved
tree is what is printed by `lhrnet config`, logged to the tracker and saved in every checkpoint.
"""

import dataclasses
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin, get_type_hints

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.config import JsonDict
from pydantic.dataclasses import dataclass as section

from lhrnet.losses.pose_loss import LossConfig
from lhrnet.network import ModelConfig
from lhrnet.skeleton import Skeleton
from pipeline import SECTION
from pipeline.checkpoints.stored_config import INSTEAD, RENAMED, current_key
from pipeline.config.search_space import SearchConfig
from pipeline.config.skeleton_file import skeleton_named
from pipeline.data.augment import AugmentConfig
from pipeline.data.stream import StreamConfig
from pipeline.evaluation.gate import GateConfig
from pipeline.evaluation.worker import EvaluateConfig
from pipeline.storage.address import refuse_user
from pipeline.storage.safe_yaml import read_yaml
from pipeline.tracking.config import TrackingConfig
from pipeline.training.optimiser import OptimConfig
from pipeline.training.step_plan import TrainConfig

# marks of fields: see `pipeline.config.marks`
NO_RESULT: JsonDict = {"result": False}
RECIPE: JsonDict = {"recipe": True}
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


@section(frozen=True, kw_only=True, config=SECTION)
class DataConfig:
    """Where the shards lie: one folder a split, each with its `index.json`."""

    train: str = dataclasses.field(metadata={"order": True})
    """URL of the split that is trained on, e.g. `s3://lhrnet/shards/drawn/train2017`."""
    val: str
    """URL of the split that is scored during training and by `evaluate`."""
    test: str = dataclasses.field(default="", metadata={"result": False})
    """URL of the split that `submit` predicts; empty where there is none."""


class Config(BaseModel):
    """The whole tree. Frozen; unknown keys are errors; build it with `load` or `parse`."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(description="The run's name: the same name again resumes the run.", json_schema_extra=NO_RESULT)
    seed: int = Field(
        default=0,
        ge=0,
        description="One seed for weights, data order and augmentation.",
        json_schema_extra={"order": True},
    )
    storage: str = Field(description="URL under which every run has a folder of its own.", json_schema_extra=NO_RESULT)
    data: DataConfig
    stream: StreamConfig = StreamConfig()
    augment: AugmentConfig = Field(default=AugmentConfig(), json_schema_extra=RECIPE)
    model: ModelConfig = ModelConfig()
    loss: LossConfig = Field(default=LossConfig(), json_schema_extra=RECIPE)
    optim: OptimConfig = Field(default=OptimConfig(), json_schema_extra=RECIPE)
    train: TrainConfig = Field(default=TrainConfig(), json_schema_extra=RECIPE)
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = Field(default=GateConfig(), json_schema_extra=NO_RESULT)
    search: SearchConfig = Field(default=SearchConfig(), json_schema_extra=NO_RESULT)
    tracking: TrackingConfig = Field(default=TrackingConfig(), json_schema_extra=NO_RESULT)

    @field_validator("name")
    @classmethod
    def _name(cls, name: str) -> str:
        if not NAME.fullmatch(name):
            raise ValueError(
                f"got {name!r}; allowed: 1 to 63 of a-z, 0-9, '.', '_', '-', a letter or digit at both ends"
            )
        return name

    @model_validator(mode="after")
    def _tags_at_half(self) -> Self:
        if self.loss.tags_at_half and self.model.half_channels != 2 * self.model.keypoints.count:
            raise ValueError(
                f"config key loss.tags_at_half is true, but {self.model.name} has no tag maps at half resolution by "
                f"model.tags_at_half={json.dumps(self.model.tags_at_half)}; set both to true or leave both out"
            )
        return self

    @model_validator(mode="after")
    def _no_password(self) -> Self:
        for key, value in self.flat().items():
            for address in value if isinstance(value, list) else [value]:
                if isinstance(address, str):
                    refuse_user(f"config key {key}", address, "set it in the environment")
        return self

    def tree(self) -> dict[str, Any]:
        """The resolved tree as plain values, fit for JSON and YAML; `parse(config.tree())` gives the config back."""
        return self.model_dump(mode="json")

    def yaml(self) -> str:
        """The resolved tree as YAML."""
        return yaml.safe_dump(self.tree(), sort_keys=False)

    def flat(self) -> dict[str, Any]:
        """The resolved tree as `{"a.b": value}`, lists left whole."""
        return dict(_leaves(self.tree(), ()))

    @property
    def run_url(self) -> str:
        """The run's folder: `<storage>/<name>`."""
        return f"{self.storage.rstrip('/')}/{self.name}"


def load(path: str | Path | None, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file, lay `a.b=value` overrides over it (values parsed as YAML) and validate the whole.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not YAML, an override without `=`, an unknown key, or a value that is not allowed.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        file = Path(path)
        if not file.is_file():
            raise FileNotFoundError(f"no config file at {file}; the project's own are in jobs/configs/")
        try:
            tree = read_yaml(file.read_bytes()) or {}
        except yaml.YAMLError as error:
            raise ValueError(f"{file} is not YAML: {' '.join(str(error).split())}") from error
        if not isinstance(tree, dict):
            raise ValueError(f"{file} holds a {type(tree).__name__} at its top; it must hold keys such as `name:`")
    return parse(override(tree, overrides))


def override(tree: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of the tree with every `a.b=value` laid over it."""
    result = _copy(tree)
    for item in overrides:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            raise ValueError(f"override {item!r} is not of the form a.b=value")
        *parents, last = key.strip().split(".")
        node = result
        for parent in parents:
            below = node.setdefault(parent, {})
            if not isinstance(below, dict):
                raise ValueError(f"override {item!r}: {parent} is a value ({below!r}), not a section")
            node = below
        try:
            node[last] = _value(key.strip(), text)
        except yaml.YAMLError as error:
            raise ValueError(f"override {item!r}: the value is not YAML: {' '.join(str(error).split())}") from error
    return result


def _value(key: str, text: str) -> Any:
    """A setting's value as it is typed: a text as it stands, although YAML would take 007, on or a date for others."""
    kind = _leaf_kinds().get(key)
    texts = get_args(kind) if get_origin(kind) is Literal else ()
    if kind is str or (texts and all(isinstance(allowed, str) for allowed in texts)):
        text = text.strip()
        found = read_yaml(text) if text[:1] in ("'", '"') else text
        return found if isinstance(found, str) else text
    return read_yaml(text)


def parse(tree: Mapping[str, Any]) -> Config:
    """Validate a tree of plain values.

    Raises:
        ValueError: one line a fault, each naming the key, the value and what is allowed.
    """
    try:
        return Config.model_validate(with_skeleton(tree))
    except ValidationError as error:
        raise ValueError("\n".join(_explain(dict(fault)) for fault in error.errors())) from error


def with_skeleton(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree with the skeleton in place of its name or file, where `model.skeleton` is one.

    Raises:
        ValueError, FileNotFoundError: it is neither built in nor a file that holds one.
    """
    model = tree.get("model")
    named = model.get("skeleton") if isinstance(model, Mapping) else None
    if not isinstance(named, str):
        return dict(tree)
    return {**tree, "model": {**tree["model"], "skeleton": skeleton_named(named)}}


def _explain(fault: dict[str, Any]) -> str:
    path = tuple(str(part) for part in fault["loc"])
    key = ".".join(path)
    value, kind = fault["input"], fault["type"]
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        if key in RENAMED:
            new = current_key(key)
            if new is None:
                return f"config key {key} is gone: {INSTEAD.get(key, 'leave it out')}"
            return f"config key {key} is now {new}: write that"
        known = [name.split(".") for name in sorted(known_keys())]
        beside = sorted({".".join(parts[: len(path)]) for parts in known if len(parts) >= len(path)})
        elsewhere = [".".join(parts) for parts in known if parts[-1] == path[-1]]
        near = elsewhere or difflib.get_close_matches(key, beside, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"{'.'.join(path[:-1]) or 'the top'} has no such key"
        return f"config key {key} is unknown (value {value!r}): {hint}"
    if kind in ("missing", "missing_argument"):
        return f"config key {key} is required: set it in the file or as {key}=..."
    if kind == "string_type":
        return f"config key {key}: got {value!r}, which is no text to YAML; write it in quotes"
    message = str(fault["msg"]).removeprefix("Value error, ")
    if kind == "value_error":
        if not path:  # of several sections together: the message names the keys
            return message
        first = re.match(r"\w+", message)
        if first and ".".join((*path, first.group())) in known_keys():
            return f"config key {key}.{message}"
        return f"config key {key}: {message}"
    return f"config key {key}: got {value!r}; {message[:1].lower()}{message[1:]}"


def known_keys() -> set[str]:
    """Every key of the tree in dotted form, leaves only."""
    return set(_leaf_kinds())


@cache
def _leaf_kinds() -> dict[str, Any]:
    """The type of every key."""
    kinds: dict[str, Any] = {}
    for name, field in Config.model_fields.items():
        kinds |= _kinds_below(name, field.annotation)
    return kinds


def _kinds_below(prefix: str, kind: Any) -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    if dataclasses.is_dataclass(kind) and isinstance(kind, type) and kind is not Skeleton:
        hints = get_type_hints(kind)
        for field in dataclasses.fields(kind):
            kinds |= _kinds_below(f"{prefix}.{field.name}", hints[field.name])
    elif get_origin(kind) not in (None, Literal, tuple, list, dict):
        for part in get_args(kind):
            if dataclasses.is_dataclass(part) and part is not Skeleton:
                kinds |= _kinds_below(prefix, part)
    return kinds or {prefix: kind}


def _copy(tree: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in tree.items()}


def _leaves(value: Any, path: tuple[str, ...]) -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, below in value.items() for leaf in _leaves(below, (*path, str(key)))]
    return [(".".join(path), value)]
