"""Large arrays of an archive, mapped where they lie: those that are stored as `numpy.savez` does it."""

from __future__ import annotations

import math
import os
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._inputs import say_size
from rewire.streams.pieces import window_of

__all__ = ["mapped_member"]

_LOCAL_HEADER = 30  # bytes, before the name; see PKWARE's APPNOTE, 4.3.7
_BLOCK = 1 << 20


def mapped_member(
    path: str | os.PathLike[str], archive: zipfile.ZipFile, name: str
) -> NDArray[Any] | None:  # fmt: skip
    """An array of an archive, mapped; None for what is compressed, or fits into a window.

    All of it is read once, a little at a time, for its checksum.

    Raises
    ------
    ValueError, zipfile.BadZipFile
        For what is damaged.
    """
    member = archive.NameToInfo.get(f"{name}.npy")
    if member is None:
        return None
    if member.compress_type != zipfile.ZIP_STORED:
        if name.startswith("X"):
            say_size(
                f"{name} of {os.fspath(path)}", member.file_size,
                "numpy.savez, which does not compress, writes what is read in pieces",
            )  # fmt: skip
        return None
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in read:
            return None
        shape, by_columns, dtype = read[version](file)
        if by_columns or dtype.kind not in "fiub" or len(shape) < 2:
            return None
        each = math.prod(shape[1:])
        if not each or shape[0] <= window_of(each):
            return None
        header = file.tell()
        if member.file_size != header + shape[0] * each * dtype.itemsize:
            raise ValueError(f"{name} must have {shape} numbers, got another size")
        while file.read(_BLOCK):
            pass
    with open(path, "rb") as raw:
        raw.seek(member.header_offset)
        local = raw.read(_LOCAL_HEADER)
    begin = member.header_offset + _LOCAL_HEADER
    begin += int.from_bytes(local[26:28], "little") + int.from_bytes(local[28:30], "little")
    return np.memmap(path, dtype, "r", begin + header, shape)
