"""`lhrnet config`: the resolved settings."""

from typing import Annotated

import typer


def config(
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as optim.lr=1e-3.")
    ] = None,
    config: Annotated[str, typer.Option("--config", "-c", help="YAML file.")] = "jobs/configs/demo.yaml",
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
    from pipeline.config.tree import load

    if reference:
        print(explained(), end="")
        return
    tree = load(config, overrides or [])
    print(json.dumps(tree.tree(), indent=1) if as_json else tree.yaml(), end="\n" if as_json else "")
