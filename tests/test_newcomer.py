"""The README's commands run as printed: a fresh clone, HOME and environment, with nothing but the system's tools.

Everything in the README's indented, shell and Python blocks is taken, in its order. What is not run as printed stands
in `INSTEAD`, with the reason; a command that is added to the README is run without anyone telling this test. The user
stays the one who runs the suite: another could not even start a Python that lies in this one's home.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SMALL_DEMO = (
    "make setup\n.venv/bin/python -m infra.demo --dir .local --keep --images 96 train.steps=12 train.pictures=0\n"
    'cp "$(ls .local/drawn/val2017/*.jpg | head -1)" photo.jpg\n'
    "mkdir -p holiday && cp photo.jpg holiday/"
)
INSTEAD = {
    # ten minutes; here with KEEP=1, whose servers the next commands use, and with photos for them
    "make demo": SMALL_DEMO,
    # ten minutes; one folder of it shows that the environment holds what the suite needs
    "make test": ".venv/bin/python -m pytest tests/lhrnet/network/test_profile.py tests/test_layout.py",
    # many minutes; one measurement shows that they run
    "make bench": ".venv/bin/python -m benchmarks --out .local/bench.json scoring",
    # would take away what the commands after it need: it is run at the end
    "make clean": ":",
}
AT_THE_END = ".venv/bin/python -m infra.stack stop\nmake clean\ntest ! -e .venv && test ! -e .local"
HANDED_ON = re.compile(r"PIP_|(https?|no)_proxy$|SSL_CERT_|REQUESTS_CA_", re.IGNORECASE)
"""How this machine reaches its package registry is the machine's, not the newcomer's."""


def commands(readme: str) -> Iterator[str]:
    """The README's commands: each line of an indented or shell block, each Python block whole."""
    fence_or_line = re.compile(r"^```(\w*)\n((?:.*\n)*?)```|^ {4}(\S.*)$", re.MULTILINE)
    for language, block, indented in fence_or_line.findall(readme):
        if language == "python":
            yield f".venv/bin/python -c {shlex.quote(block)}"
        for line in block.splitlines() if language in ("bash", "sh", "shell", "console") else [indented]:
            command = re.split(r"(?:^|\s{2,})#", line.removeprefix("$ "))[0].strip()
            if command:
                yield command


def script(found: Iterable[str]) -> str:
    """A shell script of commands, each announced, that ends at the first one that fails."""
    lines = []
    for command in found:
        lines.append(f"echo {shlex.quote('::: ' + command)}")
        # eval "$(...)" succeeds also where what is inside fails: that is run on its own first
        if inside := re.fullmatch(r'eval "\$\((.*)\)"', command):
            lines.append(f"{inside.group(1)} > /dev/null")
        lines.append(INSTEAD.get(command, command))
    return "\n".join(["set -e", *lines, "echo '::: at the end'", AT_THE_END, ""])


def test_commands_in_every_kind_of_block_are_taken() -> None:
    readme = (
        "text\n\n    make a    # first\n\n```bash\n# a comment\n$ make b\nmake c  # last\n```\n\n```text\nmake d\n```\n"
    )
    assert list(commands(readme)) == ["make a", "make b", "make c"]


def test_a_failure_within_an_eval_ends_the_script(tmp_path: Path) -> None:
    (tmp_path / "script.sh").write_text(script(['eval "$(false)"', "touch after"]))
    assert subprocess.run(["bash", "script.sh"], cwd=tmp_path, capture_output=True, check=False).returncode == 1
    assert not (tmp_path / "after").exists()


def test_the_commands_are_taken_from_the_readme() -> None:
    found = list(commands((ROOT / "README.md").read_text()))
    assert "make setup" in found
    assert any("load_predictor" in command for command in found)
    assert {command.split()[0].split("/")[-1] for command in found} <= {"make", "python", "lhrnet", "ray", "eval"}
    assert not INSTEAD.keys() - set(found), "a command that is replaced here is no longer in the README"


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_a_newcomer_can_type_the_readme(tmp_path: Path) -> None:
    for tool in ("git", "make", "bash"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    home, checkout = tmp_path / "home", tmp_path / "lightweight-hrnet"
    _pip_settings(home)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(checkout)], check=True, timeout=120)
    typed = tmp_path / "newcomer.sh"
    typed.write_text(script(commands((checkout / "README.md").read_text())))
    python = Path(sys.base_prefix) / "bin"
    env = {key: value for key, value in os.environ.items() if HANDED_ON.match(key)}
    env |= {"HOME": str(home), "PATH": f"{python}:/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    log = tmp_path / "newcomer.log"
    try:
        with log.open("w") as output:
            done = subprocess.run(
                ["bash", str(typed)], cwd=checkout, env=env, stdout=output, stderr=subprocess.STDOUT, check=False
            )
        assert done.returncode == 0, "\n".join(log.read_text().splitlines()[-40:])
    finally:
        if (checkout / ".venv" / "bin" / "python").exists():
            subprocess.run([".venv/bin/python", "-m", "infra.stack", "stop"], cwd=checkout, env=env, check=False)


def _pip_settings(home: Path) -> None:
    home.mkdir()
    for place in (".config/pip/pip.conf", ".pip/pip.conf"):
        if (Path.home() / place).is_file():
            (home / place).parent.mkdir(parents=True)
            shutil.copy(Path.home() / place, home / place)
