"""`lhrnet tune`: search over r, the channel exchange and whatever else is asked for."""

from typing import Annotated

import typer

from jobs.arguments import ConfigFile


def tune(
    config_file: ConfigFile,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="Settings, such as search.r=[-4,-3] search.repeats=3 search.also.optim.lr=[3.0e-3,1.0e-2].",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object at the end.")] = False,
) -> None:
    """Search by Ray Tune: many trainings, one table, and the setting to take as a file for `lhrnet train`.

    What is tried stands in the config's section `search`. The same name again goes on where that search stopped;
    trials that are over are not run again, those that failed are. A trial that fails does not end the search.

    On a cluster: ray job submit --working-dir . -- lhrnet tune -c jobs/configs/demo.yaml name=first

    Example: lhrnet tune -c jobs/configs/demo.yaml name=first search.r=[-4,-3] search.cem=[none,half-reordered]
    """
    import json

    from pipeline.config.tree import load
    from pipeline.search.tuner import search

    found = search(load(config_file, overrides or []))
    if as_json:
        print(json.dumps({**found.summary, "mlflow": found.mlflow}))
        return
    print(found.page)
    print(f"files: {found.folder} ({', '.join(found.files)})")
    if found.mlflow:
        print(f"mlflow: {found.mlflow}")
