"""`lhrnet exchange`: which channels the branches of Lightweight HRNet trade."""

from typing import Annotated

import typer


def exchange(
    r: Annotated[int, typer.Option(help="Scale, -4 (smallest) to 0.")] = -2,
    cem: Annotated[str, typer.Option(help="Channel exchange: none, full, half or half-reordered.")] = "half-reordered",
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as one JSON list of lists.")] = False,
) -> None:
    """Show how many channels A'1..A'4 (rows) take from A1..A4 (columns): the paper's Tables III and IV.

    Table III is --cem full, Table IV --cem half-reordered, both at r = -2.

    Example: lhrnet exchange --r -2 --cem full --json
    """
    import json

    from rich.console import Console
    from rich.table import Table

    from lhrnet.network import ModelConfig
    from lhrnet.network.exchange import channels_taken

    config = ModelConfig(r=r, cem=cem)  # type: ignore[arg-type]  # checked by ModelConfig
    rows = channels_taken(config.r, config.cem)
    if as_json:
        print(json.dumps(rows))
        return
    table = Table("", title=f"r = {r}, cem {cem}")
    for n in range(len(rows)):
        table.add_column(f"A{n + 1} ({sum(row[n] for row in rows)})", justify="right")
    for n, row in enumerate(rows):
        table.add_row(f"A'{n + 1} ({sum(row)})", *map(str, row))
    Console().print(table)
