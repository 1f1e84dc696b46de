"""MPI: processes that mpiexec or srun has started, on one machine or many, by way of mpi4py.

Everything is asked for and then waited for with pauses: a rank that waits takes no processor from those that
compute, and rank 0 sees how long nobody has said anything. Signs of life come from a thread where MPI allows
threads. MPI itself ends all ranks when one is killed; a rank that raises is made to abort all of them.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from rewire.errors import WorkerError
from rewire.workers.comm import Parts
from rewire.workers.pipes import bytes_of

__all__ = ["Mpi"]

_COUNT, _LENGTHS, _PART, _BEAT = range(4)  # tags
_SHORT, _LONG = 20e-6, 2e-3  # seconds between two looks: at first, and after a while
_BEATS = 5
_PIECE = 1 << 30  # bytes that one message may have


class Mpi:
    """All ranks of ``MPI.COMM_WORLD``, in a communicator of our own."""

    def __init__(self) -> None:
        from mpi4py import MPI

        self._mpi, self._comm, self._beats = MPI, MPI.COMM_WORLD.Dup(), MPI.COMM_WORLD.Dup()
        self.rank, self.size = int(self._comm.rank), int(self._comm.size)
        self.beside = _beside(int(self._comm.Split_type(MPI.COMM_TYPE_SHARED).size))
        self.timeout = 300.0
        self._last_beat: dict[int, float] = {}
        self._stop: threading.Event | None = None

    # --- signs of life --------------------------------------------------------------------

    def begin(self, timeout: float) -> None:
        """A call of ``fit`` begins; this silence is allowed."""
        self.timeout = timeout
        if self.rank and self._mpi.Query_thread() == self._mpi.THREAD_MULTIPLE:
            self._stop = stop = threading.Event()
            threading.Thread(target=self._beat, args=(stop, timeout / _BEATS), daemon=True).start()

    def end(self) -> None:
        """It is over."""
        if self._stop is not None:
            self._stop.set()

    def _beat(self, stop: threading.Event, seconds: float) -> None:
        nothing = np.zeros(1, np.int64)
        while not stop.wait(seconds):
            self._beats.Isend(nothing, 0, _BEAT)  # small: it is on its way at once

    def _take_beats(self) -> None:
        """Take the signs of life that have come."""
        status, nothing = self._mpi.Status(), np.empty(1, np.int64)
        while self._beats.Iprobe(tag=_BEAT, status=status):
            self._beats.Recv(nothing, status.Get_source(), _BEAT)
            self._last_beat[status.Get_source()] = time.monotonic()

    # --- messages -------------------------------------------------------------------------

    def bcast(self, parts: Parts | None) -> list[memoryview]:
        found = [bytes_of(part) for part in parts or ()]
        count = np.array([len(found)], np.int64)
        self._done(self._comm.Ibcast(count, 0))
        lengths = np.array([part.nbytes for part in found] or [0] * int(count[0]), np.int64)
        self._done(self._comm.Ibcast(lengths, 0))
        if self.rank:
            found = [memoryview(bytearray(int(length))) for length in lengths]
        for part in found:
            for piece in _pieces(part):
                self._done(self._comm.Ibcast([piece, self._mpi.BYTE], 0))
        return found

    def gather(self, parts: Parts) -> list[list[memoryview]]:
        own = [bytes_of(part) for part in parts]
        if self.rank:
            lengths = np.array([part.nbytes for part in own], np.int64)
            self._done(self._comm.Isend(np.array([len(own)], np.int64), 0, _COUNT))
            self._done(self._comm.Isend(lengths, 0, _LENGTHS))
            for part in own:
                for piece in _pieces(part):
                    self._done(self._comm.Isend([piece, self._mpi.BYTE], 0, _PART))
            return []
        now = time.monotonic()
        self._last_beat = dict.fromkeys(range(1, self.size), now)
        return [own, *(self._from(rank) for rank in range(1, self.size))]

    def _from(self, rank: int) -> list[memoryview]:
        """The answer of a rank; WorkerError after too long a silence."""

        def watch() -> None:
            self._take_beats()
            if time.monotonic() - self._last_beat[rank] > self.timeout:
                raise WorkerError(
                    f"rank {rank} of {self.size} has given no sign of life for {self.timeout:g} seconds; go "
                    "on from the last checkpoint, with as many ranks or fewer"
                )

        count = np.empty(1, np.int64)
        self._done(self._comm.Irecv(count, rank, _COUNT), watch)
        lengths = np.empty(int(count[0]), np.int64)
        self._done(self._comm.Irecv(lengths, rank, _LENGTHS), watch)
        found = [memoryview(bytearray(int(length))) for length in lengths]
        for part in found:
            for piece in _pieces(part):
                self._done(self._comm.Irecv([piece, self._mpi.BYTE], rank, _PART), watch)
        return found

    @staticmethod
    def _done(request: Any, watch: Callable[[], None] = lambda: None) -> None:
        pause = _SHORT
        while not request.Test():
            time.sleep(pause)
            pause = min(_LONG, pause * 1.1)
            watch()


def _pieces(part: memoryview) -> Iterator[memoryview]:
    return (part[at : at + _PIECE] for at in range(0, part.nbytes, _PIECE))


def _beside(ranks: int) -> int:
    """How many processes share the processors that this one may use: one, where a launcher has bound it."""
    affinity = getattr(os, "sched_getaffinity", None)
    bound = affinity is not None and len(affinity(0)) < (os.cpu_count() or 1)
    return 1 if bound else ranks
