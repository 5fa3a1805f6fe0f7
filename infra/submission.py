"""Running one verb as a submitted job, and showing what it says while it runs."""

import json
import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

CHATTER = re.compile(
    r"\d{4}-\d\d-\d\d [\d:,]+\s+(INFO|SUCC) "  # ray job submit, about itself
    r"|\[\d{4}-\d\d-\d\d [\d:,]+ [A-Z] "  # Ray, about its insides
    r"|Running entrypoint "
    r"|(?:\x1b\[\d+m)*\(raylet\).* worker processes have been started"
    r"|.*Warning: |\s+\S*warn\w*\(?$"  # Python's warnings, in two lines
    r"|🏃|🧪"  # MLflow, about addresses that the table repeats
)
ACTOR = re.compile(r"(?:\x1b\[\d+m)*\((\w+) [^)]*pid=[^)]*\)(?:\x1b\[\d+m)* ")
PROGRESS = re.compile(r".*: [\d,]+(/[\d,]+)? \w+, ")
"""What `pipeline.tracking.progress` writes; of all that Ray's actors say, only these lines are shown."""


class JobError(RuntimeError):
    """A submitted job ended with an error; the message holds the end of its log."""


def run_job(
    name: str, command: Sequence[str], *, env: Mapping[str, str], log: Path, show: Callable[[str], None]
) -> dict[str, Any]:
    """Submit a command to the cluster of `env["RAY_ADDRESS"]` and follow it to its end.

    Args:
        name: what the step is called in messages.
        command: what runs on the cluster, word by word.
        env: environment of the submitting process.
        log: file that takes every line of the job.
        show: called with each line that is worth a person's look.

    Returns:
        The JSON object that the job printed as its last line; empty when it printed none.

    Raises:
        JobError: if the job did not succeed.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    submit = [str(Path(sys.executable).parent / "ray"), "job", "submit", "--", *command]
    result: dict[str, Any] = {}
    last: deque[str] = deque(maxlen=25)
    with (
        log.open("w") as kept,
        subprocess.Popen(
            submit,
            env={**os.environ, **env, "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        assert process.stdout is not None
        for raw in process.stdout:
            kept.write(raw)
            line = raw.rstrip()
            if not line or CHATTER.match(line):
                continue
            said_by_actor, line = bool(ACTOR.match(line)), ACTOR.sub("", line, count=1)
            last.append(line)
            parsed = _object(line)
            if parsed is not None:
                result = parsed
            elif not said_by_actor or PROGRESS.match(line):
                show(line)
    if process.returncode:
        tail = "\n".join(f"  {line}" for line in last)
        raise JobError(f"{name} failed; the whole log is {log}, its end:\n{tail}")
    return result


def _object(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
