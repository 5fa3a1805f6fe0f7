"""COCO to shards: one task per shard, the same bytes at any parallelism; only missing or wrong shards are written.

The plan (which images go into which shard) depends on the annotation file alone, so that a bad image makes its shard
shorter by one and moves no other. The index is written last: a folder without one holds no finished shards. Only then
are the tars of an earlier input removed.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pipeline.data.index import INDEX, TRUTH, LeftOut, ShardIndex, index_bytes, truth_bytes
from pipeline.sharding.annotations import ImageRecord
from pipeline.sharding.plan import SplitPlan
from pipeline.sharding.task import ShardResult, ShardTask, make_shard
from pipeline.storage import store

Runner = Callable[[Sequence[ShardTask]], Iterator[tuple[int, ShardResult]]]
"""Does tasks in any order and yields (number of the task, its result) as each ends."""


@dataclass(frozen=True)
class SplitReport:
    """What sharding a split did."""

    url: str
    index: ShardIndex = field(repr=False)
    problems: tuple[LeftOut, ...]
    """Images left out and why; annotations without an image."""
    written: int
    """Shards written; the others existed already."""


class ProblemsError(ValueError):
    """A strict run found problems; all of them are in `problems`."""

    def __init__(self, split: str, problems: Sequence[LeftOut]) -> None:
        lines = "\n".join(problem_line(problem) for problem in problems[:20])
        more = f"\n... and {len(problems) - 20} more" if len(problems) > 20 else ""
        super().__init__(f"{split}: {len(problems)} problems, and --strict allows none:\n{lines}{more}")
        self.problems = tuple(problems)


def serial(tasks: Sequence[ShardTask]) -> Iterator[tuple[int, ShardResult]]:
    """One task after another, in this process."""
    for number, task in enumerate(tasks):
        yield number, make_shard(task)


def write_split(
    plan: SplitPlan, *, runner: Runner = serial, strict: bool = False, done: Callable[[int], None] = lambda images: None
) -> SplitReport:
    """Write a split's shards, then its ground truth and its index.

    Args:
        plan: from `make_plans`.
        runner: how the tasks are done.
        strict: fail where an image must be left out; the shards of the current index are then unchanged, and new ones
            removed.
        done: called with the number of images of each task that ends.

    Raises:
        ProblemsError: strict and something is wrong.
        ValueError: no image is good.
        OSError: the source or the target cannot be reached.
    """
    results: dict[int, ShardResult] = {}
    for number, result in runner([replace(task, keep_listed=strict) for task in plan.tasks]):
        results[number] = result
        done(len(plan.tasks[number].records))
    if strict and (problems := _problems(plan, results)):
        _undo(plan, results)
        raise ProblemsError(plan.split, problems)
    if pending := [number for number, result in results.items() if result.pending]:
        for place, result in runner([plan.tasks[number] for number in pending]):
            results[pending[place]] = result
    ordered, problems = [results[number] for number in range(len(plan.tasks))], _problems(plan, results)
    shards = tuple(result.shard for result in ordered if result.shard)
    if not shards:
        raise ValueError(f"{plan.split}: none of {plan.images} images is good; the first: {problem_line(problems[0])}")
    listed = {image for shard in shards for image in shard.image_ids}
    truth = truth_bytes(_truth(plan, listed))
    index = ShardIndex(
        dataset=plan.dataset,
        split=plan.split,
        annotation_sha256=plan.annotation_sha256,
        truth_sha256=hashlib.sha256(truth).hexdigest(),
        skeleton=plan.file.skeleton,
        per_shard=plan.per_shard,
        images=len(listed),
        annotations=sum(sum(shard.annotations) for shard in shards),
        keypoints=sum(sum(shard.keypoints) for shard in shards),
        bytes=sum(shard.bytes for shard in shards),
        shards=shards,
        left_out=problems,
    )
    _put(store.join(plan.url, TRUTH), truth)
    _put(store.join(plan.url, INDEX), index_bytes(index))
    _remove_stale(plan, {shard.name for shard in shards})
    return SplitReport(plan.url, index, problems, sum(result.written for result in ordered))


def _problems(plan: SplitPlan, results: dict[int, ShardResult]) -> tuple[LeftOut, ...]:
    orphans = tuple(LeftOut(image_id=i, file_name=name, reason=reason) for i, name, reason in plan.file.problems)
    return orphans + tuple(left for number in range(len(plan.tasks)) for left in results[number].left_out)


def _undo(plan: SplitPlan, results: dict[int, ShardResult]) -> None:
    """Remove what a refused run wrote, which no index lists."""
    for number, result in results.items():
        if result.written:
            store.delete(plan.tasks[number].url)


def problem_line(problem: LeftOut) -> str:
    """A problem in one line."""
    return f"image {problem.image_id}{f' ({problem.file_name})' if problem.file_name else ''}: {problem.reason}"


def _truth(plan: SplitPlan, listed: set[int]) -> dict[str, object]:
    records = [record for task in plan.tasks for record in task.records if record.image_id in listed]
    return {
        "images": [_image(record) for record in records],
        "annotations": [annotation for record in records for annotation in record.kept()],
        "categories": plan.file.categories,
    }


def _image(record: ImageRecord) -> dict[str, object]:
    tree = {"id": record.image_id, "file_name": record.file_name, "width": record.width, "height": record.height}
    return tree if record.crowd_index is None else {**tree, "crowdIndex": record.crowd_index}


def _put(url: str, data: bytes) -> None:
    try:
        same = store.size(url) == len(data) and store.read_bytes(url) == data
    except ValueError:  # its store reports it as damaged
        same = False
    if not same:
        store.write_bytes(url, data)


def _remove_stale(plan: SplitPlan, names: set[str]) -> None:
    """Remove tars of an earlier input or another shard size: a folder holds one set.

    Also removes temporary files of killed runs (`pipeline.storage.atomic`). Other files stay.
    """
    tar = rf"{plan.split}-[0-9a-f]{{8}}-\d{{5,}}\.tar"
    ours = re.compile(rf"{tar}|\.({tar}|{re.escape(INDEX)}|{re.escape(TRUTH)})\.\w+")
    for name in store.listing(plan.url):
        if ours.fullmatch(name) and name not in names:
            store.delete(store.join(plan.url, name))
