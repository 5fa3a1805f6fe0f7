"""`lhrnet export`: a trained network as a file for devices and browsers."""

from typing import Annotated, Literal

import typer


def export(
    model: Annotated[
        str, typer.Argument(help="Folder of a checkpoint or run at any storage URL, or models:/NAME@champion.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Where to write it; ends in .onnx.")] = "network.onnx",
    format: Annotated[Literal["onnx"], typer.Option("--format", help="Only onnx so far.")] = "onnx",
    size: Annotated[
        int | None, typer.Option(help="Short side that users of the file take by default [the network's own].", min=64)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a network as ONNX: any batch and size, RGB bytes in, heatmaps and tags out, checked against torch.

    Everything that is needed to use the file stands in its metadata. Needs the `export` extra:
    pip install 'lightweight-hrnet[export]'.

    Example: lhrnet export s3://lhrnet/runs/demo --out network.onnx
    """
    import json

    from rich.console import Console

    from pipeline import export as exporting
    from pipeline.onnx_session import is_onnx

    if not is_onnx(out):
        raise ValueError(f"--out {out} must end in .onnx")
    exported = exporting.export(model, size=size)
    exporting.write(exported.content, out)
    card = exported.card
    result = {
        "out": out,
        "format": format,
        "precision": card.precision,
        "bytes": len(exported.content),
        "size": card.size,
        "apart_from_torch": exported.apart,
    }
    if as_json:
        print(json.dumps(result))
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{out}: {card.precision}, {len(exported.content) / 1e6:.1f} MB, made for {card.size} px; "
        f"apart from torch by {exported.apart:.1g} of the largest value"
    )
