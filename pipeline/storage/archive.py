"""Members of zip archives, wherever the archive lies: the directory is read once, then each member by its own range."""

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass

from pipeline.storage import store

BLOCK = 1 << 20
LOCAL_HEADER = struct.Struct("<4s5H3L2H")


@dataclass(frozen=True)
class Span:
    """Where a member lies in its archive."""

    name: str
    offset: int
    """Of its local header."""
    packed: int
    """Bytes as stored."""
    method: int
    crc: int


@dataclass(frozen=True)
class Member:
    """A file: under a URL of its own, or within an archive."""

    url: str
    size: int
    """Bytes, unpacked."""
    span: Span | None = None

    @property
    def name(self) -> str:
        """Its path in the archive, or its URL."""
        return self.span.name if self.span else self.url

    @property
    def stamp(self) -> str:
        """What is known of it unread: its size and, in an archive, its checksum."""
        return f"{self.size} {self.span.crc}" if self.span else f"{self.size}"

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            ValueError: the archive's member is damaged.
            FileNotFoundError, PermissionError, ConnectionError: as `store.stream`.
        """
        return store.read_bytes(self.url) if self.span is None else _unpacked(self.url, self.size, self.span)


class Ranges(io.RawIOBase):
    """A file that can be sought in, over range requests; keeps the last block read."""

    def __init__(self, url: str) -> None:
        self.url = url
        size = store.size(url)
        if size is None:
            raise FileNotFoundError(f"{url} is not there, or its server does not say its size")
        self.size, self.position = size, 0
        self.block: tuple[int, bytes] = (0, b"")

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Bytes from the start."""
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move; nothing is read yet. Raises BadZipFile for a place before the file's start."""
        position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        if position < 0:
            raise zipfile.BadZipFile(f"a part of it would begin at byte {position}")
        self.position = position
        return self.position

    def read(self, count: int = -1) -> bytes:
        """Read `count` bytes, fewer at the end."""
        end = self.size if count < 0 else min(self.size, self.position + count)
        if end <= self.position:
            return b""
        start, data = self.block
        if not (start <= self.position and end <= start + len(data)):
            start = self.position
            data = store.read_bytes(self.url, start, min(self.size, max(end, start + BLOCK)) - start)
            self.block = start, data
        piece = data[self.position - start : end - start]
        self.position = end
        return piece


def members(url: str) -> dict[str, Member]:
    """The files in an archive, by their path in it. Reads the archive's directory only.

    Raises:
        ValueError: no zip archive, or a member packed by a method other than store and deflate.
    """
    try:
        with zipfile.ZipFile(Ranges(url)) as archive:
            entries = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"{url} is no whole zip archive ({error}); download it again") from error
    for info in entries:
        if info.header_offset < 0:
            raise ValueError(f"{url} is no whole zip archive ({info.filename} lies before its start); get it again")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise ValueError(f"{url}: {info.filename} is encrypted or packed by method {info.compress_type}; unzip it")
    return {
        info.filename: Member(
            url,
            info.file_size,
            Span(info.filename, info.header_offset, info.compress_size, info.compress_type, info.CRC),
        )
        for info in entries
    }


def _unpacked(url: str, size: int, span: Span) -> bytes:
    name = f"{span.name} in {url}"
    guess = LOCAL_HEADER.size + len(span.name.encode()) + 64
    data = store.read_bytes(url, span.offset, guess + span.packed)
    if len(data) < LOCAL_HEADER.size or not data.startswith(b"PK\x03\x04"):
        raise ValueError(f"{name}: no member begins at byte {span.offset}; the archive is damaged")
    names, extra = LOCAL_HEADER.unpack_from(data)[9:11]
    start = LOCAL_HEADER.size + names + extra
    if start > guess:
        data += store.read_bytes(url, span.offset + len(data), start - guess)
    packed = data[start : start + span.packed]
    try:
        # no more than the directory says, and one byte to see that there is more
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        content = packed if span.method == zipfile.ZIP_STORED else unpacker.decompress(packed, size + 1)
    except zlib.error as error:
        raise ValueError(f"{name} does not unpack: {error}") from error
    if len(content) != size or zlib.crc32(content) != span.crc:
        raise ValueError(f"{name} has {len(content)} bytes of {size}, or another checksum: the archive is damaged")
    return content
