"""One safetensors file with a checksum: named arrays, and a configuration in the header.

The header's metadata holds, as text::

    format    "rewire"
    version   "1", of this layout
    rewire    the version of the package that wrote the file
    kind      what the file holds: "network" or "trainer"
    config    JSON, everything that is not an array
    checksum  "blake2b-256:" and the digest of all of that and of every array's name, dtype, shape and bytes

Any program that reads safetensors can read such a file. Reading never runs code from it: arrays are
bytes, the configuration is JSON. The checksum finds damage; it is no signature, so the callers still
check piece by piece what they have read.
"""

import hashlib
import json
import os
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from rewire._fileio import FileError, atomic_write, foreign, open_regular

FORMAT = "rewire"
VERSION = "1"
_KEYS = {"format", "version", "rewire", "kind", "config", "checksum"}
_ALGORITHM = "blake2b-256:"
_HEADER_LIMIT = 64_000_000  # bytes: the history of 150,000 epochs
_MOST_ARRAYS = 32_000  # a layer has about ten
_PIECE = 1 << 16  # characters of a configuration that are looked at together

# What JSON may hold of the signs that cost memory when it is parsed: so many, and one for every so many
# bytes. An empty list of 3 bytes takes 70, so a small file could ask for much; a row of a history has a
# bracket in 57 bytes and a quotation mark in 13.
_SIGNS = (("[{", 100_000, 48), ('"', 350_000, 10))

# safetensors' names of the dtypes that rewire stores
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


def write(
    path: str | os.PathLike[str],
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    package_version: str,
) -> None:
    """Write `arrays` and `config` to `path`, atomically (see `rewire._fileio`).

    Nothing is copied that is contiguous and little-endian already.

    Raises
    ------
    TypeError
        For a configuration that JSON cannot say, or an array of another dtype than those of safetensors.
    ValueError
        For a configuration so long that it could not be read again.
    OSError
        From the disk; the old file is then untouched.
    """
    tensors = {name: _plain(name, array) for name, array in arrays.items()}
    metadata = {
        "format": FORMAT,
        "version": VERSION,
        "rewire": package_version,
        "kind": kind,
        "config": json.dumps(config, separators=(",", ":")),
    }
    metadata["checksum"] = _ALGORITHM + _digest(metadata, tensors)

    header: dict[str, Any] = {"__metadata__": metadata}
    offset = 0
    order = sorted(tensors, key=lambda name: (-tensors[name].itemsize, name))  # keeps every array aligned
    for name in order:
        array = tensors[name]
        end = offset + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, end],
        }
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _HEADER_LIMIT:
        raise ValueError(
            f"cannot save: everything but the arrays takes {len(text)} bytes, at most {_HEADER_LIMIT} can be "
            "read again; with a long history, `del trainer.history.epochs[:-1000]` keeps the last 1000 epochs"
        )

    with atomic_write(path) as temporary, open(temporary, "r+b") as file:
        file.write(struct.pack("<Q", len(text)))
        file.write(text)
        for name in order:
            file.write(_bytes(tensors[name]))


def read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a file that `write` has made.

    Returns
    -------
    metadata : dict of str
        Without the configuration.
    config : dict
    arrays : dict of ndarray
        Fresh arrays, C order.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError
    FileError
        If the file is not whole, not rewire's, of a later version, or its checksum does not fit.
    """
    _check_header(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = _check_metadata(path, file.metadata())
            names = sorted(file.keys())
            if len(names) > _MOST_ARRAYS:
                raise FileError(path, f"has {len(names)} arrays, expected at most {_MOST_ARRAYS}")
            for name in names:
                dtype = file.get_slice(name).get_dtype()
                if dtype not in _DTYPES:
                    raise FileError(path, f"array {name!r} has the dtype {dtype}, which rewire never writes")
            arrays = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise FileError(path, f"is damaged: {error}") from error
    if metadata["checksum"] != _ALGORITHM + _digest(metadata, arrays):
        raise FileError(path, "is damaged: the checksum does not fit the content")
    text = metadata.pop("config")
    _check_signs(path, text.count, len(text))
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        if foreign(error):
            raise
        raise FileError(path, f"has a configuration that is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise FileError(path, f"has a configuration of type {type(config).__name__}, expected an object")
    return metadata, config, arrays


def _check_header(path: str | os.PathLike[str]) -> None:
    """Compare the header's length with the file's, and look at its signs, before anything is parsed.

    In pieces: after one large block malloc would keep those of the parser, once they are free, for itself.
    """
    counts: Counter[str] = Counter()
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        start = file.read(8)
        left = min(_HEADER_LIMIT, *struct.unpack("<Q", start)) if len(start) == 8 else 0
        while left > 0 and (piece := file.read(min(left, _PIECE))):
            left -= len(piece)
            counts.update({sign: piece.count(sign.encode()) for signs, _, _ in _SIGNS for sign in signs})
    if len(start) < 8:
        raise FileError(path, f"is not a safetensors file: it has {size} bytes")
    (length,) = struct.unpack("<Q", start)
    if length > _HEADER_LIMIT:
        raise FileError(path, f"is not a safetensors file, or damaged: it claims a header of {length} bytes")
    if length > size - 8:
        raise FileError(
            path, f"is cut short or damaged: its header alone has {length} bytes, the file has {size}"
        )
    _check_signs(path, counts.__getitem__, length)


def _check_signs(path: str | os.PathLike[str], count: Callable[[str], int], length: int) -> None:
    for signs, some, portion in _SIGNS:
        found = sum(map(count, signs))
        if found > some + length // portion:
            words = f"has a header of {length} bytes with {found} signs {signs}"
            raise FileError(path, f"{words}, more than any network or run has")


def _check_metadata(path: str | os.PathLike[str], metadata: dict[str, str] | None) -> dict[str, str]:
    if not metadata or metadata.get("format") != FORMAT:
        raise FileError(path, "is a safetensors file, but not one that rewire has written")
    if metadata.get("version") != VERSION:
        found = metadata.get("version")
        raise FileError(path, f"has format version {found!r}; this rewire reads {VERSION!r}: update rewire")
    if set(metadata) != _KEYS:
        odd = ", ".join(sorted(set(metadata) ^ _KEYS))
        raise FileError(path, f"has a header with missing or unknown entries: {odd}")
    return metadata


def _digest(metadata: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]) -> str:
    """BLAKE2b over the canonical header, then over the arrays in the order of their names."""
    names = sorted(arrays)
    described = [[name, _NAMES[arrays[name].dtype], list(arrays[name].shape)] for name in names]
    said = sorted((key, value) for key, value in metadata.items() if key != "checksum")
    length = sum(map(len, _canonical(said, described)))
    digest = hashlib.blake2b(struct.pack("<Q", length), digest_size=32)
    for part in _canonical(said, described):
        digest.update(part)
    for name in names:
        for piece in _pieces(_bytes(arrays[name])):
            digest.update(piece)
    return digest.hexdigest()


def _canonical(said: Sequence[tuple[str, str]], described: Sequence[Any]) -> Iterator[bytes]:
    """``json.dumps([said, described])`` without spaces, in pieces: nothing long is copied whole."""
    for i, (key, value) in enumerate(said):
        yield f"{',' if i else '[['}[{json.dumps(key)},\"".encode()
        for start in range(0, len(value), _PIECE):
            yield json.dumps(value[start : start + _PIECE])[1:-1].encode()
        yield b'"]'
    yield f"{'' if said else '[['}],{json.dumps(described, separators=(',', ':'))}]".encode()


def _plain(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """`array` as C-contiguous and little-endian."""
    array = np.asarray(array)
    if array.dtype.newbyteorder("<") not in _NAMES:
        raise TypeError(f"array {name!r} has the dtype {array.dtype}, which cannot be saved")
    return np.require(array, array.dtype.newbyteorder("<"), "C")


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def _pieces(content: memoryview, size: int = 1 << 24) -> Iterator[memoryview]:
    """`content` in pieces small enough for an interrupt to be noticed between them."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
