"""The `lhrnet` command: gathers the verbs, and turns errors into one line that says what to do.

Every verb's module imports what is heavy inside its function, so that `lhrnet profile` never loads Ray.
"""

import sys

import typer
from rich.console import Console
from rich.markup import escape

from jobs.config import config
from jobs.data import app as data_app
from jobs.doctor import doctor
from jobs.draw import draw
from jobs.evaluate import evaluate
from jobs.exchange import exchange
from jobs.models import models
from jobs.predict import predict
from jobs.profile import profile
from jobs.promote import promote
from jobs.report import report
from jobs.rollback import rollback
from jobs.shard import shard
from jobs.submit import submit
from jobs.train import train

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback()
def lhrnet() -> None:
    """Lightweight HRNet: train, score and ship a small bottom-up pose network."""


app.add_typer(data_app, name="data")
app.command()(config)
app.command()(doctor)
app.command()(draw)
app.command()(evaluate)
app.command()(exchange)
app.command()(models)
app.command()(predict)
app.command()(profile)
app.command()(promote)
app.command()(report)
app.command()(rollback)
app.command()(shard)
app.command()(submit)
app.command()(train)


def main() -> None:
    """Run one verb. Exit code 0: done; 1: it could not be done, and the line says why; 2: wrong usage."""
    try:
        app()
    except (ValueError, OSError, RuntimeError) as error:
        Console(stderr=True, soft_wrap=True, highlight=False).print(f"[red]error:[/red] {escape(str(error))}")
        sys.exit(1)


if __name__ == "__main__":
    main()
