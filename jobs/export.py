"""`lhrnet export`: a trained network as a file for devices and browsers."""

from typing import Annotated, Any

import typer


def export(
    model: Annotated[
        str, typer.Argument(help="Folder of a checkpoint or run at any storage URL, or models:/NAME@champion.")
    ],
    out: Annotated[str, typer.Option("--out", "-o", help="Where to write it; ends in .onnx.")] = "network.onnx",
    size: Annotated[
        int | None, typer.Option(help="Short side that users of the file take by default [the network's own].", min=64)
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantise to 8 bits; needs --calibrate.")] = False,
    calibrate: Annotated[
        str | None, typer.Option(help="Shards of a split, or a local folder, of images like those it will see.")
    ] = None,
    images: Annotated[int, typer.Option(help="How many of them to calibrate with.", min=1)] = 100,
    score: Annotated[
        str | None, typer.Option(help="Shards of a validation split: prints AP, and with --int8 what it costs.")
    ] = None,
    score_images: Annotated[int, typer.Option(help="Only this many of its first images; 0: all.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Write a network as ONNX: any batch and size, RGB bytes in, heatmaps and tags out, checked against torch.

    Everything that is needed to use the file stands in its metadata. Needs the `export` extra:
    pip install 'lightweight-hrnet[export]'. Tells which engine that is installed here runs it fastest, and how far each
    is from fp32; `python -m benchmarks export` measures more.

    Example: lhrnet export s3://lhrnet/runs/demo --int8 --calibrate s3://lhrnet/shards/drawn/train2017 --out small.onnx
    """
    import dataclasses
    import json

    from pipeline.evaluation.validate import validate
    from pipeline.serving import engines, quantise
    from pipeline.serving import export as exporting
    from pipeline.serving.onnx_network import OnnxNetwork, is_onnx
    from pipeline.tracking.progress import Progress

    if not is_onnx(out):
        raise ValueError(f"--out {out} must end in .onnx")
    if int8 and calibrate is None:
        raise ValueError("--int8 needs --calibrate: shards, or a folder of images, from which ranges are taken")
    if calibrate is not None and not int8:
        raise ValueError(f"--calibrate {calibrate} is for --int8: add that, or leave --calibrate out")
    exported = exporting.export(model, size=size)
    content = {"fp32": exported.content}
    if calibrate is not None:
        with Progress(images, "calibrate") as progress:
            chosen = quantise.calibration_images(calibrate, images)
            content["int8"] = quantise.quantise(exported.content, chosen, on_image=progress.advance)
    ap = {}
    for precision, file in content.items() if score else ():
        for engine in engines.engines_here():
            network = engines.engine_named(file, engine)
            validated = validate(network, score, size=network.card.size, limit=score_images) if score else None
            assert validated is not None
            ap[precision if engine == engines.ENGINES[0] else f"{precision}, {engine}"] = validated.scores.ap
    written = content["int8" if int8 else "fp32"]
    measured = engines.measure(written, exported.content)
    written = exporting.with_engine(written, measured)
    exporting.write_onnx(written, out)
    card = OnnxNetwork(written).card
    result = {
        "out": out,
        "format": "onnx",
        "precision": card.precision,
        "bytes": len(written),
        "size": card.size,
        "apart_from_torch": exported.apart,
        "engines": {name: dataclasses.asdict(one) for name, one in measured.items()},
        "fastest": card.engine,
        "ap": ap,
    }
    if as_json:
        print(json.dumps(result))
    else:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console(highlight=False, soft_wrap=True)
    size = f"{result['bytes'] / 1e6:.1f} MB, made for {result['size']} px"
    console.print(f"{escape(result['out'])}: {result['precision']}, {size}")
    console.print(f"fp32 differs from torch by at most {result['apart_from_torch']:.1g} of the largest value of a map")
    for name, one in result["engines"].items():
        fastest = ", the fastest here" if name == result["fastest"] and len(result["engines"]) > 1 else ""
        console.print(
            f"{name}: {one['milliseconds']:.0f} ms an image{fastest}; on the mean {one['apart']:.2g} of a map's "
            "standard deviation from fp32"
        )
    ap = result["ap"]
    for precision, value in ap.items():
        cost = f", {value - ap['fp32']:+.4f} to fp32" if precision != "fp32" else ""
        console.print(f"AP {precision}: {value:.4f}{cost}")
