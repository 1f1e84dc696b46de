"""A file that ends with its own digests: written from front to back, and checked block by block.

    content            any bytes but none, in blocks of 1 MiB; the last one may be shorter
    digest of a block  SHA-256 of a zero byte and the block
    root               SHA-256 of a byte of one and the digests of all blocks, in order
    file               content, digests of the blocks, root

Where the content ends follows from the size of the file alone, so nothing in it has to be believed before it
is checked. No digest can stand for one of the other kind, for what is hashed begins with another byte. Each
block is hashed by itself: by any thread, in any process, or when it alone is needed.
"""

import hashlib
import os
from typing import BinaryIO

from rewire._fileio import FileError

BLOCK = 1 << 20
DIGEST = 32  # bytes

_OF_BLOCK, _OF_ROOT = b"\0", b"\1"


def digests_size(content: int) -> int:
    """Bytes of the digests of so many bytes of content."""
    return DIGEST * (-(-content // BLOCK) + 1)


def content_size(size: int) -> int | None:
    """Bytes of content in a file of so many bytes; None if no file has this size."""
    rest = size - DIGEST
    content = rest - DIGEST * -(-rest // (BLOCK + DIGEST))
    return content if content > 0 and content + digests_size(content) == size else None


class Writer:
    """Writes content to a file as it comes, and then the digests; keeps 32 bytes of a block.

    Parameters
    ----------
    file : binary file
        Written from where it stands, never moved backwards.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.written = 0
        self._file = file
        self._digests: list[bytes] = []
        self._open = hashlib.sha256(_OF_BLOCK)

    def write(self, content: bytes | memoryview) -> None:
        """Write the next bytes, as few or as many as there are."""
        left = memoryview(content)
        while left:
            part = left[: BLOCK - self.written % BLOCK]  # so small that an interrupt is noticed soon
            left = left[len(part) :]
            self._open.update(part)
            self._file.write(part)
            self.written += len(part)
            if self.written % BLOCK == 0:
                self._close_block()

    def finish(self) -> None:
        """Write the digests: the file is then whole."""
        if self.written % BLOCK:
            self._close_block()
        digests = b"".join(self._digests)
        self._file.write(digests + _root(digests))

    def _close_block(self) -> None:
        self._digests.append(self._open.digest())
        self._open = hashlib.sha256(_OF_BLOCK)


class Reader:
    """Reads content anywhere in a file; no byte is given away before its block fits its digest.

    Parameters
    ----------
    path : path-like
        For messages.
    file : binary file
        Open for as long as this reads from it.

    Attributes
    ----------
    size : int
        Bytes of content.

    Raises
    ------
    FileError
        Here, if the digests do not fit their root; from each read, if a block does not fit its digest.
    """

    def __init__(self, path: str | os.PathLike[str], file: BinaryIO) -> None:
        self._path, self._file = path, file
        size = content_size(os.fstat(file.fileno()).st_size)
        if size is None:
            raise FileError(path, "is cut short or damaged: no whole file has this size")
        self.size = size
        ending = bytearray(digests_size(size))
        self._fill(size, memoryview(ending))
        self._digests = bytes(ending[:-DIGEST])
        if _root(self._digests) != ending[-DIGEST:]:
            raise FileError(path, "is cut short or damaged: it does not end with its digests")
        self._fits = bytearray(-(-size // BLOCK))  # of each block whether it has been compared
        self._kept = -1  # the block that is in the buffer
        self._buffer = bytearray(min(BLOCK, size))

    def read(self, start: int, count: int) -> bytearray:
        """``count`` bytes from ``start`` on, which lie in the content."""
        found = bytearray(count)
        self.read_into(start, memoryview(found))
        return found

    def read_into(self, start: int, out: memoryview) -> None:
        """Fill ``out`` with the bytes from ``start`` on. After a FileError it holds what was not checked."""
        while out:
            number, skip = divmod(start, BLOCK)
            length = min(BLOCK, self.size - number * BLOCK)
            part = out[: length - skip]
            if len(part) == length and number != self._kept:
                self._load(number, part)
            else:
                if number != self._kept:
                    self._kept = -1  # an exception must not leave a half of another block as this one
                    self._load(number, memoryview(self._buffer)[:length])
                    self._kept = number
                part[:] = memoryview(self._buffer)[skip : skip + len(part)]
            start += len(part)
            out = out[len(part) :]

    def check_rest(self) -> None:
        """Compare the blocks that nobody has read, so that nothing of a damaged file is taken for whole."""
        self._kept = -1
        while (number := self._fits.find(0)) >= 0:
            length = min(BLOCK, self.size - number * BLOCK)
            self._load(number, memoryview(self._buffer)[:length])

    def _load(self, number: int, block: memoryview) -> None:
        """Read a whole block and compare it with its digest."""
        begin = number * BLOCK
        self._fill(begin, block)
        digest = hashlib.sha256(_OF_BLOCK)
        digest.update(block)
        if digest.digest() != self._digests[DIGEST * number : DIGEST * (number + 1)]:
            raise FileError(
                self._path, f"is damaged: bytes {begin} to {begin + len(block) - 1} do not fit their digest"
            )
        self._fits[number] = 1

    def _fill(self, start: int, out: memoryview) -> None:
        self._file.seek(start)
        while out:
            count = self._file.readinto(out)  # type: ignore[attr-defined]  # BinaryIO does not know it
            if not count:
                raise FileError(self._path, "is cut short: it ended while it was read")
            out = out[count:]


def _root(digests: bytes) -> bytes:
    return hashlib.sha256(_OF_ROOT + digests).digest()
