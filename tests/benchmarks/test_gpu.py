"""The command that measures a GPU works from end to end, here on the CPU and with the least of everything."""

import json
import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]

BLOCKED = """
import sys
from importlib import import_module

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ray", "mlflow", "boto3", "botocore", "webdataset", "pyarrow", "typer", "matplotlib"):
            raise ImportError(f"{name} is not to be needed")

sys.meta_path.insert(0, Blocked())
import_module("benchmarks.__main__")
for name in sys.argv[1:]:
    import_module(f"benchmarks.gpu.{name}")
from pipeline.runs import state
"""


def python(*arguments: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=timeout
    )


def test_nothing_of_the_cluster_is_imported() -> None:
    names = [path.stem for path in (REPOSITORY / "benchmarks/gpu").glob("*.py") if path.stem != "__init__"]
    assert len(names) > 10
    ended = python("-c", BLOCKED, *names)
    assert ended.returncode == 0, ended.stderr


def test_every_part_is_measured_and_written(tmp_path: Path) -> None:
    ended = python(
        "-m", "benchmarks", "gpu", "--out", str(tmp_path), "--minutes", "6", "--device", "cpu", "--small", timeout=290
    )
    log = (tmp_path / "gpu.log").read_text()
    assert ended.returncode == 0, ended.stdout + log
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert {name: part["state"] for name, part in parts.items()} == dict.fromkeys(parts, "done")
    assert len(parts) == 9
    for name, part in parts.items():
        assert part["rows"], name
        assert not [row for row in part["rows"] if "failed" in str(row.get("note"))], name
    assert all(row["passed"] is not False for row in parts["correctness"]["rows"])
    assert "| r=-4 | 64 | 2 | eager |" in (tmp_path / "gpu.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == {"gpu.json", "gpu.md", "gpu.log", "data"}


def test_a_part_that_outlives_its_time_is_cut_and_the_next_one_done(tmp_path: Path) -> None:
    hanging = """
import sys
from benchmarks.gpu import command, worker
if sys.argv[1] == "worker":
    import time
    from benchmarks.gpu import card
    worker.GRACE = worker.LEAST = 0.5
    card.run = lambda setup, limit, put: (put(what="begun"), time.sleep(600))
    sys.argv = sys.argv[1:]
    worker.main()
else:
    start = command.subprocess.Popen
    def instead(line, **more):
        if "benchmarks.gpu.worker" in line:
            line = [sys.executable, "-c", sys.argv[2], "worker", *line[3:]]
        return start(line, **more)
    command.subprocess.Popen = instead
    sys.exit(command.main(sys.argv[3:]))
"""
    arguments = ["--out", str(tmp_path), "--device", "cpu", "--small", "--parts", "card", "throughput"]
    ended = python("-c", hanging, "command", hanging, *arguments, "--minutes", "0.7")
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert parts["card"]["state"] == "cut", ended.stdout
    assert parts["card"]["rows"] == [{"what": "begun"}]
    assert parts["throughput"]["state"] == "done"
