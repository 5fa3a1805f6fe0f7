"""The tests marked gpu, as pytest runs them, in a process of their own."""

import re
import subprocess
import sys
from pathlib import Path

from benchmarks.gpu.limit import Limit
from benchmarks.gpu.parts import Put, Setup

REPOSITORY = Path(__file__).resolve().parents[2]


def run(setup: Setup, limit: Limit, put: Put) -> None:
    """One row a test, and one for all of them. Without the suite's fixtures, which need its servers' packages."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/gpu",
        "-m",
        "gpu",
        "--noconftest",
        "-vv",
        "-p",
        "no:cacheprovider",
    ]
    try:
        ended = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=max(5.0, limit.left), check=False
        )
        output, code = ended.stdout + ended.stderr, ended.returncode
    except subprocess.TimeoutExpired as error:
        output, code = (error.stdout or b"").decode(errors="replace"), -1
    print(output, flush=True)
    for name, result in re.findall(r"^(tests/gpu/\S+) (PASSED|FAILED|ERROR|SKIPPED)", output, re.MULTILINE):
        put(test=name.removeprefix("tests/gpu/"), result=result.lower(), passed=result in ("PASSED", "SKIPPED"))
    put(test="all", result="cut" if code < 0 else output.strip().splitlines()[-1].strip("= "), passed=code == 0)
