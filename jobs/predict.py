"""`lhrnet predict`: people in images, folders, a video or a camera."""

from typing import Annotated, Any

import typer


def predict(
    sources: Annotated[list[str], typer.Argument(help="Images and folders; or one video; or a camera's number.")],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="Folder of a checkpoint or run at any storage URL, models:/NAME@champion, or an exported .onnx file.",
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="Folder for pictures and results, at any storage URL.")
    ] = "predictions",
    protocol: Annotated[str, typer.Option(help="plain, flip or multi-scale.")] = "plain",
    size: Annotated[int | None, typer.Option(help="Short side of the input, 32 to 4096 [the network's own].")] = None,
    batch: Annotated[int, typer.Option(help="Images at once.", min=1)] = 8,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    engine: Annotated[
        str,
        typer.Option(help="What runs an exported network: onnxruntime, openvino or openvino-bf16 (an extra)."),
    ] = "onnxruntime",
    draw: Annotated[bool, typer.Option(help="Write pictures of what was found.")] = True,
    min_score: Annotated[
        float | None,
        typer.Option(help="People below are not drawn [what the network's own evaluation found best, else 0.2]."),
    ] = None,
    max_pictures: Annotated[int | None, typer.Option(help="At most this many pictures, then stop.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the people in pictures, draw them, and write them down in COCO's results format.

    An image that cannot be read is reported, and the rest goes on; exit code 1 if none can. Ctrl-C ends a camera, and
    anything else early with exit code 130; what was found by then is written. In a folder, folders of earlier
    predictions are left out, and files that are no images are counted by their endings.

    Example: lhrnet predict photo.jpg holiday/ --model s3://lhrnet/runs/demo --out found
    """
    import json
    import os
    from concurrent.futures import ThreadPoolExecutor

    from pipeline.serving.predict_files import predict_files
    from pipeline.serving.predictor import load_predictor
    from pipeline.serving.sources import count_pictures
    from pipeline.tracking.progress import Progress

    total = min((n for n in (count_pictures(sources), max_pictures) if n is not None), default=None)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        predictor = load_predictor(
            model, protocol=protocol, size=size, device=device, engine=engine, batch=batch, pool=pool
        )
        with Progress(total, "predict", "pictures") as progress:
            found = predict_files(
                predictor,
                sources,
                out,
                min_score=min_score,
                draw=draw,
                max_pictures=max_pictures,
                on_done=progress.advance,
            )
    result = {
        "pictures": len(found.images),
        "people": len(found.detections),
        "errors": found.errors,
        "passed_over": dict(found.passed_over),
        "milliseconds": found.milliseconds(predictor.timings),
        "fps": len(found.images) / found.seconds,
        "device": predictor.device,
        "out": out,
    }
    if as_json:
        print(json.dumps(result))
    else:
        _print(result, protocol, "results.json, images.json" + (", pictures" if draw else ""))
    if found.interrupted:
        raise typer.Exit(130)


def _print(result: dict[str, Any], protocol: str, written: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from pipeline.serving.sources import told_passed_over

    title = f"{result['pictures']} pictures, {result['people']} people, {protocol}, {result['device']}"
    table = Table("part", title=title)
    for column in ("ms a picture", "pictures/s"):
        table.add_column(column, justify="right")
    for name, value in (result["milliseconds"] | {"all": 1000 / result["fps"]}).items():
        table.add_row(name, f"{value:.1f}", f"{1000 / max(value, 1e-6):,.1f}")
    console = Console(highlight=False, soft_wrap=True)
    console.print(table)
    for error in result["errors"]:
        console.print(f"[yellow]warning:[/yellow] {escape(error)}")
    if passed_over := told_passed_over(result["passed_over"]):
        console.print(f"passed over: {escape(passed_over)}")
    console.print(f"written to {escape(result['out'])}: {written}")
