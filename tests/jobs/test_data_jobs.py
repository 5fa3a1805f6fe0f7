"""`lhrnet shard` and `lhrnet data`, as a person runs them."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.config.skeleton_file import skeleton_named
from pipeline.scenes.synthetic import SceneConfig, write_coco
from tests.jobs.conftest import Done
from tests.pipeline.sharding import exports


def lhrnet(*arguments: object) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    environment.pop("RAY_ADDRESS", None)
    command = [sys.executable, "-m", "jobs.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("jobs") / "coco"
    return write_coco(folder, train=20, val=6, test=4, seed=1, config=SceneConfig(size=64), workers=1)


@pytest.fixture(scope="module")
def shards(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("jobs") / "shards"
    done = lhrnet("shard", coco, root, "--workers", 1)
    assert done.returncode == 0, done.stderr
    assert "train2017: 20 images" in done.stdout
    assert "test-dev2017: 4 images" in done.stdout
    assert "shard train2017: 20/20 images" in done.stderr
    return root


def test_sharding_again_writes_nothing(coco: Path, shards: Path) -> None:
    done = lhrnet("shard", coco, shards, "--workers", 1, "--split", "val2017")
    assert done.returncode == 0
    assert "(0 written, 6 were there)" in done.stdout
    assert "train2017" not in done.stdout


def test_verify_stats_and_show_do_their_work(shards: Path, tmp_path: Path) -> None:
    done = lhrnet("data", "verify", shards)
    assert done.returncode == 0
    assert done.stdout.count("every byte is as it was written") == 3
    done = lhrnet("data", "stats", shards / "train2017", "--out", tmp_path)
    assert done.returncode == 0
    assert "20 (" in done.stdout
    assert (tmp_path / "train2017.png").is_file()
    done = lhrnet("data", "show", shards / "train2017", "--out", tmp_path / "show", "--count", 2, "--size", 64)
    assert done.returncode == 0
    assert len(list((tmp_path / "show").glob("*.png"))) == 2


def test_bad_input_is_one_line_that_says_what_to_do(coco: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    (bad / "train2017").mkdir(parents=True)
    (bad / "train2017" / "x.jpg").write_bytes(b"")
    (bad / "annotations").mkdir()
    (bad / "annotations" / "person_keypoints_train2017.json").write_text('{"images": [], "annotations": []}')
    for source, word in (
        (tmp_path / "nothing", "holds no images of COCO's"),
        (bad, "no list 'categories'"),
        ("http://127.0.0.1:9/coco", "cannot be reached"),
    ):
        done = lhrnet("shard", source, tmp_path / "out")
        assert done.returncode == 1
        assert word in done.stderr
        assert done.stderr.startswith("error:")
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()


def test_a_damaged_shard_fails_the_verification(coco: Path, tmp_path: Path) -> None:
    assert lhrnet("shard", coco, tmp_path, "--workers", 1, "--split", "val2017").returncode == 0
    victim = next((tmp_path / "val2017").glob("*.tar"))
    victim.write_bytes(victim.read_bytes()[:-512])
    done = lhrnet("data", "verify", tmp_path)
    assert done.returncode == 1
    assert victim.name in done.stderr
    assert "1 faults" in done.stdout


def test_a_strict_run_lists_the_problems_of_every_split(
    coco: Path, tmp_path: Path, run: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    own = shutil.copytree(coco, tmp_path / "coco")
    for path in (own / "train2017").iterdir():
        path.unlink()
    (own / "train2017" / "other").touch()
    lost = sorted((own / "val2017").iterdir())[0]
    lost.unlink()
    done = run("shard", str(own), str(tmp_path / "shards"), "--strict", "--workers", "1")
    assert done.code == 1
    assert done.error.count("its file is not there") == 21
    assert f"  val2017: image {int(lost.stem)}" in done.error
    assert "(train2017 20, val2017 1; each on a line above)" in done.error.splitlines()[-1]
    assert [path.parent.name for path in tmp_path.rglob("index.json")] == ["test-dev2017"]


def test_a_stray_file_is_said_to_be_the_users(shards: Path, tmp_path: Path, run: Callable[..., Done]) -> None:
    own = shutil.copytree(shards / "val2017", tmp_path / "val2017")
    (own / "notes.txt").touch()
    done = run("data", "verify", str(own))
    assert done.code == 1
    assert "notes.txt is in no index" in done.error
    assert "a file in no index is yours to remove" in done.error.splitlines()[-1]


def test_faults_of_every_split_are_listed_though_indices_are_broken(
    shards: Path, tmp_path: Path, run: Callable[..., Done]
) -> None:
    own = shutil.copytree(shards, tmp_path / "shards")
    (own / "notes").mkdir()
    (own / "notes" / "other.tar").touch()
    (own / "test-dev2017" / "notes.txt").touch()
    (own / "train2017" / "index.json").write_text("{")
    (own / "val2017" / "index.json").unlink()
    done = run("data", "verify", str(own))
    assert done.code == 1
    faults = [line for line in done.error.splitlines() if line.startswith("  ")]
    assert [fault.split(" ")[2].removeprefix(f"{own}/") for fault in faults] == [
        "test-dev2017/notes.txt",
        "train2017/index.json",
        "val2017/index.json",
    ]
    assert f"3 faults in {own}" in done.error.splitlines()[-1]


def test_pictures_are_of_one_split(shards: Path, tmp_path: Path, run: Callable[..., Done]) -> None:
    done = run("data", "show", str(shards), "--out", str(tmp_path / "show"))
    assert done.code == 1
    names = ", ".join(f"{shards}/{split}" for split in ("test-dev2017", "train2017", "val2017"))
    assert f"holds 3 splits; name one of them: {names}" in done.error
    shutil.copytree(shards / "val2017", tmp_path / "alone" / "val2017")
    words = ["--out", str(tmp_path / "show"), "--count", "1", "--size", "64"]
    assert run("data", "show", str(tmp_path / "alone"), *words).code == 0
    assert len(list((tmp_path / "show").glob("*.png"))) == 1


def test_data_are_looked_at_taken_in_and_their_skeleton_written(tmp_path: Path, run: Callable[..., Done]) -> None:
    source = str(exports.cvat(tmp_path / "export", exports.shots(["a.jpg", "b.jpg", "c.jpg"])))
    taken, written = tmp_path / "taken", tmp_path / "horse.yaml"
    looked = run("data", "import", source, str(taken), "--look", "--val", "0.4")
    assert looked.code == 0, looked.error
    assert "train: 2 images, 2 of horse with keypoints" in looked.out
    assert [path.name for path in taken.iterdir()] == ["samples.png"]
    done = run("data", "import", source, str(taken), "--val", "0.4")
    assert done.code == 0
    assert {path.name for path in taken.iterdir()} == {"samples.png", "import.json", "train.json", "val.json"}
    shown = run("data", "skeleton", str(taken), "--out", str(written), "--picture", str(tmp_path / "horse.png"))
    assert shown.code == 0
    assert "5 keypoints of horse, 4 limbs" in shown.out
    assert "flip pairs are read from left and right in the names: left_ear/right_ear" in shown.out
    assert skeleton_named(str(written)).keypoints == exports.HORSE
    assert (tmp_path / "horse.png").stat().st_size > 1000
    refused = run("data", "import", source, f"{source}/within")
    assert refused.code == 1
    assert "lies within" in refused.error
    assert len(refused.error.splitlines()) == 1
