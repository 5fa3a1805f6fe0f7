"""`lhrnet rollback`: the champion's predecessor becomes the champion again."""

from typing import Annotated

import typer

from jobs.arguments import OwnConfigFile, read_config, split_arguments


def rollback(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT] [KEY=VALUE]...",
            help="URL of a checkpoint or of a run's folder, whose own config says which model; settings.",
        ),
    ] = None,
    config_file: OwnConfigFile = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.")] = "",
) -> None:
    """Put the alias `champion` back on the version that had it before, with an entry in the audit trail.

    That version's files are held against their manifest first.

    Example: lhrnet rollback -c jobs/configs/demo.yaml --reason "misses people in profile"
    """
    from pipeline.release.promotion import rollback as roll_back

    urls, overrides = split_arguments(arguments)
    config = read_config(config_file, overrides, urls)
    move = roll_back(config, reason)
    typer.echo(f"version {move.new} is the champion of {config.gate.model} again, version {move.old} was")
