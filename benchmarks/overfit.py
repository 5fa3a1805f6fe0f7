"""Whether the chain from JPEG to OKS is right on real images: learns a few of them by heart, scores on the same ones.

    python benchmarks/overfit.py path/to/coco
    python benchmarks/overfit.py path/to/coco --threads 2 train.steps=600

Trains on the annotated images of the folder's train2017 and prints their AP, which only a right chain brings far up.
The images are padded to squares, so that training and evaluation see the same pixels: what is known by heart is known
from one view. The settings are those of jobs/configs/demo.yaml but for what `SETTINGS` says, with overrides from the
command line. One process.
"""

import argparse
import json
import tempfile
from pathlib import Path

DEMO = Path(__file__).resolve().parent.parent / "jobs/configs/demo.yaml"
SPLIT = "train2017"
SETTINGS = (
    "name=overfit",
    "model.input_size=256",
    "augment.scale_min=1",
    "augment.scale_max=1",
    "augment.rotation=0",
    "augment.translation=0",
    "augment.flip=0",
    "loss.tag_weight=0.01",
    "optim.lr=3.0e-3",
    "optim.ema_decay=0.99",
    "stream.lanes=4",
    "train.workers=1",
    "train.global_batch=4",
    "train.micro_batch=4",
    "train.steps=1600",
    "train.precision=fp32",
    "train.validate_every=0",
    "train.checkpoint_every=500",
)


def main() -> None:
    """Train and print one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("coco", type=Path, help="a folder in COCO's layout; few images, or it takes long")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("overrides", nargs="*", help="a.b=value")
    asked = parser.parse_intermixed_args()

    from pipeline.config import load
    from pipeline.sharding import make_plans, serial, write_split
    from pipeline.training import train

    with tempfile.TemporaryDirectory() as scratch:
        images, people = squares(asked.coco, Path(scratch) / "coco")
        for plan in make_plans(f"{scratch}/coco", f"{scratch}/shards", (SPLIT,)):
            write_split(plan, runner=serial)
        shards = f"{scratch}/shards/{SPLIT}"
        own = [
            f"storage={scratch}/runs",
            f"data.train={shards}",
            f"data.val={shards}",
            f"train.threads={asked.threads}",
        ]
        outcome = train(load(DEMO, [*SETTINGS, *own, *asked.overrides]))
    found = outcome.metrics
    print("| images | people | steps | seconds | AP | AP50 |\n|---|---|---|---|---|---|")
    seconds = round(outcome.training_seconds)
    print(f"| {images} | {people} | {outcome.steps} | {seconds} | {found['val/ap']:.3f} | {found['val/ap50']:.3f} |")


def squares(coco: Path, to: Path) -> tuple[int, int]:
    """Make a folder in COCO's layout of the images that have a labelled person, black below or to the right of them.

    Returns:
        How many images, and how many labelled people.
    """
    import cv2

    name = f"annotations/person_keypoints_{SPLIT}.json"
    truth = json.loads((coco / name).read_text())
    people = [a["image_id"] for a in truth["annotations"] if a["num_keypoints"] and not a["iscrowd"]]
    for part, key in (("images", "id"), ("annotations", "image_id")):
        truth[part] = [entry for entry in truth[part] if entry[key] in set(people)]
    (to / SPLIT).mkdir(parents=True)
    (to / "annotations").mkdir()
    for entry in truth["images"]:
        image = cv2.imread(str(coco / SPLIT / entry["file_name"]), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        side = max(entry["width"], entry["height"])
        below, right = side - entry["height"], side - entry["width"]
        padded = cv2.copyMakeBorder(image, 0, below, 0, right, cv2.BORDER_CONSTANT)
        cv2.imwrite(str(to / SPLIT / entry["file_name"]), padded)
        entry["width"] = entry["height"] = side
    for entry in truth["annotations"]:
        if entry["iscrowd"]:
            del entry["segmentation"]  # drawn for the old size; the box is taken instead
    (to / name).write_text(json.dumps(truth))
    return len(truth["images"]), len(people)


if __name__ == "__main__":
    main()
