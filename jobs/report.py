"""`lhrnet report`: a page that shows what a model gets wrong, or compares two."""

from typing import Annotated

import typer


def report(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT] [OTHER] [KEY=VALUE]...",
            help="URLs of checkpoints or of runs' folders (left out: the best of the config's run); settings such as "
            "evaluate.protocol=flip.",
        ),
    ] = None,
    config: Annotated[str, typer.Option("--config", "-c", help="YAML file.")] = "jobs/configs/demo.yaml",
    pictures: Annotated[int, typer.Option(min=0, help="Images of each kind: worst, best, maps.")] = 4,
    out: Annotated[
        str | None,
        typer.Option(help="Storage URL of the report (left out: in the folder of the first checkpoint's run)."),
    ] = None,
) -> None:
    """Evaluate a checkpoint and write a report: figures, errors and their cost, the worst and the best images.

    One HTML file that needs no other, with its figures and pictures as files beside it, there and in MLflow. Given two
    checkpoints the report compares them.

    Example: lhrnet report -c jobs/configs/demo.yaml s3://lhrnet/runs/first s3://lhrnet/runs/second
    """
    from jobs.arguments import split_arguments
    from pipeline.checkpoints import checkpoint
    from pipeline.config.tree import load
    from pipeline.runs import score

    given, overrides = split_arguments(arguments, max_checkpoints=2)
    settings = load(config, overrides)
    models = [checkpoint.load(url) for url in given or [settings.run_url]]
    result = score.report(settings, models, pictures=pictures, out=out)
    typer.echo(f"report: {result.page}")
    if result.run:
        typer.echo(f"run: {result.run}")
