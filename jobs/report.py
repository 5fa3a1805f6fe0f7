"""`lhrnet report`: a page that shows what a model gets wrong, or compares two."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint


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
    from pipeline.data.index import read_index
    from pipeline.evaluation import evaluate, outputs
    from pipeline.evaluation.report import report as reports
    from pipeline.evaluation.report.findings import gather
    from pipeline.storage import store
    from pipeline.tracking.progress import Progress

    given, overrides = split_arguments(arguments, most=2)
    settings = load(config, overrides)
    models = [checkpoint.load(url) for url in given or [settings.run_url]]
    record = outputs.RunRecord(settings.tracking, models[0].config) if settings.tracking.enabled else None
    index = read_index(settings.data.val)
    runs = []
    for model in models:
        name = f"{_name(model)}, step {model.step:,}"
        with Progress(index.images, f"evaluate {name}") as progress:
            found = evaluate.evaluate(
                model, settings.data.val, settings.evaluate, index=index, progress=progress.advance
            )
        runs.append(gather(name, found, model, pictures=pictures))
    content = reports.build(runs)
    against = f"-against-{_name(models[1])}-step-{models[1].step:08d}" if len(models) > 1 else ""
    label = outputs.label(settings.evaluate, models[0])
    folder = f"report/{index.split}-{label}-step-{models[0].step:08d}{against}"
    out = out or store.join(outputs.home(models[0], settings.run_url), folder)
    outputs.write(out, content)
    reports.remove_stale(out, content)
    typer.echo(f"report: {store.join(out, 'report.html')}")
    if record:
        record.artifacts(folder, content)
        typer.echo(f"run: {record.page}")


def _name(model: "Checkpoint") -> str:
    """Of the checkpoint's run."""
    return str(model.config.get("name", "model")).replace("/", "-")
