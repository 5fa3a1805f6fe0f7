"""Positional arguments that several verbs share: checkpoints, then settings laid over the config."""

import re

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
