"""Which images go into which shard: a plan made of the annotation file alone."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.data.index import INDEX, Shard, read_index
from pipeline.sharding import annotations
from pipeline.sharding.annotations import AnnotationFile, ImageRecord
from pipeline.sharding.category import Choice
from pipeline.sharding.source import SplitFiles, check_apart, locate
from pipeline.sharding.task import ShardTask
from pipeline.storage import store
from pipeline.storage.archive import Member

MIN_SHARDS = 16
"""A small split gets shards of a sixteenth of its images, rounded up, so that there are enough for many readers."""


@dataclass(frozen=True)
class SplitPlan:
    """One split's tasks."""

    url: str
    """Of the split's folder of shards."""
    dataset: str
    split: str
    per_shard: int
    annotation_sha256: str
    file: AnnotationFile = field(repr=False)
    tasks: tuple[ShardTask, ...] = field(repr=False)

    @property
    def images(self) -> int:
        """Images in the plan."""
        return sum(len(task.records) for task in self.tasks)


def make_plans(
    source: str,
    target: str,
    names: Sequence[str],
    *,
    per_shard: int = 128,
    dataset: str = "",
    choice: Choice = Choice(),  # noqa: B008 - a frozen value
) -> list[SplitPlan]:
    """Read the annotations and decide which images go into which shard.

    Args:
        source: where the files are, in COCO's layout or imported.
        target: root under which each split gets its folder.
        names: splits; duplicates are ignored.
        per_shard: maximum images per shard; a split that would have fewer than 16 shards gets shards of a sixteenth of
            its images, rounded up: at most 16 of them.
        dataset: name kept in the index; the source's last part if empty.
        choice: which category is taken, and its keypoints.

    Raises:
        ValueError: an annotation file is not COCO's, a setting is wrong, or the shards would be written among the
            source's own images.
        OSError: the index of another split at the target cannot be read.
        FileNotFoundError: annotations or images are missing.
    """
    if per_shard < 1:
        raise ValueError(f"per_shard is {per_shard}; allowed: 1 or more (128 to 256 is good)")
    chosen = list(dict.fromkeys(names))
    for split in chosen:
        check_apart(source, store.join(target, split))
    taken = _taken_elsewhere(target, names)
    plans = []
    for split in chosen:
        files, url = locate(source, split), store.join(target, split)
        plans.append(_plan(files, url, per_shard, taken, dataset or _last_part(source), choice))
        taken |= {record.image_id: split for task in plans[-1].tasks for record in task.records}
    return plans


def _last_part(source: str) -> str:
    if "://" not in source:  # resolves "." and "x/..", and keeps the name of a link
        source = os.path.abspath(store.local_path(source))
    return store.last_name(source)


def _taken_elsewhere(target: str, names: Sequence[str]) -> dict[int, str]:
    """Image ids, with their split, of splits that the target already holds and that are not written now."""
    found = [path.split("/") for path in store.listing(target) if path.count("/") == 1]
    ours = {split for split, name in found if name.startswith(f"{split}-") and name.endswith(".tar")}
    there = sorted(split for split, name in found if name == INDEX and split in ours and split not in names)
    return {image: split for split in there for image in read_index(store.join(target, split)).image_ids}


def _plan(
    files: SplitFiles, url: str, per_shard: int, taken: dict[int, str], dataset: str, choice: Choice
) -> SplitPlan:
    data = files.annotations.read()
    file = annotations.parse(data, files.annotations.name, labelled=files.labelled, choice=choice)
    digest = hashlib.sha256(data).hexdigest()
    per_shard = max(1, min(per_shard, -(-len(file.records) // MIN_SHARDS)))
    made_of = f"{dataset} {per_shard} {digest}"
    if choice != Choice():  # the same file gives other shards
        made_of += f" {choice.category} {file.skeleton.category} {file.skeleton.keypoints}"
    stem = f"{files.split}-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}"
    listed = _listed(url)
    found = {record.image_id: files.images.get(record.file_name) for record in file.records}
    refused = {r.image_id: f"it is also in {taken[r.image_id]}" for r in file.records if r.image_id in taken}
    refused |= _shared(file.records, found)
    tasks = []
    for number, start in enumerate(range(0, len(file.records), per_shard)):
        records = file.records[start : start + per_shard]
        name = f"{stem}-{number:05d}.tar"
        task = ShardTask(
            store.join(url, name),
            records,
            tuple(found[record.image_id] for record in records),
            tuple((r.image_id, refused[r.image_id]) for r in records if r.image_id in refused),
            listed.get(name),
            missing=tuple((r.image_id, files.looked_for(r.file_name)) for r in records if found[r.image_id] is None),
            keypoints=file.skeleton.count,
        )
        tasks.append(task)
    return SplitPlan(url, dataset, files.split, per_shard, digest, file, tuple(tasks))


def _shared(records: Sequence[ImageRecord], found: Mapping[int, Member | None]) -> dict[int, str]:
    """Images whose names differ and yet mean one file, as where folders were flattened: which it shows is unknown."""
    names: dict[Member, list[str]] = {}
    for record in records:
        member = found[record.image_id]
        if member and record.file_name not in (known := names.setdefault(member, [])):
            known.append(record.file_name)
    return {
        record.image_id: f"its file {member.name} is also that of {_other(names[member], record.file_name)!r}"
        for record in records
        if (member := found[record.image_id]) and len(names[member]) > 1
    }


def _other(names: Sequence[str], name: str) -> str:
    return next(other for other in names if other != name)


def _listed(url: str) -> dict[str, Shard]:
    """The shards of an earlier run's index, by name; none where it cannot be read, and then all are made again."""
    try:
        return {shard.name: shard for shard in read_index(url).shards}
    except (FileNotFoundError, ValueError):
        return {}
