"""`lhrnet draw`: a data set of drawn people or hands in COCO's layout."""

from pathlib import Path
from typing import Annotated

import typer


def draw(
    folder: Annotated[Path, typer.Argument(help="Where to; created complete or not at all.")],
    train: Annotated[int, typer.Option(help="Training images.")] = 8000,
    val: Annotated[int, typer.Option(help="Validation images.")] = 200,
    test: Annotated[int, typer.Option(help="Test images, written without annotations.")] = 50,
    size: Annotated[int, typer.Option(help="Pixels of the long side.", min=64, max=1024)] = 192,
    seed: Annotated[int, typer.Option(help="The same seed draws the same folder, byte for byte.")] = 0,
    skeleton: Annotated[
        str, typer.Option(help="Whose keypoints: coco, crowdpose, lsp or mpii (of people), hand (21 of a hand).")
    ] = "coco",
    hard: Annotated[
        bool, typer.Option("--hard", help="Up to 12 in a scene, crossing, cut and small, in motion and in bad light.")
    ] = False,
    look: Annotated[
        bool, typer.Option("--look", help="Draw a sheet of the first 12 scenes and no more: FOLDER.jpg.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Processes that draw [one a core].")] = None,
) -> None:
    """Draw scenes of several people, or hands, with exact annotations in COCO's form.

    A folder that already holds this very drawing is left as it is.

    Example: lhrnet draw /tmp/hands --skeleton hand --train 800 --val 50
    """
    from dataclasses import replace

    from pipeline.scenes.synthetic import HARD, SceneConfig, is_drawn, write_coco
    from pipeline.tracking.progress import Progress

    config = replace(HARD if hard else SceneConfig(), size=size)
    if look:
        from pipeline.scenes.sheet import write_sheet

        print(f"sheet: {write_sheet(folder, config, skeleton, seed=seed)}")
        return
    if is_drawn(folder, train=train, val=val, test=test, seed=seed, config=config, skeleton=skeleton):
        print(f"{folder} already holds these {train + val + test} images")
        return
    with Progress(train + val + test, "drawing", "images") as progress:
        write_coco(
            folder,
            train=train,
            val=val,
            test=test,
            seed=seed,
            config=config,
            skeleton=skeleton,
            workers=workers,
            on_drawn=progress.advance,
        )
    print(f"{folder}: {train} training, {val} validation and {test} test images")
