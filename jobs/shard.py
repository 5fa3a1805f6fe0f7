"""`lhrnet shard`: a data set's files to shards."""

from typing import Annotated

import typer


def shard(
    source: Annotated[str, typer.Argument(help="COCO's files, at any storage URL, or what an import wrote.")],
    target: Annotated[str, typer.Argument(help="Root of the shards: a folder or s3://bucket/prefix.")],
    split: Annotated[
        list[str] | None, typer.Option(help="Of COCO's or the import's; again for more. Default: those there.")
    ] = None,
    per_shard: Annotated[int, typer.Option(help="At most this many images a shard.")] = 128,
    dataset: Annotated[str, typer.Option(help="Name kept in the index. Default: the source's last part.")] = "",
    category: Annotated[str, typer.Option(help="Name of the category. Default: the only one with keypoints.")] = "",
    skeleton: Annotated[
        str, typer.Option(help="Its keypoints: a built-in skeleton or a .yaml file. Default: as the annotations say.")
    ] = "",
    strict: Annotated[bool, typer.Option(help="Fail where an image is bad, instead of leaving it out.")] = False,
    ray: Annotated[
        bool | None, typer.Option("--ray/--no-ray", help="As Ray tasks. Default: where RAY_ADDRESS is set.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Shards at once; 0: one a CPU.")] = 0,
) -> None:
    """Write images and annotations as shards, each split in a folder of its own with an index.

    Data in another layout than COCO's are taken in by `lhrnet data import` first.

    The same input gives the same bytes; run again, it verifies and writes only what is missing or wrong.
    Over Ray, a source or target that is a folder must be the same on every node.

    Example: lhrnet shard ~/coco s3://lhrnet/shards/coco --split val2017
    """
    from pipeline.config.skeleton_file import skeleton_named
    from pipeline.sharding.category import Choice
    from pipeline.sharding.plan import make_plans
    from pipeline.sharding.runners import choose
    from pipeline.sharding.source import present
    from pipeline.sharding.write import ProblemsError, problem_line, write_split
    from pipeline.tracking.progress import Progress

    runner = choose(ray=ray, workers=workers)
    refused: list[str] = []
    choice = Choice(category=category, skeleton=skeleton_named(skeleton) if skeleton else None)
    names = present(source, split or ())
    for plan in make_plans(source, target, names, per_shard=per_shard, dataset=dataset, choice=choice):
        for note in plan.file.notes:
            typer.echo(f"{plan.split}: {note}", err=True)
        try:
            with Progress(plan.images, f"shard {plan.split}") as progress:
                report = write_split(plan, runner=runner, strict=strict, done=progress.advance)
        except ProblemsError as error:
            for problem in error.problems:
                typer.echo(f"  {plan.split}: {problem_line(problem)}", err=True)
            refused.append(f"{plan.split} {len(error.problems)}")
            continue
        index = report.index
        typer.echo(
            f"{plan.split}: {index.images} images, {index.annotations} people and crowds, {index.keypoints} keypoints "
            f"in {len(index.shards)} shards, {index.bytes / 1e6:.1f} MB ({report.written} written, "
            f"{len(index.shards) - report.written} were there): {report.url}"
        )
        for problem in report.problems:
            typer.echo(f"  left out: {problem_line(problem)}", err=True)
    if refused:
        raise ValueError(
            f"--strict allows no problems ({', '.join(refused)}; each on a line above): mend the source, or leave the "
            "option off to have bad images left out"
        )
