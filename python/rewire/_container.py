"""One safetensors file: a configuration, named arrays, and the digests of both.

    8 bytes     length of the header, a little-endian number
    header      JSON, padded with blanks to a multiple of 8: format, version, kind, the writer's version of
                rewire; then name, dtype, shape and place of everything that follows
    "config"    JSON, padded likewise: everything that is not an array
    arrays      little-endian, the widest dtypes first, so that each is aligned; then by name
    "digests"   of all the above in blocks, and their root: see `_blocks.py`

Any program that reads safetensors can read such a file; configuration and digests are arrays of bytes to it.
It is written from front to back and read in any order, piece by piece, each block checked against its digest
before it is used. Neither takes memory beside the arrays, nor those that are given or taken in pieces.

The header is written in one way only, and read by comparing it, byte for byte, with the one that this module
would write for the arrays that it names: so it holds no other entry, no gap and no overlap. Reading never
runs code from a file: arrays are bytes, the rest is JSON. Digests find damage; they are no signature, so the
callers still check piece by piece what they have read.
"""

import json
import math
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _blocks
from rewire._fileio import FileError, atomic_write, foreign, open_regular
from rewire._record import record

FORMAT = "rewire"
VERSION = "2"
_DRAFTS = ("1",)  # versions before the first release
_BEGIN = f'{{"__metadata__":{{"format":"{FORMAT}","version":"'.encode()  # of every header
_KEYS = ["format", "version", "rewire", "kind"]
_CONFIG, _DIGESTS = "config", "digests"
_HEADER_LIMIT = 6_000_000  # bytes: 187 an array
_MOST_ARRAYS = 32_000  # a layer has about ten
_MOST_AXES = 8
_CONFIG_LIMIT = 64_000_000  # bytes: the history of 180,000 epochs
_PIECE = 1 << 20  # bytes, or characters, that are handled at a time

# What JSON may hold of the signs that cost memory when it is parsed, for a small file could ask for much: an
# empty list of 3 bytes takes 70. So many, and one for every so many bytes. An array has 3 brackets and 10
# quotation marks in the header; a row of a history has a bracket in 42 bytes and a quotation mark in 11.
_SIGNS = {
    "header": (("[{", 100_000, _HEADER_LIMIT), ('"', 350_000, _HEADER_LIMIT)),
    "configuration": (("[{", 10_000, 36), ('"', 20_000, 9)),
}

# safetensors' names of the dtypes that rewire stores
_DTYPES = {
    "F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1", "BOOL": "|b1",
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _DTYPES.items()}


@record
class Parts:
    """An array that is saved or read piece by piece, so that no copy of it is needed.

    Attributes
    ----------
    dtype : str
    shape : tuple of int
    parts : callable
        Called when its turn has come; gives arrays of this dtype, of any shapes, that are the whole one in C
        order when their elements are put in a row.
    """

    dtype: str
    shape: tuple[int, ...]
    parts: Callable[[], Iterable[NDArray[Any]]]

    def whole(self) -> NDArray[Any]:
        """All of it in a fresh array, C order; ValueError if the parts are of another length."""
        found = np.empty(self.shape, self.dtype)
        flat, end = found.reshape(-1), 0
        for part in self.parts():
            begin, end = end, end + part.size
            if end > flat.size:
                break
            flat[begin:end] = part.reshape(-1)
        if end != flat.size:
            raise ValueError(f"the parts of an array of shape {self.shape} have other sizes")
        return found


Array = NDArray[Any] | Parts


def whole(array: Array) -> NDArray[Any]:
    """An array itself, or all of its parts."""
    return array.whole() if isinstance(array, Parts) else array


def blocks(array: Array) -> Iterator[NDArray[Any]]:
    """Its elements in C order, in flat arrays: as its parts come, or at once."""
    for part in array.parts() if isinstance(array, Parts) else [array]:
        yield np.ascontiguousarray(part).reshape(-1)


class Entry(NamedTuple):
    """What the header says of an array."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def items(self) -> int:
        """How many elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.items * np.dtype(_DTYPES[self.dtype]).itemsize


# --- the header -----------------------------------------------------------------------------


def _in_order(entries: Mapping[str, Entry]) -> list[str]:
    """Names in the order of the file."""
    return sorted(entries, key=lambda name: (-np.dtype(_DTYPES[entries[name].dtype]).itemsize, name))


def _header(metadata: Mapping[str, str], config: int, entries: Mapping[str, Entry]) -> bytes:
    """The header of a file with so many bytes of configuration and these arrays."""
    parts = {_CONFIG: Entry("U8", (config,)), **{name: entries[name] for name in _in_order(entries)}}
    body = sum(part.nbytes for part in parts.values())
    digests = 0
    while True:  # the length of the header depends on the number of digests, by its digits, and that on it
        parts[_DIGESTS] = Entry("U8", (digests // _blocks.DIGEST, _blocks.DIGEST))
        text = _header_text(metadata, parts)
        before, digests = digests, _blocks.digests_size(8 + len(text) + body)
        if digests == before:
            return text


def _header_text(metadata: Mapping[str, str], parts: Mapping[str, Entry]) -> bytes:
    said: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name, part in parts.items():
        end = start + part.nbytes
        said[name] = {"dtype": part.dtype, "shape": part.shape, "data_offsets": [start, end]}
        start = end
    text = json.dumps(said, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)


def _parse(path: str | os.PathLike[str], text: bytearray) -> tuple[dict[str, str], int, dict[str, Entry]]:
    """What `_header` was given for this text; FileError if there is nothing for which it gives this text."""
    found = _json(path, _ascii(path, text, "header"), "header")
    metadata = found.pop("__metadata__", None)
    if not isinstance(metadata, dict) or list(metadata) != _KEYS:
        raise FileError(path, f"has a header that does not say {', '.join(_KEYS)}, and nothing else")
    if not all(isinstance(value, str) for value in metadata.values()):
        raise FileError(path, f"has a header whose {', '.join(_KEYS)} are not words")
    if len(found) > _MOST_ARRAYS + 2:
        raise FileError(path, f"has {len(found) - 2} arrays, expected at most {_MOST_ARRAYS}")
    entries = {name: _entry(path, name, said) for name, said in found.items()}
    config = entries.pop(_CONFIG, None)
    entries.pop(_DIGESTS, None)
    if config is None or _header(metadata, config.items, entries) != text:
        raise FileError(path, "has a header in another form than rewire writes it")
    return metadata, config.items, entries


def _entry(path: str | os.PathLike[str], name: str, said: Any) -> Entry:
    dtype, shape = (said.get("dtype"), said.get("shape")) if isinstance(said, dict) else (None, None)
    if not isinstance(dtype, str) or dtype not in _DTYPES:
        raise FileError(path, f"array {name!r} has the dtype {dtype}, which rewire never writes")
    if isinstance(shape, list) and len(shape) <= _MOST_AXES and all(type(n) is int and n >= 0 for n in shape):
        if math.prod(n or 1 for n in shape) < 2**60:  # NumPy has no longer axes, not even of empty arrays
            return Entry(dtype, tuple(shape))
    raise FileError(path, f"array {name!r} has a shape that no array can have")


def _ascii(path: str | os.PathLike[str], text: bytearray, what: str) -> str:
    if not text.isascii():
        raise FileError(path, f"has a {what} with other characters than those of ASCII")
    return text.decode("ascii")


def _json(path: str | os.PathLike[str], text: str, what: str) -> dict[str, Any]:
    """Parse an object, after a look at the signs in it."""
    odd = _odd_signs(text, what)
    if odd is not None:
        raise FileError(path, f"has a {what} of {odd}, more than any network or run has")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        if foreign(error):
            raise
        raise FileError(path, f"has a {what} that is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise FileError(path, f"has a {what} of type {type(found).__name__}, expected an object")
    return found


def _odd_signs(text: str, what: str) -> str | None:
    """Words for so many signs that parsing might take too much memory."""
    for signs, some, portion in _SIGNS[what]:
        count = sum(map(text.count, signs))
        if count > some + len(text) // portion:
            return f"{len(text)} bytes with {count} signs {signs}"
    return None


# --- writing --------------------------------------------------------------------------------


def write(
    path: str | os.PathLike[str],
    kind: str,
    config: Mapping[str, Any],
    arrays: Mapping[str, Array],
    package_version: str,
) -> None:
    """Write `arrays` and `config` to `path`, atomically (see `rewire._fileio`).

    No array is copied whole.

    Raises
    ------
    TypeError
        For a configuration that JSON cannot say, or an array of another dtype than those of safetensors.
    ValueError
        For so long a configuration, or so many arrays, that they could not be read again.
    OSError
        From the disk; the old file is then untouched.
    """
    text = json.dumps(config, separators=(",", ":"))
    if len(text) > _CONFIG_LIMIT - 8:
        raise ValueError(
            f"cannot save: everything but the arrays takes {len(text)} bytes, at most {_CONFIG_LIMIT} can be "
            "read again; with a long history, `del trainer.history.epochs[:-1000]` keeps the last 1000 epochs"
        )
    odd = _odd_signs(text, "configuration")
    if odd is not None:
        raise ValueError(f"cannot save a description of {odd}: it could not be read again")
    if len(arrays) > _MOST_ARRAYS:
        raise ValueError(f"cannot save {len(arrays)} arrays: at most {_MOST_ARRAYS} can be read again")
    _write(path, kind, text, arrays, package_version)


def _write(
    path: str | os.PathLike[str],
    kind: str,
    config: str,
    arrays: Mapping[str, Array],
    package_version: str,
) -> None:
    """`write` without a look at what could not be read again."""
    entries = {name: _described(name, array) for name, array in arrays.items()}
    config += " " * (-len(config) % 8)
    metadata = dict(zip(_KEYS, (FORMAT, VERSION, package_version, kind), strict=True))
    header = _header(metadata, len(config), entries)
    if len(header) > _HEADER_LIMIT:
        raise ValueError(f"cannot save {len(entries)} arrays of so long names: they could not be read again")
    with atomic_write(path) as temporary, open(temporary, "r+b") as file:
        blocks = _blocks.Writer(file)
        blocks.write(struct.pack("<Q", len(header)))
        blocks.write(header)
        for start in range(0, len(config), _PIECE):
            blocks.write(config[start : start + _PIECE].encode())
        for name in _in_order(entries):
            end = blocks.written + entries[name].nbytes
            for part in _parts(arrays[name], np.dtype(_DTYPES[entries[name].dtype])):
                blocks.write(part)
            if blocks.written != end:
                raise ValueError(f"the parts of array {name!r} are {blocks.written - end:+} bytes too long")
        blocks.finish()


def _described(name: str, array: Array) -> Entry:
    dtype = np.dtype(array.dtype).newbyteorder("<")
    if dtype not in _NAMES:
        raise TypeError(f"array {name!r} has the dtype {array.dtype}, which cannot be saved")
    if name in ("__metadata__", _CONFIG, _DIGESTS):
        raise ValueError(f"an array cannot be called {name!r}, which is the name of a part of every file")
    if len(array.shape) > _MOST_AXES:
        raise ValueError(f"array {name!r} has {len(array.shape)} axes, expected at most {_MOST_AXES}")
    return Entry(_NAMES[dtype], tuple(array.shape))


def _parts(array: Array, dtype: np.dtype[Any]) -> Iterator[memoryview]:
    """Bytes of an array in C order and this dtype, in pieces; copied are only those that lie otherwise."""
    for whole in array.parts() if isinstance(array, Parts) else [array]:
        if whole.flags.c_contiguous and whole.dtype == dtype:
            yield _bytes(whole)
            continue
        step = _PIECE // dtype.itemsize
        for start in range(0, whole.size, step):
            yield _bytes(whole.flat[start : start + step].astype(dtype, casting="equiv"))


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


# --- reading --------------------------------------------------------------------------------


class Reader:
    """A file that `write` has made: what is in it, and its arrays one by one, whole or in pieces.

    Parameters
    ----------
    path : path-like
        For messages.
    file : binary file
        As from `open_regular`; open for as long as this reads from it.

    Attributes
    ----------
    metadata : dict of str
    config : dict
    entries : dict of str to Entry
        The arrays, in the order of the file.

    Raises
    ------
    FileError
        If the file is not rewire's, of another version, or damaged in what has been read so far.
    """

    def __init__(self, path: str | os.PathLike[str], file: BinaryIO) -> None:
        self._path = path
        size = os.fstat(file.fileno()).st_size
        length = _header_length(path, file.read(8 + len(_BEGIN) + 32), size)
        self._blocks = _blocks.Reader(path, file)
        if 8 + length > self._blocks.size:
            raise FileError(path, f"is cut short or damaged: its header alone has {length} bytes")
        self.metadata, config, entries = _parse(path, self._blocks.read(8, length))
        self.entries = {name: entries[name] for name in _in_order(entries)}
        self._starts: dict[str, int] = {}
        end = 8 + length + config
        for name, entry in self.entries.items():
            self._starts[name] = end
            end += entry.nbytes
        if end != self._blocks.size:
            raise FileError(path, f"has {self._blocks.size} bytes of content, its header says {end}")
        if config > _CONFIG_LIMIT:
            words = f"claims a configuration of {config} bytes, at most {_CONFIG_LIMIT} are read"
            raise FileError(path, words)
        text = _ascii(path, self._blocks.read(8 + length, config), "configuration")
        self.config = _json(path, text, "configuration")

    def array(self, name: str) -> NDArray[Any]:
        """A fresh array, C order. FileError if it is damaged."""
        entry = self.entries[name]
        found = np.empty(entry.shape, _DTYPES[entry.dtype])
        self._fill(name, self._starts[name], found)
        return found

    def pieces(self, name: str) -> Iterator[NDArray[Any]]:
        """The elements of an array in C order, in fresh arrays of up to 1 MiB. FileError as for `array`."""
        entry = self.entries[name]
        step = _PIECE // np.dtype(_DTYPES[entry.dtype]).itemsize
        for first in range(0, entry.items, step):
            found = np.empty(min(step, entry.items - first), _DTYPES[entry.dtype])
            self._fill(name, self._starts[name] + first * found.itemsize, found)
            yield found

    def parts(self, name: str) -> Parts:
        """:meth:`pieces` as an array that others take piece by piece, as long as the file is open."""
        entry = self.entries[name]
        return Parts(np.dtype(_DTYPES[entry.dtype]).name, entry.shape, partial(self.pieces, name))

    def check_rest(self) -> None:
        """FileError if what nobody has asked for is damaged."""
        self._blocks.check_rest()

    def _fill(self, name: str, start: int, out: NDArray[Any]) -> None:
        content = out.reshape(-1).view(np.uint8)
        self._blocks.read_into(start, content.data)
        if out.dtype == np.bool_ and content.size and content.max() > 1:
            raise FileError(self._path, f"array {name!r} of booleans holds others than 0 and 1")


def read(path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Any], dict[str, NDArray[Any]]]:
    """All of a file that `write` has made, once every byte of it fits its digest.

    Returns
    -------
    metadata : dict of str
    config : dict
    arrays : dict of ndarray
        Fresh arrays, C order, by name.

    Raises
    ------
    FileNotFoundError, IsADirectoryError, PermissionError, FileError
        As from `Reader`.
    """
    with open_regular(path) as file:
        reader = Reader(path, file)
        arrays = {name: reader.array(name) for name in reader.entries}
    return reader.metadata, reader.config, dict(sorted(arrays.items()))


def _header_length(path: str | os.PathLike[str], start: bytes, size: int) -> int:
    """The length of the header, after a look at the version: nothing has been compared with digests yet."""
    if len(start) < 8:
        raise FileError(path, f"is not a safetensors file: it has {size} bytes")
    (length,) = struct.unpack("<Q", start[:8])
    begin = start[8:]
    if begin.startswith(_BEGIN):
        version = begin[len(_BEGIN) :].partition(b'"')[0].decode("latin-1")
        if version in _DRAFTS:
            words = "was written by a draft of rewire, before the format of 0.1.0"
            raise FileError(path, f"{words}; only the rewire that wrote it can read it")
        if version != VERSION:
            words = f"has format version {version!r}; this rewire reads {VERSION!r}: update rewire"
            raise FileError(path, words)
    if length > min(_HEADER_LIMIT, size) and begin and not begin.startswith(b"{"):
        raise FileError(path, f"is not a safetensors file: it claims a header of {length} bytes")
    if length > _HEADER_LIMIT:
        raise FileError(path, f"is damaged: it claims a header of {length} bytes")
    if length > size - 8:
        words = f"its header alone has {length} bytes, the file has {size}"
        raise FileError(path, f"is cut short or damaged: {words}")
    if not begin.startswith(_BEGIN):
        raise FileError(path, "is a safetensors file, but not one that rewire has written")
    return length
