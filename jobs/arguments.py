"""Arguments that several verbs share: a config file, checkpoints, settings laid over the config."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.config.tree import Config

ConfigFile = Annotated[str, typer.Option("--config", "-c", help="YAML file.")]
OwnConfigFile = Annotated[
    str | None, typer.Option("--config", "-c", help="YAML file (left out: the checkpoint's own config).")
]
_OVERRIDE = re.compile(r"[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*=.*", re.DOTALL)


def split_arguments(arguments: list[str] | None, *, max_checkpoints: int = 1) -> tuple[list[str], list[str]]:
    """Part `[CHECKPOINT]... [a.b=value]...` into checkpoints and settings.

    Raises:
        ValueError: more than `max_checkpoints` arguments are no settings.
    """
    arguments = arguments or []
    overrides = [item for item in arguments if _OVERRIDE.fullmatch(item)]
    others = [item for item in arguments if not _OVERRIDE.fullmatch(item)]
    if len(others) > max_checkpoints:
        wanted = "one checkpoint" if max_checkpoints == 1 else f"at most {max_checkpoints} checkpoints"
        raise ValueError(f"{', '.join(others)}: give {wanted}, and settings as a.b=value")
    return others, overrides


def read_config(config_file: str | None, overrides: Sequence[str], urls: Sequence[str] = ()) -> "Config":
    """The config of a file, else that of the first checkpoint, with `a.b=value` laid over it.

    Args:
        config_file: a YAML file; None: not given.
        overrides: `a.b=value` each.
        urls: checkpoints that were given.

    Raises:
        typer.BadParameter: neither a file nor a checkpoint was given.
        FileNotFoundError, ValueError: as `load` of a config or of a checkpoint.
    """
    from pipeline.checkpoints import checkpoint
    from pipeline.checkpoints.trained_network import is_registered, load_checkpoint
    from pipeline.config.tree import load, override, parse

    if config_file is not None:
        return load(config_file, overrides)
    if not urls:
        raise typer.BadParameter("give -c FILE, or a checkpoint, whose own config is taken", param_hint="--config")
    stored = load_checkpoint(urls[0]).config if is_registered(urls[0]) else checkpoint.read_config(urls[0])
    try:
        return parse(override(stored, overrides))
    except ValueError as error:
        raise ValueError(f"the config of checkpoint {urls[0]}, taken as no -c was given: {error}") from error


def read_models(
    config_file: str | None, arguments: list[str] | None, *, max_checkpoints: int = 1
) -> "tuple[Config, list[Checkpoint]]":
    """The config, and the checkpoints that were given, or else the best one of the config's run.

    Raises:
        typer.BadParameter, FileNotFoundError, ValueError: as `split_arguments` and `read_config`.
    """
    from pipeline.checkpoints.trained_network import load_checkpoint

    urls, overrides = split_arguments(arguments, max_checkpoints=max_checkpoints)
    config = read_config(config_file, overrides, urls)
    return config, [load_checkpoint(url) for url in urls or [config.run_url]]
