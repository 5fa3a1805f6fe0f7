"""What a header claims is read before the memory for it is taken."""

import io
import subprocess
import sys
import tarfile
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.data.decode import MAX_PIXELS, check_whole
from pipeline.data.reader import read_shard
from pipeline.storage import archive


def test_a_jpeg_that_claims_to_be_huge_is_refused_by_its_header() -> None:
    jpeg = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    frame = jpeg.index(b"\xff\xc0") + 5
    jpeg[frame : frame + 4] = (30000).to_bytes(2, "big") * 2
    with pytest.raises(ValueError, match="says it is 30000x30000"):
        check_whole(bytes(jpeg))


def test_opencv_is_told_how_large_an_image_may_be_before_it_is_imported() -> None:
    code = """
import struct, zlib
import lhrnet, cv2, numpy as np
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
side = 12000
png = b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
png += chunk(b"IDAT", zlib.compress(bytes((side // 8 + 1) * side))) + chunk(b"IEND", b"")
assert side * side > lhrnet.MAX_PIXELS
try:
    print(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR) is None)
except cv2.error:
    print(True)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "True"
    assert MAX_PIXELS == 10**8


def test_a_zips_member_unpacks_to_no_more_than_its_directory_says(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.jpg", bytes(50_000_000))
    content = bytearray(path.read_bytes())
    directory = content.rindex(b"PK\x01\x02")
    content[directory + 24 : directory + 28] = (1000).to_bytes(4, "little")
    content[directory + 16 : directory + 20] = zlib.crc32(bytes(1000)).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ValueError, match="has 1001 bytes of 1000"):
        archive.members(str(path))["a.jpg"].read()


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.REGTYPE, tarfile.GNUTYPE_LONGNAME])
@pytest.mark.parametrize("size", [1 << 35, 1 << 63, 1 << 70, -512])
def test_a_tar_with_a_size_beyond_any_file_is_one_line_with_its_name(size: int, kind: bytes) -> None:
    info = tarfile.TarInfo("000000000001.jpg")
    info.type = kind
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = (size % (1 << 96)).to_bytes(12, "big")
    header[124] = 0xFF if size < 0 else 0x80
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    with pytest.raises(ValueError, match=r"^a\.tar does not read as a tar after 0 images|^a\.tar ends after 0 images"):
        list(read_shard(io.BytesIO(bytes(header) + bytes(10240)), "a.tar", (1,)))
