"""`lhrnet submit`: the zip that COCO's test-dev server takes, or a rehearsal of it on the validation split."""

from typing import Annotated, Any

import typer


def submit(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CHECKPOINT] [KEY=VALUE]...",
            help="URL of a checkpoint or of a run's folder (left out: the best of the config's run); settings such as "
            "evaluate.protocol=flip.",
        ),
    ] = None,
    config: Annotated[str, typer.Option("--config", "-c", help="YAML file.")] = "jobs/configs/demo.yaml",
    name: Annotated[str, typer.Option(help="The method's name: letters, digits, '-' and '.'.")] = "lightweight-hrnet",
    val: Annotated[bool, typer.Option("--val", help="Rehearse on the validation split, scored from the zip.")] = False,
    out: Annotated[
        str | None, typer.Option(help="Folder for the zip (left out: in the folder of the checkpoint's run).")
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Also where the shards lack images of the split; they count as empty.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the people in the test images and write the submission, checked as COCO's server would.

    The server scores it: upload the zip there. With --val the same zip is made of the validation split, read back and
    scored, which shows that the file is right before anyone waits for the server.

    Example: lhrnet submit -c jobs/configs/coco.yaml --name lightweight-hrnet-r2
    """
    import json

    from rich.console import Console

    from jobs.arguments import split_arguments
    from pipeline.checkpoints import checkpoint
    from pipeline.config.tree import load
    from pipeline.data.index import read_index
    from pipeline.evaluation import outputs, submission
    from pipeline.evaluation.evaluate import describe_data, describe_protocol
    from pipeline.evaluation.predictions import predict_split
    from pipeline.evaluation.submission import check_complete_split, check_split, score_zip
    from pipeline.storage import store
    from pipeline.tracking.progress import Progress

    given, overrides = split_arguments(arguments)
    settings = load(config, overrides)
    split: submission.Split = "val2017" if val else "test-dev2017"
    file = submission.file_name(split, name).removesuffix(".json") + ".zip"
    url = settings.data.val if val else settings.data.test
    if not url:
        raise ValueError("data.test is not set: give the shards of test-dev2017 as data.test=URL, or rehearse by --val")
    index = read_index(url)
    check_split(index, split, url)
    if not partial:
        check_complete_split(index, url)
    model = checkpoint.load(given[0] if given else settings.run_url)
    record = outputs.RunRecord(settings.tracking, model.config) if settings.tracking.enabled else None
    with Progress(index.images, f"submit {index.split} ({settings.evaluate.protocol})") as progress:
        found = predict_split(model, url, index, settings.evaluate, progress=progress.advance)
    ids = frozenset(index.image_ids)
    blob = submission.pack(found.detections, split=split, name=name, image_ids=ids)
    place = store.join(out or store.join(outputs.home(model, settings.run_url), "submissions"), file)
    store.write_bytes(place, blob)
    about: dict[str, Any] = {
        "file": place,
        "bytes": len(blob),
        "people": len(found.detections),
        "data": describe_data(url, index),
        "protocol": describe_protocol(settings.evaluate, model),
        "checkpoint": model.url,
        "checkpoint_sha256": model.sha256,
        "step": model.step,
    }
    if val:
        about["scores"] = score_zip(store.read_bytes(place), url, place).as_dict()
    if record:
        about |= {"run": record.page, "version": _version(record, settings.gate.model, model.sha256)}
        content = {file: blob, file.removesuffix(".zip") + ".about.json": json.dumps(about, indent=1).encode()}
        record.artifacts("submissions", content)
    if as_json:
        print(json.dumps(about))
        return
    console = Console(highlight=False, soft_wrap=True, markup=False)
    console.print(f"{index.images} images, {len(found.detections)} people, {len(blob) / 1e6:.2f} MB: {place}")
    if index.left_out:
        console.print(f"{len(index.left_out)} images of {split} are in no shard and left out")
    if val:
        console.print("scored from the zip: " + ", ".join(f"{k} {v:.4f}" for k, v in about["scores"].items()))
    else:
        console.print("upload it to COCO's keypoint evaluation server; its annotations are not public")
    if record:
        console.print(f"run: {record.page}")


def _version(record: object, model: str, sha256: str) -> str:
    """The registered version made of a checkpoint; empty where there is none."""
    from pipeline.evaluation.outputs import RunRecord
    from pipeline.release.registry import Registry

    assert isinstance(record, RunRecord)
    versions = Registry(record.mlflow, model).versions()
    return next((v.number for v in versions if v.tags.get("checkpoint_sha256") == sha256), "")
