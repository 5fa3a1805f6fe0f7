"""What `make demo` and `make demo-search` ask of the cluster: a list of steps, each a command line of `lhrnet`."""

import json
from dataclasses import dataclass
from pathlib import Path

from infra.services import BUCKET
from pipeline.training.precision import cpu_computes_bf16

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "jobs" / "configs" / "demo.yaml"
SEARCH = (
    "search.r=[-4,-3]",
    "search.cem=[none,half-reordered]",
    "search.max_concurrent=2",
    "train.workers=1",
    "train.steps=200",
)
"""Four short trainings, two at a time: as many as the cores that a demo may count on."""
SMALL_SET = 2000
"""Below this many training images a set is cut into small shards, so that every lane of the stream has some."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The images that the demo runs on."""

    folder: Path
    """In COCO's layout."""
    name: str
    """Last part of the shards' address and first part of the runs' names."""
    drawn: bool
    """Whether the demo draws it first."""
    images: int
    """Training images."""
    has_test: bool
    """Whether there is a test-dev split; without one the submission is rehearsed on the validation images."""

    @property
    def small(self) -> bool:
        """Whether shards and batches must be small too."""
        return self.images < SMALL_SET


@dataclass(frozen=True, kw_only=True)
class Step:
    """One submitted job."""

    name: str
    command: tuple[str, ...]


def drawn_source(folder: Path, *, images: int) -> Source:
    """The set that the project draws itself."""
    return Source(folder=folder, name="drawn", drawn=True, images=images, has_test=True)


def coco_source(folder: Path) -> Source:
    """Images in COCO's layout.

    Raises:
        FileNotFoundError: if the folder, or its keypoint annotations of train2017 or val2017, are not there.
    """
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise FileNotFoundError(f"COCO={folder} is no folder; give one with annotations/, train2017/ and val2017/")
    for split in ("train2017", "val2017"):
        if not (folder / "annotations" / f"person_keypoints_{split}.json").is_file():
            raise FileNotFoundError(
                f"{folder} has no annotations/person_keypoints_{split}.json; give a folder in COCO's layout"
            )
    truth = json.loads((folder / "annotations" / "person_keypoints_train2017.json").read_text())
    name = "".join(letter if letter.isalnum() else "-" for letter in folder.name.lower()).strip("-")
    test = folder / "annotations" / "image_info_test-dev2017.json"
    return Source(folder=folder, name=name, drawn=False, images=len(truth["images"]), has_test=test.is_file())


def steps(source: Source, *, run: str, settings: tuple[str, ...] = ()) -> list[Step]:
    """The road from images to a champion.

    Args:
        source: the images.
        run: the run's name; the same name again resumes it.
        settings: further `a.b=value`, which win over the demo's own.
    """
    configured = (*_configured(source, run), *settings, "--json")
    return [
        *_shards(source),
        Step(name="train", command=("lhrnet", "train", *configured)),
        Step(name="evaluate", command=("lhrnet", "evaluate", *configured)),
        Step(name="submit", command=("lhrnet", "submit", *configured, *(() if source.has_test else ("--val",)))),
        Step(name="promote", command=("lhrnet", "promote", *configured)),
    ]


def search_steps(source: Source, *, run: str, settings: tuple[str, ...] = ()) -> list[Step]:
    """From images to the answer of a search: two scales, each with the channel exchange and without.

    Args:
        source: the images.
        run: the search's name; the same name again goes on with it.
        settings: further `a.b=value`, which win over the demo's own.
    """
    return [
        *_shards(source),
        Step(name="tune", command=("lhrnet", "tune", *_configured(source, run), *SEARCH, *settings)),
    ]


def _url(source: Source) -> str:
    return f"s3://{BUCKET}/shards/{source.name}"


def _shards(source: Source) -> list[Step]:
    per_shard = ("--per-shard", "4") if source.small else ()
    command = ("lhrnet", "shard", str(source.folder), _url(source), "--dataset", source.name, *per_shard)
    draw = ("lhrnet", "draw", str(source.folder), "--train", str(source.images))
    return [*([Step(name="draw", command=draw)] if source.drawn else []), Step(name="shard", command=command)]


def _configured(source: Source, run: str) -> tuple[str, ...]:
    small = ("stream.lanes=4", "train.global_batch=8", "train.steps=600") if source.small else ()
    return (
        "-c",
        str(CONFIG),
        f"name={run}",
        f"storage=s3://{BUCKET}/runs",
        f"data.train={_url(source)}/train2017",
        f"data.val={_url(source)}/val2017",
        f"data.test={_url(source)}/{'test-dev2017' if source.has_test else 'val2017'}",
        *small,
        *(() if cpu_computes_bf16() else ("train.precision=fp32",)),
    )
