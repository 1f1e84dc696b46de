"""Frames on a pipe: messages of processes that share memory, with or without their contents.

A frame is a head (kind, whether the contents lie in shared memory, how many parts), the length of each part,
and the parts themselves unless they lie there.
"""

from __future__ import annotations

import os
import struct
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

__all__ = ["ALIGNED", "BEAT", "FAILED", "MESSAGE", "Frame", "Pipe", "Room", "beat", "bytes_of"]

BEAT, MESSAGE, FAILED = b"B", b"M", b"F"  # a sign of life, a message, words of what has gone wrong
ALIGNED = 64
_HEAD = struct.Struct("<c?I")


class Frame(NamedTuple):
    """A message: its kind and its parts."""

    kind: bytes
    parts: list[memoryview]


class Room:
    """A part of shared memory that one process writes messages into, and others read them from."""

    def __init__(self, memory: memoryview) -> None:
        self._memory = memory

    def write(self, parts: Sequence[memoryview]) -> bool:
        """Put a message there; False if it does not fit."""
        if sum(_padded(part.nbytes) for part in parts) > self._memory.nbytes:
            return False
        at = 0
        for part in parts:
            # Through NumPy, which copies large pieces faster than a memoryview does.
            np.frombuffer(self._memory, np.uint8, part.nbytes, at)[...] = np.frombuffer(part, np.uint8)
            at += _padded(part.nbytes)
        return True

    def read(self, lengths: Sequence[int]) -> list[memoryview]:
        """The parts of a message of these lengths, where they lie."""
        at, found = 0, []
        for length in lengths:
            found.append(self._memory[at : at + length])
            at += _padded(length)
        return found


class Pipe:
    """Two ends of pipes, and the rooms whose contents frames may tell of.

    Parameters
    ----------
    reads, writes : int
        File descriptors.
    theirs, ours : Room
        Where the other side's messages lie, and where those of this side go.
    """

    def __init__(self, reads: int, writes: int, theirs: Room, ours: Room) -> None:
        self._reads, self._writes, self._theirs, self._ours = reads, writes, theirs, ours
        self._lock = threading.Lock()
        self.last = time.monotonic()  # when something was read

    def send(self, kind: bytes, parts: Sequence[Any] = (), *, shared: bool = False) -> None:
        """Write a frame. With ``shared`` its parts lie in our room already, or are put there if they fit."""
        found = [bytes_of(part) for part in parts]
        shared = shared or (bool(found) and self._ours.write(found))
        lengths = [part.nbytes for part in found]
        head = _HEAD.pack(kind, shared, len(found)) + struct.pack(f"<{len(found)}q", *lengths)
        with self._lock:
            self._write(head)
            for part in () if shared else found:
                self._write(part)

    def _write(self, data: Any) -> None:
        left = memoryview(data).cast("B")
        while left.nbytes:
            left = left[os.write(self._writes, left) :]

    def receive(self) -> Frame:
        """The next frame; EOFError at the end."""
        kind, shared, count = _HEAD.unpack(self._read(_HEAD.size))
        lengths = struct.unpack(f"<{count}q", self._read(8 * count))
        if shared:
            return Frame(kind, self._theirs.read(lengths))
        return Frame(kind, [memoryview(self._read(length)) for length in lengths])

    def _read(self, size: int) -> bytearray:
        found = bytearray(size)
        left = memoryview(found)
        while left.nbytes:
            count = os.readv(self._reads, [left[: 1 << 20]]) if hasattr(os, "readv") else self._plain(left)
            if not count:
                raise EOFError
            self.last = time.monotonic()
            left = left[count:]
        return found

    def _plain(self, left: memoryview) -> int:
        data = os.read(self._reads, min(left.nbytes, 1 << 16))
        left[: len(data)] = data
        return len(data)


def beat(pipe: Pipe, seconds: float, ended: Callable[[], None]) -> threading.Thread:
    """Send signs of life from a thread; ``ended`` is called when nobody reads them any more."""

    parent = os.getppid()

    def run() -> None:
        pause = threading.Event()
        try:
            while not pause.wait(seconds):
                if os.getppid() != parent:  # whoever it has forked may still hold the other end
                    ended()
                pipe.send(BEAT)
        except OSError:
            ended()

    thread = threading.Thread(target=run, daemon=True, name="rewire-heartbeat")
    thread.start()
    return thread


def bytes_of(part: Any) -> memoryview:
    """A piece of memory as bytes."""
    return memoryview(part).cast("B")


def _padded(length: int) -> int:
    return -(-length // ALIGNED) * ALIGNED
