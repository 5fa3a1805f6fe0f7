"""Nothing from a file or a store moves the cursor, sets a title or colours what follows."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from jobs.terminal import PlainText

NAMED = "a\x1b]0;pwn\x07\x1b[2Jb\u202ec\x9b31m\r.jpg"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_file_shows_every_control_character_and_keeps_lines_and_tabs() -> None:
    file = io.StringIO()
    assert PlainText(file).write(f"one\ttwo\n{NAMED}\udc80 \x1b[31mred") == len(f"one\ttwo\n{NAMED}\udc80 \x1b[31mred")
    assert file.getvalue() == "one\ttwo\na\\x1b]0;pwn\\x07\\x1b[2Jb\\u202ec\\x9b31m\\x0d.jpg\\udc80 \\x1b[31mred"
    PlainText(file).writelines(["\x00", "ö語"])
    assert file.getvalue().endswith("\\x00ö語")


def test_a_terminal_gets_colours_and_lines_that_are_written_over_and_no_more() -> None:
    terminal = Terminal()
    PlainText(terminal).write("\r\x1b[1;31merror:\x1b[0m a\rb\x1b[2K\x1b]0;t\x07")
    assert terminal.getvalue() == "\r\x1b[1;31merror:\x1b[0m a\\x0db\\x1b[2K\\x1b]0;t\\x07"


@pytest.mark.parametrize("terminal", [False, True])
def test_a_verb_shows_the_control_characters_of_a_file_name(tmp_path: Path, terminal: bool) -> None:
    folder = tmp_path / NAMED
    folder.mkdir()
    command = [sys.executable, "-m", "jobs.cli", "data", "stats", str(folder)]
    if terminal:
        leader, follower = pty.openpty()
        subprocess.run(command, stdout=follower, stderr=follower, check=False, timeout=120)
        os.close(follower)
        shown = os.read(leader, 100_000)
        os.close(leader)
    else:
        done = subprocess.run(command, capture_output=True, check=False, timeout=120)
        shown = done.stdout + done.stderr
    assert b"holds no index.json" in shown.replace(b"\r\n", b" ")
    assert b"\\x1b]0;pwn" in shown
    for forbidden in (b"\x1b]", b"\x07", b"\x1b[2J", b"\xe2\x80\xae", b"\xc2\x9b"):
        assert forbidden not in shown
