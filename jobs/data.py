"""`lhrnet data`: take in data of any form, look at shards, and check them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Take in data of any form, look at shards, and check them.", no_args_is_help=True)

Url = Annotated[str, typer.Argument(help="A split's folder of shards, or the root that holds several.")]


@app.command("import")
def import_(
    source: Annotated[
        str, typer.Argument(help="The data: a folder, a zip, s3://bucket/prefix, or an annotation file.")
    ],
    target: Annotated[str, typer.Argument(help="Folder of what is written, for `lhrnet shard`: a few small files.")],
    category: Annotated[str | None, typer.Option(help="Which annotated things. Default: those with keypoints.")] = None,
    val: Annotated[float, typer.Option(help="Share of images to score on, where the data name none; 0: none.")] = 0.1,
    seed: Annotated[int, typer.Option(help="Of the choice of these images.")] = 0,
    look: Annotated[bool, typer.Option("--look", help="Only say what would be taken, and draw samples of it.")] = False,
) -> None:
    """Take in data as they come: COCO's JSON in any layout, YOLO's folders for poses, Leeds Sports Pose.

    The form is seen by looking, and every assumption is printed. Exports of CVAT, Roboflow, Label Studio, FiftyOne and
    coco-annotator are understood, CrowdPose and COCO-WholeBody too. Samples are drawn; no image is copied.

    Example: lhrnet data import horses.zip horses
    """
    from pipeline.sharding.formats.recognise import recognise
    from pipeline.sharding.imported import check_outside, write
    from pipeline.sharding.samples_sheet import png, samples_sheet

    check_outside(source, target)
    found = recognise(source, category=category, val=val, seed=seed)
    typer.echo(f"{source}: {found.form}")
    for note in found.notes:
        typer.echo(f"  {note}")
    picture = Path(target if "://" not in target else ".") / "samples.png"
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(png(samples_sheet(found)))
    typer.echo(f"samples: {picture}")
    if not look:
        write(found, target)
    for split, tree in found.splits.items():
        labelled = sum(annotation["num_keypoints"] > 0 for annotation in tree["annotations"])
        typer.echo(
            f"{split}: {len(tree['images']):,} images, {labelled:,} of {found.skeleton.category} with keypoints"
            + ("" if look else f": {target}/{split}.json")
        )


@app.command()
def skeleton(
    url: Annotated[
        str, typer.Argument(help="An annotation file, an import's folder, shards, or a built-in skeleton's name.")
    ],
    category: Annotated[str | None, typer.Option(help="Which annotated things. Default: those with keypoints.")] = None,
    out: Annotated[
        str, typer.Option(help="Also write it to this .yaml, to be edited and given to `lhrnet shard`.")
    ] = "",
    picture: Annotated[Path, typer.Option(help="Where to draw it.")] = Path("skeleton.png"),
) -> None:
    """Show which keypoints the things have, what holds among them, and what of it was assumed; draw it.

    Example: lhrnet data skeleton horses --out horse.yaml
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from pipeline.config.skeleton_file import skeleton_yaml
    from pipeline.sharding.portrait import portrait
    from pipeline.sharding.samples_sheet import png
    from pipeline.sharding.skeleton_at import skeleton_at
    from pipeline.storage import store

    seen = skeleton_at(url, category=category)
    shown = seen.skeleton
    table = Table("", "keypoint", "in a mirror", "sigma", "grouped as", "joined to", title=escape(shown.name))
    for k, name in enumerate(shown.keypoints):
        other = shown.flip[k]
        joined = sorted({a + b - k for a, b in shown.limbs if k in (a, b)})
        table.add_row(
            str(k),
            escape(name),
            escape(shown.keypoints[other]) if other != k else "",
            f"{shown.sigmas[k]:g}",
            f"{shown.order.index(k) + 1}",
            escape(", ".join(shown.keypoints[j] for j in joined)),
        )
    Console().print(table)
    typer.echo(f"{shown.count} keypoints of {shown.category}, {len(shown.limbs)} limbs")
    for note in seen.notes:
        typer.echo(f"  {note}")
    picture.parent.mkdir(parents=True, exist_ok=True)
    picture.write_bytes(png(portrait(shown, seen.pose)))
    typer.echo(f"picture: {picture}")
    if out:
        store.write_bytes(out, skeleton_yaml(shown).encode())
        typer.echo(f"to edit: {out}")


@app.command()
def verify(url: Url, workers: Annotated[int, typer.Option(help="Shards read at once.", min=1)] = 2) -> None:
    """Read every shard again and compare: bytes, sha256, members, images, annotations.

    Lists every fault, and exits with 1 if there are any.

    Example: lhrnet data verify s3://lhrnet/shards/coco
    """
    from pipeline.data.index import read_index, splits, unfinished
    from pipeline.sharding.verify import verify as verify_split
    from pipeline.tracking.progress import Progress

    faults = 0
    for split, place in splits(url).items():
        try:
            with Progress(read_index(place).images, f"verify {split}") as progress:
                verdict = verify_split(place, workers=workers, done=progress.advance)
        except (ValueError, FileNotFoundError) as error:  # of the index alone
            faults += _named(f"{split}: cannot be verified without its index", (str(error),))
            continue
        index, state = verdict.index, "every byte is as it was written"
        if verdict.faults:
            state = f"{len(verdict.faults)} faults"
        faults += _named(f"{split}: {index.images} images in {len(index.shards)} shards: {state}", verdict.faults)
    for place in unfinished(url):
        faults += _named(f"{place.rsplit('/', 1)[-1]}: has shards and no index", (f"{place}/index.json is missing",))
    if faults:
        raise ValueError(
            f"{faults} faults in {url}; `lhrnet shard` from the same source mends what it wrote, and a file in no "
            "index is yours to remove"
        )


def _named(state: str, faults: Sequence[str]) -> int:
    """Print a split's state and faults, before another split may end the command; how many they are."""
    typer.echo(state)
    for fault in faults:
        typer.echo(f"  {fault}", err=True)
    return len(faults)


@app.command()
def stats(
    url: Url,
    out: Annotated[Path, typer.Option(help="Folder of the plots, one a split.")] = Path("stats"),
) -> None:
    """Count people, keypoints, sizes and crowds: a table, and a plot for each split.

    Example: lhrnet data stats s3://lhrnet/shards/coco --out /tmp/stats
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from pipeline.data.index import splits
    from pipeline.sharding.stats import plot, statistics

    for split, place in splits(url).items():
        counted = statistics(place)
        table = Table(show_header=False, title=escape(split))
        for row in counted.rows():
            table.add_row(*map(escape, row))
        Console().print(table)
        plot(counted, out / f"{split}.png")
        typer.echo(f"plot: {out / f'{split}.png'}")


@app.command()
def show(
    url: Annotated[str, typer.Argument(help="A split's folder of shards, or the root that holds one.")],
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    count: Annotated[int, typer.Option(help="Pictures.")] = 8,
    size: Annotated[int, typer.Option(help="Side of the network's input.")] = 448,
    seed: Annotated[int, typer.Option(help="Of the augmentation.")] = 0,
    every: Annotated[bool, typer.Option("--all", help="Also images without labelled people.")] = False,
) -> None:
    """Draw images as training sees them: augmented, with skeletons, heatmaps, and what is ignored in red.

    Example: lhrnet data show s3://lhrnet/shards/coco/train2017 --out /tmp/show
    """
    from pipeline.data.augment import AugmentConfig
    from pipeline.data.index import splits
    from pipeline.data.show import draw_samples

    places = splits(url)
    if len(places) > 1:
        raise ValueError(f"{url} holds {len(places)} splits; name one of them: {', '.join(places.values())}")
    (place,) = places.values()
    written = draw_samples(
        place, out, count=count, size=size, seed=seed, augment=AugmentConfig(), images="all" if every else "labelled"
    )
    typer.echo(f"{len(written)} pictures in {out}")
