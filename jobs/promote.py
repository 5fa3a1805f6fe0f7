"""`lhrnet promote`: ask the gate to let a checkpoint take the champion's place."""

from typing import TYPE_CHECKING, Annotated

import typer

from jobs.arguments import OwnConfigFile, read_config, split_arguments

if TYPE_CHECKING:
    from pipeline.release.promotion import PromotionResult


def promote(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL] [KEY=VALUE]...",
            help="URL of a checkpoint or of a run's folder, or with -c a version's number (left out: the best of the "
            "config's run); settings such as gate.min_gain=0.005.",
        ),
    ] = None,
    config_file: OwnConfigFile = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Score and decide; register and move nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the decision as one JSON object.")] = False,
) -> None:
    """Register a checkpoint, score it and the champion on the same shards, and move the alias if the rules are met.

    The decision is stored with the version either way. The exit code is 0 when the gate has decided, whatever it
    decided.

    Example: lhrnet promote s3://lhrnet/runs/first --dry-run
    """
    import json
    from dataclasses import asdict

    from pipeline.release import promotion

    given, overrides = split_arguments(arguments)
    config = read_config(config_file, overrides, [url for url in given if not url.isdecimal()])
    outcome = promotion.promote(config, given[0] if given else None, dry_run=dry_run)
    if as_json:
        moved = asdict(outcome.move) if outcome.move else None
        about = {"model": config.gate.model, "version": outcome.version, "moved": moved, "run": outcome.page}
        print(json.dumps(about | {"decision": outcome.decision.as_dict()}))
    else:
        _print(outcome, config.gate.model, dry_run)


def _print(outcome: "PromotionResult", model: str, dry_run: bool) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    decision = outcome.decision
    table = Table(title=f"{model}, version {outcome.version}")
    for column in ("rule", "", "says"):
        table.add_column(column)
    for rule in decision.rules:
        table.add_row(rule.name, "[green]yes[/green]" if rule.passed else "[red]no[/red]", escape(rule.says))
    console = Console(highlight=False)
    console.print(table)
    champion = decision.champion
    if outcome.move:
        before = f", version {outcome.move.old} was" if outcome.move.old else ""
        line = f"version {outcome.version} is the champion of {model}{before}"
    elif dry_run:
        line = f"would be {'accepted' if decision.accepted else 'refused'}; nothing was registered or moved"
    else:
        line = (
            f"refused; version {champion.version} stays the champion" if champion else "refused; there is no champion"
        )
    console.print(line, soft_wrap=True, markup=False)
    if outcome.page:
        console.print(f"run: {outcome.page}", soft_wrap=True, markup=False)
