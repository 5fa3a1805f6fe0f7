"""Whether the chain from JPEG to OKS is right on real images: learns a few of them by heart, scores on the same ones.

    python benchmarks/overfit.py path/to/coco
    python benchmarks/overfit.py path/to/coco --threads 2 train.steps=600

Trains on the annotated images of the folder's train2017 and prints their AP, which only a right chain brings far up.
The images become squares of 4/3 of their short side, so that training and evaluation see the same pixels: what is known
by heart is known from one view. The settings are those of jobs/configs/demo.yaml but for what `SETTINGS` says, with
overrides from the command line. One process.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

DEMO = Path(__file__).resolve().parent.parent / "jobs/configs/demo.yaml"
SPLIT = "train2017"
SETTINGS = (
    "name=overfit",
    "model.input_size=256",
    "augment.min_scale=1",
    "augment.max_scale=1",
    "augment.rotation=0",
    "augment.translation=0",
    "augment.flip=0",
    "loss.tag_weight=0.01",
    "optim.lr=2.0e-3",
    "optim.ema_decay=0.99",
    "stream.lanes=4",
    "train.workers=1",
    "train.global_batch=4",
    "train.micro_batch=4",
    "train.steps=1500",
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

    from pipeline.config.tree import load
    from pipeline.runs.loop import Trainer
    from pipeline.sharding.plan import make_plans
    from pipeline.sharding.write import serial, write_split

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
        outcome = Trainer(load(DEMO, [*SETTINGS, *own, *asked.overrides])).run()
    found = outcome.metrics
    print("| images | people | steps | seconds | AP | AP50 |\n|---|---|---|---|---|---|")
    seconds = round(outcome.training_seconds)
    print(f"| {images} | {people} | {outcome.steps} | {seconds} | {found['val/ap']:.3f} | {found['val/ap50']:.3f} |")


def squares(coco: Path, to: Path) -> tuple[int, int]:
    """Make a folder in COCO's layout of the images that have a labelled person, as squares about their centres.

    A square is 4/3 of the short side: black above and below, or beside; what is longer than 4:3 loses its ends, and
    keypoints there lose their labels.

    Returns:
        How many images, and how many labelled people.
    """
    import cv2
    import numpy as np

    from lhrnet.image_file import decode

    name = f"annotations/person_keypoints_{SPLIT}.json"
    truth = json.loads((coco / name).read_text())
    labelled = {a["image_id"] for a in truth["annotations"] if a["num_keypoints"] and not a["iscrowd"]}
    truth["images"] = [image for image in truth["images"] if image["id"] in labelled]
    (to / SPLIT).mkdir(parents=True)
    (to / "annotations").mkdir()
    moved = {}
    for entry in truth["images"]:
        path = coco / SPLIT / entry["file_name"]
        image = decode(path.read_bytes(), (entry["width"], entry["height"]), name=str(path))[..., ::-1]
        side = round(min(image.shape[:2]) * 4 / 3)
        x, y = ((side - length) // 2 for length in (entry["width"], entry["height"]))
        shift = np.array([[1, 0, x], [0, 1, y]], np.float64)
        cv2.imwrite(str(to / SPLIT / entry["file_name"]), cv2.warpAffine(image, shift, (side, side)))
        entry["width"] = entry["height"] = side
        moved[entry["id"]] = (x, y, side)
    truth["annotations"] = [_moved(a, *moved[a["image_id"]]) for a in truth["annotations"] if a["image_id"] in moved]
    (to / name).write_text(json.dumps(truth))
    return len(truth["images"]), sum(a["num_keypoints"] > 0 for a in truth["annotations"])


def _moved(annotation: dict[str, Any], x: int, y: int, side: int) -> dict[str, Any]:
    triplets = annotation["keypoints"]
    kept: list[float] = []
    for right, down, flag in zip(triplets[::3], triplets[1::3], triplets[2::3], strict=True):
        inside = flag and 0 <= right + x < side and 0 <= down + y < side
        kept += [right + x, down + y, flag] if inside else [0, 0, 0]
    left, top, width, height = annotation["bbox"]
    box = [max(0, left + x), max(0, top + y), 0, 0]
    box[2:] = [max(1, min(side, left + x + width) - box[0]), max(1, min(side, top + y + height) - box[1])]
    own = {key: value for key, value in annotation.items() if key != "segmentation"}  # the box stands in for it
    return own | {"keypoints": kept, "num_keypoints": sum(flag > 0 for flag in kept[2::3]), "bbox": box}


if __name__ == "__main__":
    main()
