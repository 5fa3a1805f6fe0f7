"""`lhrnet rollback`: the champion's predecessor becomes the champion again."""

from typing import Annotated

import typer


def rollback(
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings.")] = None,
    config: Annotated[str, typer.Option("--config", "-c", help="YAML file.")] = "jobs/configs/demo.yaml",
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Put the alias `champion` back on the version that had it before, with an entry in the audit trail.

    That version's files are held against their manifest first.

    Example: lhrnet rollback -c jobs/configs/demo.yaml --reason "misses people in profile"
    """
    from pipeline.config.tree import load
    from pipeline.release.promotion import rollback as roll_back

    settings = load(config, overrides or [])
    move = roll_back(settings, reason)
    typer.echo(f"version {move.new} is the champion of {settings.gate.model} again, version {move.old} was")
