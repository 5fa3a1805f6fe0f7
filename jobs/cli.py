"""The `lhrnet` command: gathers the verbs, and turns errors into one line that says what to do.

Every verb's module imports what is heavy inside its function, so that `lhrnet profile` never loads Ray.
"""

import sys
from collections.abc import Callable

import typer
from rich.console import Console
from rich.markup import escape

from jobs.config import config
from jobs.data import app as data_app
from jobs.doctor import doctor
from jobs.draw import draw
from jobs.evaluate import evaluate
from jobs.exchange import exchange
from jobs.export import export
from jobs.models import models
from jobs.predict import predict
from jobs.profile import profile
from jobs.promote import promote
from jobs.report import report
from jobs.rollback import rollback
from jobs.serve import serve
from jobs.shard import shard
from jobs.submit import submit
from jobs.terminal import guard
from jobs.train import train
from jobs.tune import tune

EXIT_CODES = (
    "Exit codes: 0 done; 1 not done, and the last line says why; 2 wrong usage; 130 interrupted. "
    "A verb's own help says where a code means more."
)

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def lhrnet() -> None:
    """Lightweight HRNet: train, score and ship a small bottom-up pose network.

    `lhrnet VERB --help` explains a verb and shows an example. Settings stand in a YAML file (-c) and are changed on the
    command line as a.b=value.
    """
    guard()


# The groups in the order in which a project meets them, each with its verbs in the order of use.
GROUPS: dict[str, tuple[Callable[..., None], ...]] = {
    "Data": (draw, shard),
    "Train": (config, doctor, train, tune),
    "Score": (evaluate, report, submit),
    "Release": (promote, models, rollback),
    "Use": (predict, export, serve),
    "Look into the network": (profile, exchange),
}
for group, verbs in GROUPS.items():
    for verb in verbs:
        app.command(rich_help_panel=group)(verb)
app.add_typer(data_app, name="data", rich_help_panel="Data")


def main() -> None:
    """Run one verb; see EXIT_CODES."""
    try:
        app(prog_name="lhrnet")  # in the image it is started as a module
    except (ValueError, OSError, RuntimeError) as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(1)


if __name__ == "__main__":
    main()
