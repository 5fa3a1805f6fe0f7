"""`lhrnet profile`: parameters and operations of a network."""

from typing import Annotated

import typer


def profile(
    model: Annotated[str, typer.Option(help="Network in the registry.")] = "lightweight-hrnet",
    r: Annotated[int, typer.Option(help="Scale of lightweight-hrnet, -4 (smallest) to 0.")] = -2,
    cem: Annotated[str, typer.Option(help="Channel exchange: none, full, half or half-reordered.")] = "half-reordered",
    size: Annotated[
        str | None, typer.Option(help="Input as HEIGHTxWIDTH, multiples of 32; default: the network's own.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Count the parameters and operations of a network for one image.

    "macs" are multiply-accumulates; "paper_flops" count a stride-2 transposed convolution four times over, as the
    papers of the HRNet family do.

    Example: lhrnet profile --r -2 --cem half-reordered
    """
    import json
    from dataclasses import asdict

    from rich.console import Console
    from rich.table import Table

    from lhrnet.network import ModelConfig
    from lhrnet.network import profile as count
    from lhrnet.network.catalogue import settings_of

    config = ModelConfig(name=model, r=r, cem=cem)  # type: ignore[arg-type]  # checked by ModelConfig
    counted = count(config, _size(size) if size is not None else None)
    shown = {key: getattr(config, key) for key in ("r", "cem") if key in settings_of(model)}
    if as_json:
        print(json.dumps({"model": model, **shown, **asdict(counted)}))
        return
    height, width = counted.input_size
    title = ", ".join([model, *(f"{key} = {value}" for key, value in shown.items()), f"{height}x{width}"])
    table = Table(title=title, show_footer=True)
    table.add_column("part", footer=f"{counted.convolutions} convolutions")
    table.add_column("params", footer=f"{counted.params:,}", justify="right")
    table.add_column("macs", footer=f"{counted.macs:,}", justify="right")
    table.add_column("paper_flops", footer=f"{counted.paper_flops:,}", justify="right")
    for name, part in counted.parts.items():
        table.add_row(name, f"{part.params:,}", f"{part.macs:,}", f"{part.paper_flops:,}")
    Console().print(table)


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise ValueError(f"--size {text} is not understood; write HEIGHTxWIDTH, for example 448x640")
    return int(height), int(width)
