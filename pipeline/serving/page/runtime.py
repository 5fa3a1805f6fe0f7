"""onnxruntime-web, which runs networks in a browser: three files of one pinned npm package, downloaded once.

They are 14 MB of WebAssembly and two scripts, MIT licence, and stay in the user's cache; the page itself downloads
nothing.
"""

import base64
import hashlib
import io
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

from pipeline.storage import store
from pipeline.storage.atomic import aside_folder, named_errors

VERSION = "1.30.0"
SOURCE = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package, as the registry's integrity field says it, base64."""
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
LARGEST = 100_000_000
"""Bytes; no file of the package is larger."""


def runtime(source: str = SOURCE, *, on_bytes: Callable[[int], object] = lambda count: None) -> Path:
    """The folder that holds `FILES`, from the cache or, the first time, from the package.

    Args:
        source: the package, at any storage URL; for machines without internet access.
        on_bytes: called with the number of bytes after each chunk.

    Raises:
        ConnectionError: the package cannot be fetched.
        FileNotFoundError: there is no package at the address.
        ValueError: it is another package than the one this version was tested with.
    """
    folder = _folder()
    if is_cached():
        return folder
    package = io.BytesIO()
    for piece in store.stream(source):
        package.write(piece)
        on_bytes(len(piece))
    if base64.b64encode(hashlib.sha512(package.getvalue()).digest()).decode() != SHA512:
        raise ValueError(
            f"{source} is not onnxruntime-web {VERSION} as this version knows it (its sha512 is another); "
            "give the package itself by --runtime"
        )
    package.seek(0)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with aside_folder(folder) as staging, named_errors(folder):
        with tarfile.open(fileobj=package, mode="r:gz") as archive:
            for name in FILES:
                member = archive.extractfile(f"package/dist/{name}")
                assert member is not None  # the sha512 says so
                (staging / name).write_bytes(member.read(LARGEST))
        shutil.rmtree(folder, ignore_errors=True)
        staging.rename(folder)
    return folder


def cache() -> Path:
    """The user's cache folder of this project."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightweight-hrnet"


def is_cached() -> bool:
    """Whether the files are in the cache."""
    return all((_folder() / name).is_file() for name in FILES)


def _folder() -> Path:
    return cache() / f"onnxruntime-web-{VERSION}"
