"""`lhrnet report`: a page that shows what a model gets wrong, or compares two."""

from typing import Annotated

import typer

from jobs.arguments import OwnConfigFile, read_models


def report(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT] [OTHER] [KEY=VALUE]...",
            help="URLs of checkpoints or of runs' folders, or models:/NAME@champion (left out: the best of the "
            "config's run); settings such as evaluate.protocol=flip.",
        ),
    ] = None,
    config_file: OwnConfigFile = None,
    pictures: Annotated[int, typer.Option(min=0, help="Images of each kind: worst, best, maps.")] = 4,
    out: Annotated[
        str | None,
        typer.Option(help="Storage URL of the report (left out: in the folder of the first checkpoint's run)."),
    ] = None,
) -> None:
    """Evaluate a checkpoint and write a report: figures, errors and their cost, the worst and the best images.

    One HTML file that needs no other, with its figures and pictures as files beside it, there and in MLflow. Given two
    checkpoints the report compares them.

    Example: lhrnet report s3://lhrnet/runs/first s3://lhrnet/runs/second
    """
    from pipeline.runs import score

    config, models = read_models(config_file, arguments, max_checkpoints=2)
    result = score.report(config, models, pictures=pictures, out=out)
    typer.echo(f"report: {result.page}")
    if result.run:
        typer.echo(f"run: {result.run}")
