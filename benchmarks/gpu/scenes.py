"""Draws scenes and shards them beside the other parts: large ones as COCO's images are, small ones to learn from."""

import argparse
import os
import shutil
import time
from pathlib import Path

SPLITS = ("train2017", "val2017")


def main() -> None:
    """Draw what is not there yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--small", action="store_true")
    asked = parser.parse_args()
    os.nice(5)
    workers = max(1, len(os.sched_getaffinity(0)) - 4)
    for name, size, train, val in sets(asked.small):
        if not ready(asked.data, name):
            draw(asked.data / name, size, train, val, workers)


def sets(small: bool) -> tuple[tuple[str, int, int, int], ...]:
    """Name, long side in pixels, training and validation images."""
    return (
        (("large", 96, 48, 8), ("learn", 96, 64, 8))
        if small
        else (("large", 640, 3072, 64), ("learn", 256, 30000, 400))
    )


def ready(data: Path, name: str) -> bool:
    """Whether a set is there."""
    return (data / name / "ready").is_file()


def wait_for(data: Path, name: str, seconds: float) -> Path:
    """The folder of a set's shards, once they are there.

    Raises:
        TimeoutError: they are not, after so many seconds.
    """
    until = time.monotonic() + seconds
    while not ready(data, name):
        if time.monotonic() > until:
            raise TimeoutError(f"the scenes {name} were not drawn within {seconds:.0f} s; see gpu.log")
        time.sleep(0.2)
    return data / name / "shards"


def draw(folder: Path, size: int, train: int, val: int, workers: int) -> None:
    """Draw a set and shard it."""
    from pipeline.scenes.synthetic import SceneConfig, write_coco

    begun = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    drawn = write_coco(folder / "coco", train=train, val=val, config=SceneConfig(size=size), workers=workers)
    print(f"{folder.name}: drew {train + val} scenes in {time.perf_counter() - begun:.1f} s", flush=True)
    begun = time.perf_counter()
    from pipeline.sharding.plan import make_plans
    from pipeline.sharding.runners import choose
    from pipeline.sharding.write import write_split

    for plan in make_plans(str(drawn), str(folder / "shards"), SPLITS, per_shard=64):
        write_split(plan, runner=choose(ray=False, workers=workers))
    shutil.rmtree(drawn)
    (folder / "ready").touch()
    print(f"{folder.name}: sharded in {time.perf_counter() - begun:.1f} s", flush=True)


if __name__ == "__main__":
    main()
