"""`lhrnet models`: the registered versions, and how the champion changed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.arguments import OwnConfigFile, read_config, split_arguments

if TYPE_CHECKING:
    from pipeline.release.registry import AliasMove, Version


def models(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT] [KEY=VALUE]...",
            help="URL of a checkpoint or of a run's folder, whose own config says which model; settings.",
        ),
    ] = None,
    config_file: OwnConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List versions with their aliases, figures and the gate's decision, and the champion's history.

    Example: lhrnet models -c jobs/configs/demo.yaml
    """
    import json
    from dataclasses import asdict

    from pipeline.release.registry import Registry
    from pipeline.tracking.mlflow_run import connect

    urls, overrides = split_arguments(arguments)
    config = read_config(config_file, overrides, urls)
    registry = Registry(connect(config.tracking), config.gate.model)
    versions = registry.versions()
    history = registry.history() if versions else []
    if as_json:
        tree = {"versions": [asdict(v) for v in versions], "history": [asdict(move) for move in history]}
        print(json.dumps(tree, default=str))
    else:
        _print(registry.model, versions, history)


def _print(model: str, versions: "Sequence[Version]", history: "Sequence[AliasMove]") -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not versions:
        console.print(f"{model} has no versions: `lhrnet promote` makes the first")
        return
    table = Table(title=model)
    for column in ("version", "alias", "AP", "params", "macs", "ms", "decision"):
        table.add_column(column, no_wrap=True)
    for version in versions:
        tags = version.tags
        table.add_row(
            version.number,
            ", ".join(version.aliases),
            f"{float(tags['ap']):.4f}" if "ap" in tags else "",
            f"{int(tags.get('params', 0)) / 1e6:.2f} M",
            f"{int(tags.get('macs', 0)) / 1e9:.2f} G",
            tags.get("latency_ms", ""),
            tags.get("decision", "none yet"),
        )
    console.print(table)
    for version in versions:
        tags = version.tags
        scored = f"scored {tags.get('protocol', 'not yet')} at {tags.get('size', '?')} px"
        reason = tags.get("decision_reason", "no decision yet")
        line = f"version {version.number} ({version.created:%Y-%m-%d %H:%M}, {scored}): {reason}"
        console.print(line, soft_wrap=True, markup=False)
    for move in history:
        line = f"{move.at[:19]} {move.action}: {move.old or 'none'} -> {move.new} by {move.by} {move.reason}"
        console.print(line, soft_wrap=True, markup=False)
