"""Where a data set's files are: a folder, its zips, a prefix in S3, or zips at a web address, read without unpacking.

SOURCE/annotations/person_keypoints_train2017.json   or in   SOURCE[/annotations]/annotations_trainval2017.zip
SOURCE/train2017/*.jpg                               or in   SOURCE[/zips]/train2017.zip
SOURCE/import.json                                   of data in any other layout (`pipeline.sharding.imported`)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath

from pipeline.sharding.formats.files import open_source
from pipeline.sharding.image_names import ImageFiles
from pipeline.sharding.imported import Manifest, annotations_of, read_manifest
from pipeline.storage import store
from pipeline.storage.archive import Member, members


@dataclass(frozen=True)
class Layout:
    """COCO's names for one split's files."""

    annotations: str
    images: str
    annotation_zip: str
    image_zip: str


SPLITS = {
    "train2017": Layout(
        "annotations/person_keypoints_train2017.json", "train2017", "annotations_trainval2017.zip", "train2017.zip"
    ),
    "val2017": Layout(
        "annotations/person_keypoints_val2017.json", "val2017", "annotations_trainval2017.zip", "val2017.zip"
    ),
    "test-dev2017": Layout(
        "annotations/image_info_test-dev2017.json", "test2017", "image_info_test2017.zip", "test2017.zip"
    ),
}


@dataclass(frozen=True)
class SplitFiles:
    """One split's files."""

    split: str
    annotations: Member
    images: Mapping[str, Member]
    """By file name, as annotations give it."""
    labelled: bool = True
    """Whether its annotations must hold people with keypoints."""

    def looked_for(self, file_name: str) -> str:
        """Where a file that is not there was looked for; one line, empty where that is not known."""
        return self.images.looked_for(file_name) if isinstance(self.images, ImageFiles) else ""


def present(source: str, splits: Sequence[str] = ()) -> tuple[str, ...]:
    """The splits asked for, or else those whose images are at `source`.

    Raises:
        ValueError: a name that is no split of COCO's, or of the import's.
        FileNotFoundError: no split's images are there.
        PermissionError: a web server refuses all of them, or the keys are wrong.
    """
    imported = _imported(source)
    known = imported.splits if imported else tuple(SPLITS)
    if unknown := set(splits) - set(known):
        raise ValueError(f"unknown split {', '.join(sorted(unknown))}; allowed: {', '.join(known)}")
    if splits:
        return tuple(splits)
    if imported:
        return imported.splits
    found, refused = [], []
    for split, layout in SPLITS.items():
        try:
            if _images_at(source, layout):
                found.append(split)
        except PermissionError as error:
            if not _is_web(source):
                raise
            refused.append(str(error))
    if not found and refused:
        raise PermissionError("; ".join(refused))
    if not found:
        names = ", ".join(f"{layout.images}/ or {layout.image_zip}" for layout in SPLITS.values())
        raise FileNotFoundError(
            f"{source} holds no images of COCO's; looked for {names}; data in another layout, or of other things than "
            f"COCO's people, are read by `lhrnet data import {source} FOLDER`"
        )
    return tuple(found)


def locate(source: str, split: str) -> SplitFiles:
    """Find one split's files.

    Raises:
        FileNotFoundError: its annotations or its images are missing; the message says where they were looked for.
        PermissionError: a web server refuses every address that was tried, or the keys are wrong.
    """
    if imported := _imported(source):
        listed = annotations_of(source, split)
        return SplitFiles(split, Member(listed, store.size(listed) or 0), open_source(imported.source).members)
    layout = SPLITS[split]
    place = _images_at(source, layout)
    if place is None:
        raise FileNotFoundError(
            f"{source} holds no images of {split}; looked for {layout.images}/, {layout.image_zip} "
            f"and zips/{layout.image_zip}"
        )
    packed = store.last_name(place).endswith(".zip")
    if packed:
        found = members(place)
    else:
        found = {name: Member(store.join(place, name), bytes_) for name, bytes_ in store.listing(place).items()}
    images = ImageFiles(found, place, (layout.images, split), packed=packed)
    return SplitFiles(split, _annotations_at(source, layout), images, "person_keypoints" in layout.annotations)


def check_apart(source: str, folder: str) -> None:
    """Refuse a folder of shards in which a later run would look for images, or that contains the source itself.

    Raises:
        ValueError: the message names both places.
    """
    place, looked = _path(folder), [store.join(source, layout.images) for layout in SPLITS.values()]
    if _path(source).is_relative_to(place) or any(place.is_relative_to(_path(images)) for images in looked):
        raise ValueError(
            f"the shards would go to {folder}, among the files of the source {source}; choose another target, "
            f"for example {store.join(source, 'shards')}"
        )


def _path(url: str) -> PurePath:
    return store.local_path(url).resolve() if store.is_local(url) else PurePosixPath(url)


def _images_at(source: str, layout: Layout) -> str | None:
    folder = store.join(source, layout.images)
    if (
        not _is_web(source)
        and store.exists(folder)
        and (not store.is_local(folder) or any(store.local_path(folder).iterdir()))
    ):
        return folder
    return _first(source, layout.image_zip, f"zips/{layout.image_zip}")


def _annotations_at(source: str, layout: Layout) -> Member:
    found = _first(source, layout.annotations, layout.annotation_zip, f"annotations/{layout.annotation_zip}")
    if found and not store.last_name(found).endswith(".zip"):
        return Member(found, store.size(found) or 0)
    inside = members(found) if found else {}
    if layout.annotations not in inside:
        where = found or f"{source} (nor {layout.annotation_zip})"
        raise FileNotFoundError(f"no {layout.annotations} in {where}; COCO's annotations must lie beside the images")
    return inside[layout.annotations]


def _first(source: str, *names: str) -> str | None:
    """The first of these files that exists. A web server may answer 403 for one that does not, as S3 does."""
    refused = []
    for place in (store.join(source, name) for name in names):
        try:
            if store.size(place) is not None:
                return place
        except PermissionError as error:
            if not _is_web(source):
                raise
            refused.append(str(error))
    if refused:
        raise PermissionError("; ".join(refused))
    return None


def _imported(source: str) -> Manifest | None:
    return None if _is_web(source) else read_manifest(source)


def _is_web(source: str) -> bool:
    return store.scheme(source) in ("http", "https")
