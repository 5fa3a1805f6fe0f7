"""`lhrnet config`: the resolved settings."""

from typing import Annotated

import typer

from jobs.arguments import read_config


def config(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as optim.lr=1e-3.")
    ] = None,
    config_file: Annotated[str | None, typer.Option("--config", "-c", help="YAML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of YAML.")] = False,
    reference: Annotated[
        bool, typer.Option("--reference", help="Explain every key instead, as the Markdown of docs/configuration.md.")
    ] = False,
) -> None:
    """Print every setting as a job would use it: the file, the overrides and the defaults, checked.

    Example: lhrnet config -c jobs/configs/coco.yaml train.workers=4
    """
    import json

    from pipeline.config.reference import reference as explained

    if reference:
        print(explained(), end="")
        return
    resolved = read_config(config_file, overrides or [])
    print(json.dumps(resolved.tree(), indent=1) if as_json else resolved.yaml(), end="\n" if as_json else "")
