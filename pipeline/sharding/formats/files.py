"""The files of a data set, wherever it lies: a folder, a prefix in S3, or a zip, whose members are read in place."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from unicodedata import normalize
from urllib.parse import unquote

from pipeline.storage import store
from pipeline.storage.archive import Member, members

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
"""Endings of image files, in small letters."""
UNREAD = (".tar", ".tgz", ".tar.gz", ".7z", ".rar", ".tar.xz", ".tar.bz2")
"""Endings of archives that cannot be read in place."""

BESIDE = ("annotations", "annotation", "json")
"""Folders of annotation files that lie beside those of the images, and not above them."""


@dataclass(frozen=True)
class Files:
    """What a source holds, by path below it. Nothing outside it can be named."""

    url: str
    """A folder, S3 prefix or zip."""
    members: Mapping[str, Member]
    chosen: str = ""
    """The one annotation file to read, where the source was given as that file."""

    def ending(self, *endings: str) -> list[str]:
        """Paths with one of these endings, in order; only the chosen one where one was chosen."""
        return [
            path for path in self.members if path.lower().endswith(endings) and (not self.chosen or path == self.chosen)
        ]

    @cached_property
    def pictures(self) -> dict[str, list[str]]:
        """Paths of image files, by their last part with accents composed, which macOS takes apart."""
        found: dict[str, list[str]] = {}
        for path in self.members:
            if path.lower().endswith(PICTURES):
                found.setdefault(normalize("NFC", path.rsplit("/", 1)[-1]), []).append(path)
        return found

    def picture(self, name: str, folder: str, split: str) -> str | None:
        """The path of the image that an annotation file calls `name`; None if there is none.

        Exporters write a path of their own machine, a folder more or less, an address, or a bare name. So the file
        whose path ends most like the name is taken; of several, the one nearest to the annotation file, then one in a
        folder of the split's name.

        Args:
            name: as the annotation file has it.
            folder: of the annotation file, below the source.
            split: the split's name.

        Raises:
            ValueError: several images are meant equally.
        """
        name = (name.split("?d=")[1] if "?d=" in name else name.split("?")[0]).replace("\\", "/")
        for spelt in (name, unquote(name)):
            found = self.pictures.get(normalize("NFC", spelt.rsplit("/", 1)[-1]), [])
            if len(found) > 1:
                best = max(_nearness(path, spelt, folder, split) for path in found)
                found = [path for path in found if _nearness(path, spelt, folder, split) == best]
            if len(found) > 1:
                raise ValueError(
                    f"{self.url} holds two images that may be {name!r:.100}: {found[0]} and {found[1]}; keep one"
                )
            if found:
                return found[0]
        return None


def _nearness(path: str, name: str, folder: str, split: str) -> tuple[int, int, bool]:
    folders = path.split("/")
    return _same(reversed(folders), reversed(name.split("/"))), _same(folders, folder.split("/")), split in folders[:-1]


def _same(a: Iterable[str], b: Iterable[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def open_source(url: str) -> Files:
    """List a source's files. Hidden ones, and those that archives of a Mac add, are passed over.

    Args:
        url: a folder, s3://bucket/prefix, a zip anywhere, or one annotation file in a folder.

    Raises:
        FileNotFoundError: nothing is there.
        ValueError: an archive that is no zip, a zip whose members lead outside of it, or a web address of no zip.
    """
    lower = url.lower()
    if lower.endswith(UNREAD):
        raise ValueError(f"{url} is an archive that cannot be read in place; unpack it, or give it as a zip")
    if lower.endswith(".zip"):
        return Files(url, _shown(members(url), url))
    folder, chosen = url.rstrip("/"), ""
    if lower.endswith((".json", ".yaml", ".yml", ".mat")):
        if store.size(url) is None:
            raise FileNotFoundError(f"{url} is not there; check the path")
        folder, _, chosen = url.rpartition("/")
        above, _, last = folder.rpartition("/")
        if last in BESIDE:
            folder, chosen = above, f"{last}/{chosen}"
        folder = folder or "."
    found = {path: Member(store.join(folder, path), size) for path, size in store.listing(folder).items()}
    if not found:
        raise FileNotFoundError(f"{url} holds no files; check the path")
    return Files(folder, _shown(found, folder), chosen)


def _shown(found: Mapping[str, Member], url: str) -> dict[str, Member]:
    for path in found:
        if path.startswith("/") or "\\" in path or ".." in path.split("/") or not path.isprintable():
            raise ValueError(f"{url} holds {path!r:.100}, a path that leads elsewhere or cannot be printed; rename it")
    hidden = (".", "__MACOSX")
    return {
        path: member for path, member in sorted(found.items()) if not any(p.startswith(hidden) for p in path.split("/"))
    }
