"""Where COCO's files lie: a folder, its zips, a prefix in S3, or zips behind a URL, read without unpacking.

SOURCE/annotations/person_keypoints_train2017.json   or in   SOURCE[/annotations]/annotations_trainval2017.zip
SOURCE/train2017/*.jpg                               or in   SOURCE[/zips]/train2017.zip
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath, PurePosixPath

from pipeline import storage
from pipeline.source_zip import Member, members


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
    images: dict[str, Member]
    """By file name."""


def present(source: str, splits: Sequence[str] = ()) -> tuple[str, ...]:
    """The splits asked for, or else those whose images are at `source`.

    Raises:
        ValueError: a name that is no split of COCO's.
        FileNotFoundError: no split's images are there.
    """
    unknown = set(splits) - set(SPLITS)
    if unknown:
        raise ValueError(f"unknown split {', '.join(sorted(unknown))}; allowed: {', '.join(SPLITS)}")
    found = tuple(splits) or tuple(split for split, layout in SPLITS.items() if _images_at(source, layout))
    if not found:
        names = ", ".join(f"{layout.images}/ or {layout.image_zip}" for layout in SPLITS.values())
        raise FileNotFoundError(f"{source} holds no images of COCO's; looked for {names}")
    return found


def locate(source: str, split: str) -> SplitFiles:
    """Find one split's files.

    Raises:
        FileNotFoundError: its annotations or its images are not there; the message says where they were looked for.
    """
    layout = SPLITS[split]
    place = _images_at(source, layout)
    if place is None:
        raise FileNotFoundError(
            f"{source} holds no images of {split}; looked for {layout.images}/, {layout.image_zip} "
            f"and zips/{layout.image_zip}"
        )
    if place.endswith(".zip"):
        images = {name.rsplit("/", 1)[-1]: member for name, member in members(place).items()}
    else:
        images = {
            name: Member(storage.join(place, name), bytes_)
            for name, bytes_ in storage.listing(place).items()
            if "/" not in name
        }
    return SplitFiles(split, _annotations_at(source, layout), images)


def check_apart(source: str, folder: str) -> None:
    """Refuse a folder of shards in which a later run would look for images, or that holds the source itself.

    Raises:
        ValueError: with both places.
    """
    place, looked = _path(folder), [storage.join(source, layout.images) for layout in SPLITS.values()]
    if _path(source).is_relative_to(place) or any(place.is_relative_to(_path(images)) for images in looked):
        raise ValueError(
            f"the shards would go to {folder}, among the files of the source {source}; choose another target, "
            f"for example {storage.join(source, 'shards')}"
        )


def _path(url: str) -> PurePath:
    return storage.local_path(url).resolve() if storage.is_local(url) else PurePosixPath(url)


def _images_at(source: str, layout: Layout) -> str | None:
    web = storage.scheme(source) in ("http", "https")
    folder = storage.join(source, layout.images)
    if (
        not web
        and storage.exists(folder)
        and (not storage.is_local(folder) or any(storage.local_path(folder).iterdir()))
    ):
        return folder
    return _first(source, layout.image_zip, f"zips/{layout.image_zip}")


def _annotations_at(source: str, layout: Layout) -> Member:
    if loose := _first(source, layout.annotations):
        return Member(loose, storage.size(loose) or 0)
    archive = _first(source, layout.annotation_zip, f"annotations/{layout.annotation_zip}")
    inside = members(archive) if archive else {}
    if layout.annotations not in inside:
        where = archive or f"{source} (nor {layout.annotation_zip})"
        raise FileNotFoundError(f"no {layout.annotations} in {where}; COCO's annotations must lie beside the images")
    return inside[layout.annotations]


def _first(source: str, *names: str) -> str | None:
    places = (storage.join(source, name) for name in names)
    return next((place for place in places if storage.size(place) is not None), None)
