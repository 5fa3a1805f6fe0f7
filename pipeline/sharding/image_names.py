"""Which file an annotation's file name means, among those of a split.

Exporters write names with folders (`camera a/1.jpg`, `train2017/1.jpg`, `./1.jpg`), addresses and paths of another
machine, and macOS writes accents decomposed. A name is looked up among the files that are there: it opens nothing, so
it leads nowhere else.
"""

from collections.abc import Iterator, Mapping, Sequence
from unicodedata import normalize
from urllib.parse import unquote, urlsplit

from pipeline.storage.archive import Member

PICTURES = (".jpg", ".jpeg", ".png")
"""Of other files in an archive two may have one name."""


class ImageFiles(Mapping[str, Member]):
    """A split's files by the names that annotations give them.

    Args:
        found: by path, within the folder or archive.
        place: the folder's or archive's own name, for messages.
        folders: what the split's folder may be called, at the beginning of a name or within an archive.
        packed: whether it is an archive: then the files may lie below any folders of it.
    """

    def __init__(self, found: Mapping[str, Member], place: str, folders: Sequence[str], *, packed: bool) -> None:
        self._found = {path: found[path] for path in sorted(found) if not path.startswith("__MACOSX/")}
        self._place, self._folders, self._packed = place, folders, packed
        self._named: dict[str, list[str]] = {}
        for path in self._found:
            self._named.setdefault(_composed(path).rsplit("/", 1)[-1], []).append(path)

    def __getitem__(self, file_name: str) -> Member:
        """The file that a name means.

        Raises:
            KeyError: none.
            ValueError: one of several in an archive, and no folder tells which.
        """
        for wanted in self._wanted(file_name):
            if path := self._path(wanted):
                return self._found[path]
        raise KeyError(file_name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def looked_for(self, file_name: str) -> str:
        """Where a file that is not there was looked for, and what is there in its place; one line."""
        wanted = list(self._wanted(file_name))
        if not wanted:
            return f"{file_name!r} leads out of {self._place}"
        tried = ", ".join(wanted[:3])
        base = _composed(wanted[-1]).casefold()
        others = [path for name, paths in self._named.items() if name.casefold() == base for path in paths]
        return f"looked for {tried} in {self._place}" + (f"; there is {others[0]}" if others else "")

    def _wanted(self, file_name: str) -> Iterator[str]:
        """Paths that a name may mean, the likeliest first; none where it leads out of its folder."""
        seen: set[str] = set()
        for text in (file_name, file_name.replace("\\", "/")):
            if text in self._found:  # whatever is in it
                yield text
                return
            parts = [part for part in _without_address(text).split("/") if part not in ("", ".")]
            if not parts or ".." in parts:
                continue
            own = [place for place, part in enumerate(parts[:-1]) if part in self._folders]
            for begin in (0, *[place + 1 for place in own[-1:]], len(parts) - 1):
                wanted = "/".join(parts[begin:])
                if wanted not in seen:
                    seen.add(wanted)
                    yield wanted

    def _path(self, wanted: str) -> str | None:
        composed = _composed(wanted)
        same = [path for path in self._named.get(composed.rsplit("/", 1)[-1], ()) if self._fits(path, composed)]
        exact = [path for path in same if path == wanted or path.endswith(f"/{wanted}")] or same
        own = [path for path in exact if _before(path, composed).endswith(self._folders_before)] or exact
        if len(own) > 1 and wanted.lower().endswith(PICTURES):
            both = f"{own[0]} and {own[1]}"
            raise ValueError(f"{self._place} holds two images {wanted}: {both}; keep those of {self._folders[0]} alone")
        return own[0] if own else None

    @property
    def _folders_before(self) -> tuple[str, ...]:
        return tuple(f"/{folder}/" for folder in self._folders)

    def _fits(self, path: str, composed: str) -> bool:
        given = _composed(path)
        return given == composed or (self._packed and given.endswith(f"/{composed}"))


def _before(path: str, composed: str) -> str:
    """The folders that lie before the path that is wanted."""
    return f"/{_composed(path)}".removesuffix(composed)


def _composed(text: str) -> str:
    return normalize("NFC", text)


def _without_address(text: str) -> str:
    """An address's path; anything else as it is."""
    return unquote(urlsplit(text).path) if text.startswith(("http://", "https://", "s3://", "file://")) else text
