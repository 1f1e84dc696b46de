"""Reader of idx files, the format of MNIST: big-endian sizes, then the bytes of the array."""

import gzip
import io
import os
import struct
import zlib
from math import prod

import numpy as np
from numpy.typing import NDArray

from rewire._fileio import FileError, open_regular

_UINT8 = 0x08


_PIECE = 1 << 20  # bytes unpacked at a time


def decompress(content: bytes, name: str | os.PathLike[str], limit: int) -> bytes:
    """`content` without its gzip layer, if it has one (the name does not matter).

    Raises
    ------
    FileError
        If it is damaged, or holds more than `limit` bytes; no more than that is ever unpacked.
    """
    found = content
    if content[:2] == b"\x1f\x8b":
        pieces = bytearray()
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
                while len(pieces) <= limit and (piece := file.read(min(_PIECE, limit + 1 - len(pieces)))):
                    pieces += piece
        except (EOFError, zlib.error, OSError, struct.error) as error:
            raise FileError(name, f"is a damaged gzip file: {error}") from error
        found = bytes(pieces)
    if len(found) > limit:
        raise FileError(name, f"holds more than the {limit} bytes that are expected")
    return found


def parse_idx(content: bytes, name: str | os.PathLike[str], n_axes: int) -> NDArray[np.uint8]:
    """The uint8 array in the bytes of an idx file.

    Parameters
    ----------
    content : bytes
        The file, decompressed.
    name : path-like
        For the messages.
    n_axes : int
        Expected number of axes: 3 for images, 1 for labels.

    Returns
    -------
    ndarray of uint8
        Read-only, over `content`.

    Raises
    ------
    FileError
        Saying whether the magic number, the type, the number of axes or the length is wrong.
    """
    header = 4 + 4 * n_axes
    if len(content) < 4 or content[:2] != b"\0\0":
        raise FileError(name, "is not an idx file: it does not begin with two zero bytes")
    if content[2] != _UINT8:
        raise FileError(name, f"holds elements of type 0x{content[2]:02x}, expected 0x08 (uint8)")
    if content[3] != n_axes:
        raise FileError(name, f"has {content[3]} axes, expected {n_axes}")
    if len(content) < header:
        raise FileError(name, f"ends inside its header: {len(content)} bytes, expected at least {header}")
    shape = struct.unpack(f">{n_axes}I", content[4:header])
    if len(content) - header != prod(shape):
        said = " x ".join(map(str, shape))
        raise FileError(name, f"says it holds {said} bytes, but {len(content) - header} follow the header")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_idx(path: str | os.PathLike[str], n_axes: int, limit: int) -> NDArray[np.uint8]:
    """Read an idx file of at most `limit` bytes, gzip-compressed or plain. See `parse_idx`."""
    with open_regular(path) as file:
        return parse_idx(decompress(file.read(limit + 1), path, limit), path, n_axes)
