"""How well the demo's recipe learns: draws scenes, trains on them once a seed, scores each network.

    python benchmarks/recipe.py --seeds 0 1 2
    python benchmarks/recipe.py --seeds 0 optim.lr=5e-3 train.steps=400

One process that computes with two threads, no cluster and no servers: about the speed of the demo's two workers. The
settings are those of jobs/configs/demo.yaml, with overrides from the command line; one row a seed.
"""

import argparse
import tempfile
import time
from pathlib import Path

from pipeline.scenes.synthetic import write_coco  # torch is imported below: the processes that draw need none of it

DEMO = Path(__file__).resolve().parent.parent / "jobs/configs/demo.yaml"
SPLITS = ("train2017", "val2017")


def main() -> None:
    """Print one row a seed and their mean."""
    asked = _arguments()
    with tempfile.TemporaryDirectory() as scratch:
        shards = draw_shards(Path(scratch), asked.train, asked.val)
        print("| seed | images | train s | images/s | AP | AP50 | AP75 | AR |\n|---|---|---|---|---|---|---|---|")
        rows = []
        for seed in asked.seeds:
            rows.append(_row([*_alone(Path(scratch), shards, seed, asked.threads), *asked.overrides]))
            print(f"| {seed} | {_cells(rows[-1])} |", flush=True)
        print(f"| mean | {_cells([sum(column) / len(rows) for column in zip(*rows, strict=True)])} |")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of weights, order and augmentation")
    parser.add_argument("--train", type=int, default=8000, help="training scenes drawn")
    parser.add_argument("--val", type=int, default=200, help="held-out scenes drawn")
    parser.add_argument("--threads", type=int, default=2, help="threads of the one process")
    parser.add_argument("overrides", nargs="*", help="a.b=value")
    return parser.parse_intermixed_args()


def draw_shards(folder: Path, train_images: int, val_images: int) -> Path:
    """Draw scenes and shard them; returns the root of the shards."""
    begun = time.perf_counter()
    drawn = write_coco(folder / "drawn", train=train_images, val=val_images)
    print(f"drew {train_images + val_images} scenes in {time.perf_counter() - begun:.0f} s", flush=True)
    from pipeline.sharding.plan import make_plans
    from pipeline.sharding.write import serial, write_split

    for plan in make_plans(str(drawn), str(folder / "shards"), SPLITS):
        write_split(plan, runner=serial)
    return folder / "shards"


def _alone(folder: Path, shards: Path, seed: int, threads: int) -> list[str]:
    """What makes the demo's settings those of one process with folders for storage."""
    return [
        f"name=seed{seed}",
        f"seed={seed}",
        f"storage={folder / 'runs'}",
        f"data.train={shards / SPLITS[0]}",
        f"data.val={shards / SPLITS[1]}",
        "train.workers=1",
        f"train.threads={threads}",
    ]


def _row(overrides: list[str]) -> list[float]:
    from pipeline.config.tree import load
    from pipeline.runs.loop import Trainer

    config = load(DEMO, overrides)
    outcome = Trainer(config).run()
    scores = [outcome.metrics[f"val/{name}"] for name in ("ap", "ap50", "ap75", "ar")]
    return [config.train.global_batch * outcome.steps, outcome.training_seconds, outcome.images_per_second, *scores]


def _cells(row: list[float]) -> str:
    return " | ".join(f"{value:.3f}" if value < 2 else f"{value:.0f}" for value in row)


if __name__ == "__main__":
    main()
