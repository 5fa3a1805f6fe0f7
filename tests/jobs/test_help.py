"""Every verb's help is whole: a group, a purpose, an example that is right, and a word on every parameter."""

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from jobs.cli import EXIT_CODES, GROUPS, app

ROOT_COMMAND: Any = typer.main.get_command(app)


def verbs(command: Any = ROOT_COMMAND, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every verb by what is typed, e.g. `data verify`."""
    for name, below in command.commands.items():
        if hasattr(below, "commands"):
            yield from verbs(below, (*path, name))
        else:
            yield " ".join((*path, name)), below


VERBS = dict(verbs())


def example(name: str) -> str:
    lines = [" ".join(part.split()) for part in (VERBS[name].help or "").split("\n\n")]
    found = [line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")]
    assert found, f"the docstring of `lhrnet {name}` has no paragraph `Example: lhrnet {name} ...`"
    return found[0]


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_shows_an_example_that_is_right_usage(name: str) -> None:
    words = shlex.split(example(name))
    typed = ["lhrnet", *name.split()]
    assert words[: len(typed)] == typed
    # parses and checks the words, and does not run the verb
    VERBS[name].make_context(name, words[len(typed) :])


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_says_what_it_does_and_what_each_parameter_is(name: str) -> None:
    purpose = (VERBS[name].help or "").split("\n\n")[0]
    assert purpose.rstrip().endswith("."), f"`lhrnet {name}` needs a docstring whose first paragraph is a sentence"
    silent = [p.name for p in VERBS[name].params if not p.help or not p.help.rstrip().endswith(".")]
    assert not silent, f"`lhrnet {name}`: give {', '.join(silent)} a help text that ends with a full stop"


@pytest.mark.parametrize("name", ROOT_COMMAND.commands)
def test_a_verb_stands_in_a_group(name: str) -> None:
    assert ROOT_COMMAND.commands[name].rich_help_panel in GROUPS, f"put `{name}` into GROUPS in jobs/cli.py"


@pytest.mark.parametrize("name", VERBS)
def test_what_is_printed_holds_the_whole_example(name: str) -> None:
    shown = CliRunner().invoke(app, [*name.split(), "--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert shown.exit_code == 0
    assert f"Example: {example(name)}" in " ".join(shown.stdout.split())


def test_the_first_page_lists_every_group_verb_and_exit_code() -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "300", "TERM": "dumb"})
    assert shown.exit_code == 0
    for word in (*GROUPS, *ROOT_COMMAND.commands):
        assert word in shown.stdout
    assert EXIT_CODES in " ".join(shown.stdout.split())
