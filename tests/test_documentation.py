"""What the README and docs/ name is there: verbs, options, settings' files, modules, make targets, links."""

import re
from pathlib import Path
from typing import Any

import pytest
import typer

from jobs.cli import app

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "k8s" / "README.md", *(ROOT / "docs").glob("*.md")])
COMMAND: Any = typer.main.get_command(app)


def pages() -> pytest.MarkDecorator:
    return pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


@pages()
def test_every_verb_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"\blhrnet ([a-z][a-z-]*)(?: ([a-z]+)\b)?", _code(page))
    unknown = {verb for verb, _ in named} - COMMAND.commands.keys()
    assert not unknown
    below = {word for verb, word in named if verb == "data" and word}
    assert not below - COMMAND.commands["data"].commands.keys()


@pages()
def test_every_option_of_a_verb_that_is_shown_exists(page: Path) -> None:
    for verb, words in re.findall(r"\blhrnet ([a-z][a-z-]*)((?: [^\s`#|&]+)*)", _code(page)):
        command = COMMAND.commands[verb]
        commands = [command, *getattr(command, "commands", {}).values()]
        known = {option for c in commands for p in c.params for option in (*p.opts, *p.secondary_opts)}
        asked = {word.split("=")[0] for word in words.split(" -- ")[0].split() if re.match(r"--?[a-z]", word)}
        assert not asked - known - {"--help", "-h"}, f"lhrnet {verb}"


@pages()
def test_every_relative_link_resolves(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert not [target for target in targets if "://" not in target and not (page.parent / target).exists()]


@pages()
def test_every_make_target_and_file_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert not set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)) - targets
    files = re.findall(r"(?<![\w/.])((?:jobs|pipeline|tests|infra|lhrnet|benchmarks)/[\w/.-]*\w)", page.read_text())
    assert not [name for name in files if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_index_lists_every_page(page: Path) -> None:
    index = (ROOT / "docs" / "README.md").read_text()
    assert page.name == "README.md" or f"({page.name})" in index, f"give docs/{page.name} a line in docs/README.md"


def _code(page: Path) -> str:
    """What stands in backticks or in an indented or fenced block, line by line."""
    text = page.read_text()
    blocks = re.findall(r"^(?: {4}|\t)(?![-*] ).*$", text, re.MULTILINE) + re.findall(r"```\w*\n(.*?)```", text, re.S)
    return "\n".join([*blocks, *(" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text))])
