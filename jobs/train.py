"""`lhrnet train`: train a network on shards."""

from typing import Annotated, Any

import typer

from jobs.arguments import ConfigFile


def train(
    config_file: ConfigFile,
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Settings, such as name=first train.steps=500.")
    ] = None,
    here: Annotated[bool, typer.Option("--here", help="In this process, without Ray: one worker.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Train by Ray Train. The same name again goes on where that run stopped.

    Asked to leave by SIGTERM it saves, stops and exits with 0.

    On a cluster: ray job submit --working-dir . -- lhrnet train -c jobs/configs/demo.yaml name=first

    Example: lhrnet train --here -c jobs/configs/demo.yaml name=try train.workers=1 train.steps=100
    """
    import json
    from dataclasses import asdict

    from pipeline.config.tree import load
    from pipeline.runs import launch

    config = load(config_file, overrides or [])
    result = asdict((launch.run_here if here else launch.run_on_ray)(config))
    if as_json:
        print(json.dumps(result))
    else:
        _print(result)


def _print(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    end = "finished" if result["finished"] else "left before its end"
    table = Table(title=f"{result['name']}: {end}", show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    rows = {
        "steps": f"{result['steps']:,}" + (f" (from {result['resumed_from']:,})" if result["resumed_from"] else ""),
        "images": f"{result['images']:,}",
        "images a second": f"{result['images_per_second']:.1f} on {result['workers']} workers",
        "seconds in all": f"{result['seconds']:.0f}",
        "skipped steps": f"{result['skipped_steps']:,}",
        "AP": f"{result['ap']:.3f}" if result["ap"] >= 0 else "not measured",
        "AP50": f"{result['ap50']:.3f}" if result["ap50"] >= 0 else "not measured",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console = Console()
    console.print(table)
    for name in ("storage", "checkpoint", "mlflow"):
        if result[name]:
            console.print(f"{name}: {result[name]}", soft_wrap=True, highlight=False, markup=False)
