"""What a shell sees of `lhrnet`: exit codes, one line on standard error, completion."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.cli import EXIT_CODES

LHRNET = Path(sys.executable).parent / "lhrnet"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "commands.md"


def run(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LHRNET, *words], env=os.environ | env, capture_output=True, text=True, check=False, timeout=60
    )


def test_done_is_0() -> None:
    done = run("exchange", "--json")
    assert (done.returncode, done.stderr) == (0, "")


def test_not_done_is_1_and_the_last_line_says_why() -> None:
    refused = run("config", "-c", "nowhere.yaml")
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert refused.stderr.splitlines()[-1].startswith("error: no config file at nowhere.yaml")


@pytest.mark.parametrize("words", [["nonsense"], ["train", "--nonsense"], ["shard", "only-a-source"]])
def test_wrong_usage_is_2(words: list[str]) -> None:
    refused = run(*words)
    assert refused.returncode == 2
    assert "Usage: lhrnet" in refused.stderr


def test_as_a_module_it_bears_the_same_name() -> None:
    words = [sys.executable, "-m", "jobs.cli", "--help"]
    done = subprocess.run(words, cwd=PAGE.parents[1], capture_output=True, text=True, check=True, timeout=60)
    assert "Usage: lhrnet" in done.stdout


def test_interrupted_is_130_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    words = [str(LHRNET), "draw", str(tmp_path / "drawn"), "--train", "100000", "--workers", "1"]
    with subprocess.Popen(
        words,
        stderr=subprocess.PIPE,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a suite in the background ignores it
    ) as process:
        try:
            assert process.stderr is not None
            seen = b""
            while not re.search(rb"drawing: +\d", seen):
                piece = os.read(process.stderr.fileno(), 4096)
                assert piece, seen.decode()
                seen += piece
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the command
            assert process.wait(timeout=60) == 130
        finally:
            process.kill()
    assert not list(tmp_path.iterdir())


def test_the_codes_on_the_first_page_are_those_of_the_documentation() -> None:
    codes = re.findall(r"\b\d+\b", EXIT_CODES)
    assert codes == ["0", "1", "2", "130"]
    assert re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE) == codes


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("lhrnet tr", ["train"]), ("lhrnet data ver", ["verify"]), ("lhrnet train --he", ["--here", "--help"])],
)
def test_the_shell_is_told_how_a_word_goes_on(typed: str, offered: list[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    assert run(_LHRNET_COMPLETE="complete_bash", **words).stdout.split() == offered


def test_installed_completion_works_in_bash(tmp_path: Path) -> None:
    script = run(_LHRNET_COMPLETE="source_bash").stdout
    (tmp_path / "completion.sh").write_text(script)
    typed = 'COMP_WORDS=(lhrnet tr); COMP_CWORD=1; _lhrnet_completion lhrnet; echo "${COMPREPLY[@]}"'
    command = ["bash", "--norc", "-c", f"source {tmp_path}/completion.sh; complete -p lhrnet; {typed}"]
    path = f"{LHRNET.parent}:{os.environ['PATH']}"
    told = subprocess.run(
        command, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    assert "-F _lhrnet_completion lhrnet" in told[0]
    assert told[1] == "train"


def test_completion_is_installed_for_the_shell_that_asks(tmp_path: Path) -> None:
    # the shell is found among the parents of the process, so a real one has to start it
    command = ["bash", "--norc", "-c", f"{LHRNET} --install-completion; exit $?"]
    env = os.environ | {"HOME": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "bash completion installed" in done.stdout
    assert ".bash_completions/lhrnet.sh" in (tmp_path / ".bashrc").read_text()
