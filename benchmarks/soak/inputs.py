"""What reads files: how a changed input is made for each, and how it is read."""

import contextlib
import copy
import gzip
import hashlib
import io
import json
import random
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import torch

from benchmarks.soak.mutate import as_bytes, changed_bytes, changed_tree
from benchmarks.soak.place import Place
from lhrnet.image_file import decode, read_image
from lhrnet.metrics.coco_eval import score
from pipeline.checkpoints import checkpoint
from pipeline.config import tree as config_tree
from pipeline.data import index as indices
from pipeline.data.augment import AugmentConfig, prepare
from pipeline.data.decode import check_whole
from pipeline.data.reader import read_shard
from pipeline.evaluation import submission
from pipeline.serving.onnx_network import METADATA, Card
from pipeline.sharding import annotations
from pipeline.storage import archive


@dataclass(frozen=True)
class Reader:
    """One kind of file."""

    name: str
    make: Callable[[random.Random], Any]
    """A changed input."""
    read: Callable[[Any], str]
    """Reads it, as the verbs do; what is wrong with what came of it, mostly nothing."""


def readers(place: Place, work: Path) -> list[Reader]:
    """All of them, over the drawn set and the trained run."""
    return [
        _annotations(place),
        _index(place, work),
        _truth(place, work),
        _tar(place),
        _zip(place, work),
        *_checkpoint(place, work),
        _card(place),
        _config(work),
        _detections(place),
        _submission(),
        _picture(place, work),
    ]


def _annotations(place: Place) -> Reader:
    tree = json.loads((place.coco / "annotations/person_keypoints_train2017.json").read_text())
    tree["images"] = tree["images"][:5]
    kept = {image["id"] for image in tree["images"]}
    tree["annotations"] = [a for a in tree["annotations"] if a["image_id"] in kept]

    def read(data: bytes) -> str:
        for record in annotations.parse(data, "it.json", labelled=True).records:
            if not list(annotations.faults(record)):
                json.dumps(record.kept(), allow_nan=False).encode()
                record.file_name.encode()
        return ""

    return Reader("annotations", lambda draw: as_bytes(draw, changed_tree(draw, tree)), read)


def _index(place: Place, work: Path) -> Reader:
    tree = json.loads((place.shards / "train2017/index.json").read_text())

    def read(data: bytes) -> str:
        (work / "index.json").write_bytes(data)
        found = indices.read_index(str(work))
        indices.index_bytes(found)
        outside = [s.name for s in found.shards if "/" in s.name or s.name in ("", "..")] or "/" in found.split
        return "an index may name a place outside of its folder" if outside else ""

    return Reader("index", lambda draw: as_bytes(draw, changed_tree(draw, tree)), read)


def _truth(place: Place, work: Path) -> Reader:
    folder = work / "truth"
    folder.mkdir()
    about = json.loads((place.shards / "val2017/index.json").read_text())
    tree = json.loads(gzip.decompress((place.shards / "val2017/annotations.json.gz").read_bytes()))

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.6:
            return gzip.compress(as_bytes(draw, changed_tree(draw, tree)), 1)
        return changed_bytes(draw, gzip.compress(json.dumps(tree).encode(), 1))

    def read(data: bytes) -> str:
        (folder / "annotations.json.gz").write_bytes(data)
        text = json.dumps({**about, "truth_sha256": hashlib.sha256(data).hexdigest()})
        (folder / "index.json").write_text(text)
        found = indices.read_index(str(folder))
        people = [{"image_id": found.image_ids[0], "category_id": 1, "keypoints": [5.0, 5.0, 1.0] * 17, "score": 0.5}]
        score(indices.truth(str(folder), found), people, found.image_ids)
        return ""

    return Reader("truth", make, read)


def _tar(place: Place) -> Reader:
    folder = place.shards / "train2017"
    shard = indices.read_index(str(folder)).shards[0]
    blob = (folder / shard.name).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(blob)) as tar:
        members = [(member, tar.extractfile(member).read()) for member in tar.getmembers()]  # type: ignore[union-attr]

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.35:
            return changed_bytes(draw, blob)
        out, victim = io.BytesIO(), draw.randrange(len(members))
        with tarfile.open(fileobj=out, mode="w", format=draw.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])) as made:
            for number, (member, content) in enumerate(members):
                info, data = copy.copy(member), content
                if number == victim:
                    info, data = _changed_member(draw, info, data)
                info.size = len(data)
                made.addfile(info, io.BytesIO(data))
        return _claims_a_size(draw, out.getvalue()) if draw.random() < 0.2 else out.getvalue()

    def read(data: bytes) -> str:
        for raw in read_shard(io.BytesIO(data), "it.tar", shard.image_ids):
            sample = prepare(
                *(raw.jpeg, raw.ignore_png, raw.annotations),
                width=raw.width,
                height=raw.height,
                size=64,
                config=AugmentConfig(),
                key=(0, 0, raw.image_id),
            )
            if not np.isfinite(sample.joints).all():
                return "joints that are not finite"
        return ""

    return Reader("tar", make, read)


def _changed_member(draw: random.Random, info: tarfile.TarInfo, data: bytes) -> tuple[tarfile.TarInfo, bytes]:
    what = draw.randrange(5)
    if what == 0 and info.name.endswith("json"):
        return info, as_bytes(draw, changed_tree(draw, json.loads(data)))
    if what == 1:
        info.name = draw.choice(["../../x.jpg", "/etc/passwd", "a" * 300, "x.json", "é.jpg", info.name + ".x"])
    elif what == 2:
        info.type, info.linkname = draw.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE]), "/etc/passwd"
        return info, b""
    elif what == 3:
        info.pax_headers = {"size": draw.choice(["-1", "99999999999999999999", "1e9", "x", "-512"])}
    return info, changed_bytes(draw, data)


def _claims_a_size(draw: random.Random, tar: bytes) -> bytes:
    """One header with another size in base 256, its sum mended."""
    out = bytearray(tar)
    at = draw.choice([o for o in range(0, len(out) - 512, 512) if out[o + 257 : o + 262] == b"ustar"])
    size = draw.choice([-1, -512, -10240, 2**35, 2**62, 2**63, 2**70])
    field = (size if size >= 0 else 256**12 + size).to_bytes(12, "big")
    out[at + 124 : at + 136] = bytes([(0x80 if size >= 0 else 0xFF) | field[0]]) + field[1:]
    out[at + 148 : at + 156] = b" " * 8
    out[at + 148 : at + 156] = b"%06o\0 " % sum(out[at : at + 512])
    return bytes(out)


def _zip(place: Place, work: Path) -> Reader:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for number, path in enumerate(sorted((place.coco / "train2017").iterdir())[:6]):
            made.write(path, f"train2017/{path.name}", compress_type=(0, 8)[number % 2])
    blob = buffer.getvalue()
    directory = blob.find(b"PK\x01\x02")

    def make(draw: random.Random) -> bytes:
        if draw.random() < 0.5:
            return blob[:directory] + changed_bytes(draw, blob[directory:])
        return changed_bytes(draw, blob)

    def read(data: bytes) -> str:
        (work / "it.zip").write_bytes(data)
        refused = 0
        for member in archive.members(str(work / "it.zip")).values():
            try:
                member.read()
            except ValueError:
                refused += 1
        return ""

    return Reader("zip", make, read)


def _checkpoint(place: Place, work: Path) -> list[Reader]:
    folder, source = work / "checkpoint", Path(checkpoint.find(str(place.run)))
    folder.mkdir()
    files = {path.name: path.read_bytes() for path in source.iterdir()}
    manifest, config, metrics = (json.loads(files[f"{name}.json"]) for name in ("manifest", "config", "metrics"))
    weights = torch.load(io.BytesIO(files["weights.pt"]), weights_only=True)

    def odd_weights(draw: random.Random) -> bytes:
        tree, name = dict(weights), draw.choice(list(weights))
        odd: list[Any] = [
            None,
            1.0,
            "x",
            [1],
            tree[name].double(),
            tree[name].bool(),
            torch.zeros(1).expand(2**20, 2**20),
        ]
        tree[name] = draw.choice(odd)
        out = io.BytesIO()
        torch.save(draw.choice([tree, tree, tree, {1: 2}, [1], torch.zeros(3)]), out)
        return out.getvalue()

    def make(what: str) -> Callable[[random.Random], dict[str, bytes]]:
        def made(draw: random.Random) -> dict[str, bytes]:
            if what == "manifest":
                return {**files, "manifest.json": as_bytes(draw, changed_tree(draw, manifest))}
            kind = draw.choice(["config.json", "metrics.json", "weights.pt", "odd"])
            own = dict(files)
            if kind == "config.json":
                own[kind] = as_bytes(draw, {**config, "model": changed_tree(draw, config["model"])})
            elif kind == "metrics.json":
                own[kind] = as_bytes(draw, changed_tree(draw, metrics))
            else:
                own["weights.pt"] = odd_weights(draw) if kind == "odd" else changed_bytes(draw, files["weights.pt"])
            fits = {n: {"bytes": len(own[n]), "sha256": hashlib.sha256(own[n]).hexdigest()} for n in manifest["files"]}
            return {**own, "manifest.json": json.dumps({**manifest, "files": fits}).encode()}

        return made

    def read(content: dict[str, bytes]) -> str:
        for name, data in content.items():
            (folder / name).write_bytes(data)
        loaded = checkpoint.load(str(folder))
        checkpoint.threshold_of(loaded.metrics)
        checkpoint.build_network(loaded)
        return ""

    return [Reader("manifest", make("manifest"), read), Reader("weights", make("weights"), read)]


def _card(place: Place) -> Reader:
    props = onnx.load(str(place.folder / "network.onnx")).metadata_props
    tree = json.loads(next(prop.value for prop in props if prop.key == METADATA))

    def read(data: bytes) -> str:
        card = Card.from_json(data.decode("utf-8", "replace"))
        return "" if 32 <= card.size <= 16384 else f"a size of {card.size} pixels"

    return Reader("ONNX card", lambda draw: as_bytes(draw, changed_tree(draw, tree)), read)


def _config(work: Path) -> Reader:
    keys = [*sorted(config_tree.known_keys()), "x", "a.b.c", "", "train", ".", "..", "train.steps.x", "__class__"]
    odd = [
        *(
            "",
            "null",
            "-1",
            "0",
            "1e999",
            "nan",
            ".inf",
            "9" * 5000,
            "[]",
            "{}",
            "[1, 2]",
            "[" * 3000,
            "'",
            '"',
            "a: b",
        ),
        *(
            "!!python/object/apply:os.system [id]",
            "!!binary aGk=",
            "*a",
            "&a [*a]",
            "2001-01-01",
            "0x10",
            "1_000",
            "\0",
        ),
        *("../../x", "- - -", "? a", "%", "@", "{a: {b: {c: 1}}}", "{low: nan, high: 1}", "\ud800", "é"),
    ]

    def make(draw: random.Random) -> tuple[str, list[str]]:
        lines = [f"{draw.choice(keys)}: {draw.choice(odd)}" for _ in range(draw.choice([0, 1, 2]))]
        return "\n".join(["name: a", *lines]), [
            f"{draw.choice(keys)}={draw.choice(odd)}" for _ in range(draw.choice([1, 2]))
        ]

    def read(given: tuple[str, list[str]]) -> str:
        file = work / "it.yaml"
        file.write_bytes(given[0].encode("utf-8", "surrogatepass"))
        config = config_tree.load(file, ["storage=/x", "data.train=/x", "data.val=/x", *given[1]])
        config_tree.parse(json.loads(config.model_dump_json()))
        return ""

    return Reader("YAML config", make, read)


_PEOPLE = [
    {"image_id": 1, "category_id": 1, "keypoints": [1.5, 2.5, 1] * 17, "score": 0.5},
    {"image_id": 2, "category_id": 1, "keypoints": [0.0] * 51, "score": 0.1},
]


def _detections(place: Place) -> Reader:
    index = indices.read_index(str(place.shards / "val2017"))
    truth = indices.truth(str(place.shards / "val2017"), index)
    people = [{**person, "image_id": index.image_ids[n]} for n, person in enumerate(_PEOPLE)]

    def read(given: Any) -> str:
        figures = score(truth, given if isinstance(given, list) else [given], index.image_ids)
        return "" if all(-1 <= value <= 1 for value in figures.as_dict().values()) else f"figures {figures}"

    return Reader("detections", lambda draw: changed_tree(draw, people), read)


def _submission() -> Reader:
    ids = frozenset([1, 2])
    good = submission.pack(_PEOPLE, split="val2017", name="m", image_ids=ids)

    def read(given: Any) -> str:
        given = [given] if not isinstance(given, bytes | list) else given
        blob = given if isinstance(given, bytes) else submission.pack(given, split="val2017", name="m", image_ids=ids)
        submission.check_results(submission.read_zip(blob, "it.zip")[2], ids)
        return ""

    return Reader(
        "submission", lambda d: changed_bytes(d, good) if d.random() < 0.4 else changed_tree(d, _PEOPLE), read
    )


def _picture(place: Place, work: Path) -> Reader:
    blobs = [path.read_bytes() for path in sorted((place.coco / "train2017").iterdir())[:4]]
    image = decode(blobs[0])
    for suffix in (".png", ".webp", ".bmp", ".tiff", ".jp2", ".avif"):
        done, data = cv2.imencode(suffix, image)
        if done:
            blobs.append(data.tobytes())

    def make(draw: random.Random) -> bytes:
        blob, head = draw.choice(blobs), draw.choice([64, 700, 10**9])
        return changed_bytes(draw, blob[:head]) + blob[head:]

    def read(data: bytes) -> str:
        with contextlib.suppress(ValueError):
            check_whole(data)
        (work / "it.jpg").write_bytes(data)
        read_image(work / "it.jpg")
        return ""

    return Reader("JPEG/PNG", make, read)
