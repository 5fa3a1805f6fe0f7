"""`lhrnet doctor`: is everything there that a job will need?"""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipeline.runs.doctor import Needs


def doctor(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]... [-- COMMAND...]",
            help="Settings; after `--` a command that is run if all is well, and whose config is the one examined.",
        ),
    ] = None,
    config_file: Annotated[str, typer.Option("--config", "-c", help="YAML file (left out: the command's).")] = "",
    storage: Annotated[str, typer.Option(help="URL to write below, where no config says one.")] = "",
    here: Annotated[bool, typer.Option("--here", help="Only from this process; ask no cluster for workers.")] = False,
    patience: Annotated[
        float, typer.Option(help="Seconds that workers may take to come; then train.min_workers are enough.")
    ] = 1200.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Try storage, MLflow, shards, disk, clock, GPUs and an all-reduce, from the driver and from the workers.

    Prints what failed and how to mend it, and exits with 1 if anything did. With a command, runs it when nothing
    failed: lhrnet doctor -- lhrnet train -c jobs/configs/coco.yaml train.workers=4

    Example: lhrnet doctor -c jobs/configs/demo.yaml
    """
    import json
    import os
    from dataclasses import asdict

    from pipeline.runs.doctor import examine, report

    overrides, command = split(arguments or [])
    needs = _needs(config_file, overrides, command, storage)
    findings = examine(needs, "driver")
    if not here and needs.workers:
        from pipeline.cluster.connect import connect_to_ray
        from pipeline.runs.doctor_workers import no_cluster, not_asked, visit

        try:
            connect_to_ray(otherwise="give --here to examine this process alone", client=True)
        except (ValueError, OSError, RuntimeError) as error:
            findings.append(no_cluster(error))
        else:
            well = all(finding.ok for finding in findings)
            findings += visit(needs, patience_s=patience) if well else [not_asked()]
    healthy = all(finding.ok for finding in findings)
    print(
        json.dumps({"ok": healthy, "findings": [asdict(finding) for finding in findings]})
        if as_json
        else report(findings),
        flush=True,
    )
    if not healthy:
        raise typer.Exit(1)
    if command:
        os.execvp(command[0], command)


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Part leading `a.b=value` settings from the command after them."""
    first = next((i for i, word in enumerate(arguments) if "=" not in word), len(arguments))
    return arguments[:first], arguments[first:]


def _needs(config_file: str, overrides: list[str], command: list[str], storage: str) -> "Needs":
    import os
    from dataclasses import replace

    from pipeline.config.tree import load
    from pipeline.runs.doctor import Needs, needs_of

    verb = command[1] if len(command) > 1 and command[0].rsplit("/", 1)[-1] == "lhrnet" else ""
    for flag in ("-c", "--config"):
        if flag in command[:-1] and not config_file:
            config_file = command[command.index(flag) + 1]
            overrides = [word for word in command[2:] if "=" in word and not word.startswith("-")]
    if config_file:
        needs = needs_of(load(config_file, overrides), verb)
        return replace(needs, storage=storage) if storage else needs
    places = [word for word in command if word.startswith("s3://")]
    return Needs(storage=storage or (places[-1] if places else ""), mlflow=os.environ.get("MLFLOW_TRACKING_URI", ""))
