"""`make demo`: the whole road on this machine, each step a job that is submitted to a real Ray cluster.

    python -m infra.demo --dir .local                    # draws its data set
    python -m infra.demo --dir .local --coco ~/coco      # images in COCO's layout
    python -m infra.demo --dir .local --search           # `make demo-search`: four settings against each other

Run again in the same folder it trains a new run and lets it challenge the champion; a run that was interrupted is
resumed.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from infra.demo_plan import Source, Step, coco_source, drawn_source, search_steps, steps
from infra.services import BUCKET
from infra.stack import Stack
from infra.submission import JobError, run_job

DRAWN_IMAGES = 8000


@dataclass
class Runs:
    """How many runs of each data set this folder has seen to their end."""

    file: Path
    finished: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.file.is_file():
            self.finished = json.loads(self.file.read_text())

    def next_name(self, source: str) -> str:
        """The name of the run to make, or to go on with."""
        return f"{source}-{self.finished.get(source, 0) + 1}"

    def finish(self, source: str) -> None:
        """The run came to its end: the next one gets a new name."""
        self.finished[source] = self.finished.get(source, 0) + 1
        self.file.write_text(json.dumps(self.finished))


def demo(
    source: Source, *, folder: Path, keep: bool, settings: Sequence[str], console: Console, search: bool = False
) -> None:
    """Start the stack, run every step, print a summary; the stack ends with it unless it is to be kept.

    Args:
        source: the images.
        folder: of data, logs and state.
        keep: leave the servers running.
        settings: further `a.b=value`.
        console: where to print.
        search: search over settings instead of walking the whole road.

    Raises:
        JobError: if a step fails.
    """
    began = time.monotonic()
    console.print(f"starting object store, MLflow and Ray in {folder}", soft_wrap=True, highlight=False)
    stack = Stack(folder).start(guarded=not keep)
    try:
        runs = Runs(folder / "runs.json")
        name = f"{source.name}-search" if search else source.name
        run = runs.next_name(name)
        plan = search_steps if search else steps
        results = {step.name: submit(step, stack, console) for step in plan(source, run=run, settings=tuple(settings))}
        runs.finish(name)
        os.environ.update(stack.env)
        if search:
            answer = save_files(f"s3://{BUCKET}/runs/{run}/search/answer", folder / "searches" / run)
            console.print(f"table, picture and chosen config: {answer}", soft_wrap=True, highlight=False)
        else:
            pictures = save_files(f"{results['evaluate']['out']}/pictures", folder / "pictures" / run) / "all.jpg"
            console.print(f"[bold]{run}")
            for line in summary(source, results, stack, pictures):
                console.print(line, soft_wrap=True, highlight=False, markup=False)
        console.print(f"{(time.monotonic() - began) / 60:.1f} minutes in all")
        if keep:
            end = f"python -m infra.stack stop --dir {folder}"
            console.print(f"the servers go on; end them with: {end}", soft_wrap=True, highlight=False)
    finally:
        if not keep:
            stack.stop(patience_s=3)


def submit(step: Step, stack: Stack, console: Console) -> dict[str, Any]:
    """Run a step as a job; what it printed as JSON, and under `took` the seconds it took.

    Raises:
        JobError: if it fails.
    """
    started = time.monotonic()
    console.rule(f"[bold]{step.name}[/bold]", align="left")
    console.print(
        f"ray job submit -- {' '.join(step.command)}", style="dim", soft_wrap=True, markup=False, highlight=False
    )
    result = run_job(
        step.name,
        step.command,
        env=stack.env,
        log=stack.logs / "jobs" / f"{step.name}.log",
        show=lambda line: console.print(f"  {escape(line)}", soft_wrap=True, highlight=False),
    )
    return {**result, "took": time.monotonic() - started}


def save_files(url: str, to: Path) -> Path:
    """Copy the files of a folder in storage to a local one, and return that."""
    from pipeline.storage import store

    to.mkdir(parents=True, exist_ok=True)
    for name in store.listing(url):
        store.fetch(store.join(url, name), to / Path(name).name)
    return to


def summary(source: Source, results: Mapping[str, Mapping[str, Any]], stack: Stack, pictures: Path) -> list[str]:
    """What was done, what came out, and where everything lies; a line each, so that an address can be copied whole."""
    trained, evaluated = results["train"], results["evaluate"]
    scores = evaluated["scores"]
    rows = {
        "images": f"{source.images:,} to train on, {evaluated['data']['images']:,} to score",
        "steps": f"{trained['steps']:,} ({trained['images']:,} images) in {results['train']['took']:.0f} s",
        "images a second": f"{trained['images_per_second']:.1f} on {trained['workers']} workers",
        "AP": f"{scores['ap']:.3f}",
        "AP50": f"{scores['ap50']:.3f}",
        "model": f"{evaluated['params'] / 1e6:.2f} M parameters, {evaluated['macs'] / 1e9:.2f} G multiply-adds",
        "verdict": verdict(results["promote"]),
        "images from": str(source.folder),
        "shards": f"s3://{BUCKET}/shards/{source.name}",
        "checkpoint": evaluated["checkpoint"],
        "evaluation": evaluated["out"],
        "submission": results["submit"]["file"],
        "pictures": str(pictures),
        "MLflow": stack.env["MLFLOW_TRACKING_URI"],
        "Ray": stack.env["RAY_ADDRESS"],
        "their keys": str(stack.folder / "keys.json"),
        "object store": stack.env["AWS_ENDPOINT_URL"],
        "logs": str(stack.logs),
    }
    return [f"{name:17}{value}" for name, value in rows.items()]


def verdict(promoted: Mapping[str, Any]) -> str:
    """The gate's word in one line."""
    name = f"version {promoted['version']} of {promoted['model']}"
    outcome = "is the champion" if promoted["moved"] else "does not become the champion"
    return f"{name} {outcome}: {promoted['decision']['reason']}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when every step succeeded."""
    parser = argparse.ArgumentParser(prog="python -m infra.demo", description="The whole road on this machine.")
    parser.add_argument("--dir", type=Path, default=Path(".local"), help="folder of data, logs and state")
    parser.add_argument("--coco", type=Path, help="a folder in COCO's layout instead of drawn images")
    parser.add_argument("--images", type=int, default=DRAWN_IMAGES, help="training images to draw")
    parser.add_argument("--keep", action="store_true", help="leave the servers running")
    parser.add_argument("--search", action="store_true", help="search over four settings instead of the whole road")
    parser.add_argument("settings", nargs="*", metavar="a.b=value", help="settings on top of the demo's")
    options = parser.parse_args(arguments)
    console = Console()
    folder = options.dir.resolve()
    try:
        source = coco_source(options.coco) if options.coco else drawn_source(folder / "drawn", images=options.images)
        demo(
            source,
            folder=folder,
            keep=options.keep,
            settings=options.settings,
            console=console,
            search=options.search,
        )
    except (JobError, ValueError, OSError, RuntimeError) as error:
        console.print(f"[red]error:[/red] {escape(str(error))}", soft_wrap=True, highlight=False)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the same command goes on from the last checkpoint")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
