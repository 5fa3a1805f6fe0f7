"""`lhrnet submit`: the zip of people in COCO's test images, or a rehearsal of it on the validation split."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from jobs.arguments import OwnConfigFile, read_models

if TYPE_CHECKING:
    from pipeline.runs.score import SubmissionResult


def submit(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT] [KEY=VALUE]...",
            help="URL of a checkpoint or of a run's folder, or models:/NAME@champion (left out: the best of the "
            "config's run); settings such as evaluate.protocol=flip.",
        ),
    ] = None,
    config_file: OwnConfigFile = None,
    name: Annotated[str, typer.Option(help="The method's name: letters, digits, '-' and '.'.")] = "lightweight-hrnet",
    val: Annotated[bool, typer.Option("--val", help="Rehearse on the validation split, scored from the zip.")] = False,
    out: Annotated[
        str | None, typer.Option(help="Folder for the zip (left out: in the folder of the checkpoint's run).")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where the shards lack images of the split; they count as empty.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the people in the test images and write the submission, checked as COCO's server did.

    COCO's own servers take no submissions since early 2026 (github.com/cocodataset/cocoapi/issues/693): CodaLab is
    closed, and its successor Codabench has no keypoint competition. The zip is kept with the model, ready for a server.
    With --val the same zip is made of the validation split, read back and scored, which shows that the file is right.

    Example: lhrnet submit s3://lhrnet/runs/first --name lightweight-hrnet-r2
    """
    import json

    from pipeline.release.registry import Registry
    from pipeline.runs import score
    from pipeline.tracking.mlflow_run import connect

    config, (model,) = read_models(config_file, arguments)
    version = ""
    if config.tracking.enabled:
        version = Registry(connect(config.tracking), config.gate.model).version_of(model.sha256)
    split: Literal["val2017", "test-dev2017"] = "val2017" if val else "test-dev2017"
    result = score.submit(config, model, name=name, split=split, partial=partial, out=out, version=version)
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        _print(result)


def _print(result: "SubmissionResult") -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True, markup=False)
    data = result.data
    console.print(f"{data['images']} images, {result.people} people, {result.bytes / 1e6:.2f} MB: {result.file}")
    if data["left_out"]:
        console.print(f"{data['left_out']} images of {data['split']} are in no shard and left out")
    if result.scores:
        console.print("scored from the zip: " + ", ".join(f"{k} {v:.4f}" for k, v in result.scores.as_dict().items()))
    else:
        console.print(
            "kept for a server that scores test-dev: COCO's own take no submissions since early 2026, and its "
            "annotations are not public; --val rehearses the file and scores it"
        )
    if result.run:
        console.print(f"run: {result.run}")
