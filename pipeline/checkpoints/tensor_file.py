"""Tensors from a file that somebody else may have written: none of its code is run, and it takes no more than its size.

PyTorch stores the records of its zip as they are, and reads packed ones too: 3 MB of those unpack to as many gigabytes.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def read_tensors(content: bytes, name: str) -> Any:
    """What `torch.save` wrote: tensors, numbers and text, in lists and dicts.

    Args:
        content: the file's bytes.
        name: of the file, for messages.

    Raises:
        ValueError: it is none, is damaged, would run code, or has packed records.
    """
    if zipfile.is_zipfile(io.BytesIO(content)):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                packed = [info.filename for info in archive.infolist() if info.compress_type != zipfile.ZIP_STORED]
        except Exception as error:  # a damaged directory may raise anything
            raise ValueError(f"{name} is no file of tensors: its directory is damaged ({_line(error)})") from None
        if packed:
            raise ValueError(f"{name} has packed records (such as {packed[0]!r}), which PyTorch does not write")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # what is no pickle, or half of one, may raise anything
        raise ValueError(f"{name} is no file of tensors that can be loaded safely ({_line(error)})") from None


def read_weights(content: bytes, name: str) -> dict[str, Tensor]:
    """The same for a state dict: tensors by name.

    Raises:
        ValueError: as `read_tensors`, or it holds something else.
    """
    found = read_tensors(content, name)
    if not isinstance(found, Mapping):
        raise ValueError(f"{name} holds a {type(found).__name__}, not weights by name")
    for key, value in found.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise ValueError(f"{name} holds a {type(value).__name__} as {key!r}, not weights by name")
    return dict(found)


def _line(error: Exception) -> str:
    """The first line of an error, without PyTorch's advice to run the file's code."""
    first = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return f"{type(error).__name__}: {first.split('. ')[0][:150]}"
