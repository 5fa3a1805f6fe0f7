"""`lhrnet evaluate`: a checkpoint's ten COCO figures on a validation split."""

from typing import Annotated, Any

import typer

from jobs.arguments import OwnConfigFile, read_models


def evaluate(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT] [KEY=VALUE]...",
            help="URL of a checkpoint or of a run's folder, or models:/NAME@champion (left out: the best of the "
            "config's run); settings such as "
            "evaluate.workers=4.",
        ),
    ] = None,
    config_file: OwnConfigFile = None,
    protocol: Annotated[str | None, typer.Option(help="plain, flip or multi-scale (left out: the config's).")] = None,
    out: Annotated[
        str | None,
        typer.Option(
            help="Storage URL for figures, detections, pictures (left out: in the folder of the checkpoint's run)."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the people in the validation split and score them as COCO does.

    Figures, detections and pictures go to --out and, with the figures as metrics, to the checkpoint's run in MLflow.

    Example: lhrnet evaluate s3://lhrnet/runs/first --protocol flip evaluate.workers=2
    """
    import json

    from pipeline.runs import score

    chosen = [f"evaluate.protocol={protocol}"] if protocol else []
    config, (model,) = read_models(config_file, [*(arguments or []), *chosen])
    result = score.evaluate(config, model, out=out)
    if as_json:
        print(json.dumps(result.as_dict()))
    else:
        _print(result.as_dict())


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    data, protocol, latency = result["data"], result["protocol"], result["latency"]
    table = Table(title=escape(f"{data['dataset']} {data['split']}, {data['images']} images, {protocol['name']}"))
    table.add_column("figure")
    table.add_column("", justify="right")
    for name, value in result["scores"].items():
        table.add_row(name, f"{value:.4f}")
    table.add_section()
    rows = {
        "left out": f"{data['left_out']} images of the split, which are in no shard" if data["left_out"] else "",
        "input": f"{protocol['size']} px, flip {protocol['flip']}, scales {protocol['scales']}",
        "params": f"{result['params']:,}",
        "macs": f"{result['macs']:,}",
        "network": f"{latency['network_ms']:.1f} ms an image",
        "decode": f"{latency['decode_ms']:.1f} ms an image",
        "device": escape(latency["device"]),
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    console = Console()
    console.print(table)
    for name in ("checkpoint", "out", "run"):
        if result[name]:
            console.print(f"{name}: {result[name]}", soft_wrap=True, highlight=False, markup=False)
