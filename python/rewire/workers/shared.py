"""Memory that several processes see, and that is gone with the last of them, however they end.

It has no name that could be left behind: on POSIX systems it is a file without a place in a folder, handed on
by its descriptor; on Windows a mapping that the system counts.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys

try:
    import fcntl
except ImportError:  # Windows: no descriptor is handed on there
    fcntl = None  # type: ignore[assignment]  # a module elsewhere

__all__ = ["SharedMemory", "pipe_above_standard"]

_STANDARD = 3  # descriptors that mean something to every process


class SharedMemory:
    """So many bytes.

    Attributes
    ----------
    handle : int or str
        What another process opens it by: a descriptor that it inherits, or a word.
    memory : memoryview
    """

    handle: int | str

    def __init__(self, nbytes: int) -> None:
        self.nbytes = max(1, nbytes)
        if sys.platform == "win32":
            self.handle = word = f"rewire-{os.urandom(16).hex()}"
            self._map = mmap.mmap(-1, self.nbytes, tagname=word)
        else:
            self.handle = file = _file()
            try:
                self.handle = file = above_standard(file)
                if hasattr(
                    os, "posix_fallocate"
                ):  # all of it at once: later a signal would say that it is short
                    os.posix_fallocate(file, 0, self.nbytes)
                else:
                    os.ftruncate(file, self.nbytes)
                self._map = mmap.mmap(file, self.nbytes)
            except BaseException:
                self.release()
                raise
        self.memory = memoryview(self._map)

    @classmethod
    def inherited(cls, handle: int | str, nbytes: int) -> SharedMemory:
        """That of the process which has started this one."""
        found = cls.__new__(cls)
        found.handle, found.nbytes = handle, nbytes
        if isinstance(handle, int):
            found._map = mmap.mmap(handle, nbytes)
            found.release()  # the mapping stays
        else:
            found._map = mmap.mmap(-1, nbytes, tagname=handle)  # type: ignore[call-arg]
        found.memory = memoryview(found._map)
        return found

    def __del__(self) -> None:
        self.release()

    def close(self) -> None:
        """Give up the memory too, or leave that to whoever still looks at a piece of it."""
        self.release()
        with contextlib.suppress(BufferError):
            self.memory.release()
            self._map.close()

    def release(self) -> None:
        """Give up the descriptor; the memory goes when nobody looks at it any more."""
        if isinstance(self.__dict__.get("handle"), int):
            file, self.handle = int(self.handle), ""
            os.close(file)


def above_standard(file: int) -> int:
    """The same under a number that is nobody's input, output or errors.

    Where these are closed, as a daemon's may be, what is opened next gets their numbers, and a process that
    inherits it has something else under them. Where there is none left, the file stays as it is.
    """
    if file >= _STANDARD:
        return file
    found = fcntl.fcntl(file, fcntl.F_DUPFD_CLOEXEC, _STANDARD)
    os.close(file)
    return found


def pipe_above_standard() -> tuple[int, int]:
    """Where a pipe is read and where it is written."""
    ends = list(os.pipe())
    try:
        for which in (0, 1):
            ends[which] = above_standard(ends[which])
    except BaseException:
        for end in ends:
            os.close(end)
        raise
    return ends[0], ends[1]


def _file() -> int:
    """A file that is in no folder."""
    create = getattr(os, "memfd_create", None)
    if create is not None:
        return int(create("rewire"))
    path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"rewire-{os.urandom(16).hex()}")
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(path)
    return file
