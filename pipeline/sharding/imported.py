"""A data set of any known form as a small folder of annotations in COCO's form, which `lhrnet shard` takes.

    FOLDER/import.json       where the images lie, what the source was taken for, and its splits; written last
    FOLDER/<split>.json      COCO's form, one category; file names are paths below the source

No image is copied or unpacked: shards are made of the source's own bytes.
"""

import json
import os
from contextlib import suppress
from pathlib import PurePath, PurePosixPath
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.data.index import NAME
from pipeline.sharding.formats.recognise import Found
from pipeline.storage import store

MANIFEST = "import.json"
FORMAT = 1


class Manifest(BaseModel):
    """What import.json says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: int = FORMAT
    source: str
    """Where the images lie: a folder, a prefix in S3 or a zip."""
    form: str
    """What the source was taken for."""
    splits: tuple[Annotated[str, Field(pattern=NAME)], ...] = Field(min_length=1)
    notes: tuple[str, ...] = ()
    """What was assumed."""


def write(found: Found, folder: str) -> Manifest:
    """Write what was read, in place of an earlier import.

    Raises:
        ValueError: the folder lies within the source, where it would be read as a part of it.
    """
    check_outside(found.files.url, folder)
    before: tuple[str, ...] = ()
    with suppress(ValueError):
        before = earlier.splits if (earlier := read_manifest(folder)) else ()
    source = found.files.url
    if store.scheme(source) == "file":
        source = os.path.abspath(store.local_path(source))
    manifest = Manifest(source=source, form=found.form, splits=tuple(found.splits), notes=found.notes)
    store.delete(store.join(folder, MANIFEST))
    for split in set(before) - set(manifest.splits):
        store.delete(annotations_of(folder, split))
    for split, tree in found.splits.items():
        store.write_bytes(annotations_of(folder, split), json.dumps(tree, separators=(",", ":")).encode())
    store.write_bytes(store.join(folder, MANIFEST), manifest.model_dump_json(indent=1).encode())
    return manifest


def annotations_of(folder: str, split: str) -> str:
    """URL of a split's annotations."""
    return store.join(folder, f"{split}.json")


def check_outside(source: str, folder: str) -> None:
    """Refuse to write among a source's files.

    Raises:
        ValueError: the folder is the source, or lies in it.
    """
    if _path(folder).is_relative_to(_path(source)):
        raise ValueError(f"{folder} lies within {source}, and would be read as a part of it; name a folder beside it")


def read_manifest(folder: str) -> Manifest | None:
    """What an import wrote last; None where the folder holds no import.

    Raises:
        ValueError: import.json is damaged, or of another format.
    """
    place = store.join(folder, MANIFEST)
    if store.size(place) is None:
        return None
    try:
        manifest = Manifest.model_validate_json(store.read_bytes(place))
    except ValidationError as error:
        raise ValueError(f"{place} is damaged: {error.errors()[0]['msg']}; import the data again") from error
    if manifest.format_version != FORMAT:
        raise ValueError(f"{place} has format_version {manifest.format_version}, this program reads {FORMAT}")
    return manifest


def _path(url: str) -> PurePath:
    return store.local_path(url).resolve() if store.is_local(url) else PurePosixPath(url)
