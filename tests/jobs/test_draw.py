"""`lhrnet draw`: a folder once, a word when it is there already, an error when something else is."""

import re
import subprocess
import sys
from pathlib import Path


def lhrnet(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "jobs.cli", "draw", *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def test_draws_once_and_knows_its_own_work_again(tmp_path: Path) -> None:
    folder = tmp_path / "drawn"
    asked = (folder, "--train", 6, "--val", 2, "--test", 1, "--size", 64, "--workers", 1)
    first = lhrnet(*asked)
    assert first.returncode == 0, first.stderr
    assert "6 training, 2 validation and 1 test images" in first.stdout
    assert re.search(r"drawing: 9/9 images, [\d.]+/s", first.stderr)
    stamp = (folder / "annotations/person_keypoints_train2017.json").stat().st_mtime_ns
    again = lhrnet(*asked)
    assert again.returncode == 0
    assert "already holds" in again.stdout
    assert (folder / "annotations/person_keypoints_train2017.json").stat().st_mtime_ns == stamp
    other = lhrnet(*asked, "--seed", 1)
    assert other.returncode == 1
    assert "remove it, or draw into another folder" in other.stderr
    assert "Traceback" not in other.stderr


def test_impossible_sizes_are_refused_with_what_is_allowed(tmp_path: Path) -> None:
    refused = lhrnet(tmp_path / "drawn", "--size", 8)
    assert refused.returncode == 2
    assert "greater than or equal to 64" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "drawn").exists()
