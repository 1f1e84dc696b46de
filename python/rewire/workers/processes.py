"""Processes of one machine that share memory: the engine that needs nothing to be installed.

Each worker is a Python of its own that imports rewire, and not the script that has started it: a script needs
no guard of its `__main__`. What they share is memory without a name, and what they are told comes through
pipes. So a worker whose parent is gone, in whatever way, reads the end of its pipe and ends; and rank 0 reads
the end of the pipe of a worker that has died. Between messages a worker gives signs of life from a thread,
also while it computes.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rewire._elsewhere import how_it_ended
from rewire.errors import WorkerError
from rewire.threads import BLAS_VARIABLES
from rewire.workers.comm import Parts
from rewire.workers.pipes import ALIGNED, BEAT, FAILED, MESSAGE, Frame, Pipe, Room, bytes_of
from rewire.workers.shared import SharedMemory, pipe_above_standard

__all__ = ["COMMAND", "Follower", "Leader"]

COMMAND = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from rewire.workers.child import main; main(json.loads(sys.argv[2]))"
)
START_SECONDS = 300.0  # that a worker gets to import rewire, at least
BEATS = 5  # signs of life in the time after which silence is an error
_PAUSE = 0.05  # seconds between two looks at the time, and at signals
_ENDED = b"G"


class Leader:
    """Rank 0: it starts the others, and ends them.

    Parameters
    ----------
    size : int
        Processes, this one included.
    job : sequence of buffers
        What all get to begin with: it goes into memory that they share.
    message, answer : int
        Bytes of a message of usual length, and of an answer to it. Longer ones go through pipes.
    threads : int
        Of each worker.
    timeout : float
        Seconds of silence after which a worker is given up.
    apart : bool
        Whether each has a room of its own for messages, so that it can be told what others are not while
        these still read theirs; else one room is for all.

    Raises
    ------
    MemoryError
        If memory to be shared is short.
    """

    rank = 0

    def __init__(
        self, size: int, job: Parts, *, message: int, answer: int, threads: int, timeout: float,
        apart: bool = False,
    ) -> None:  # fmt: skip
        self.size, self.timeout = size, timeout
        pieces = [bytes_of(part) for part in job]
        self._lengths = [piece.nbytes for piece in pieces]
        message, answer = (-(-n // ALIGNED) * ALIGNED for n in (message, answer))
        self._job = _memory(sum(-(-n // ALIGNED) * ALIGNED for n in self._lengths))
        try:
            self._rooms = _memory((size - 1 if apart else 1) * message + (size - 1) * answer)
        except BaseException:
            self._job.release()
            raise
        Room(self._job.memory).write(pieces)
        self._sizes, self._apart = (message, answer), apart
        self._nowhere = Room(memoryview(b""))
        self._for_all = self._nowhere if apart else Room(self._rooms.memory[:message])
        self._inbox: queue.SimpleQueue[tuple[int, Frame]] = queue.SimpleQueue()
        self._there: set[int] = set()  # who has begun
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._pipes: dict[int, Pipe] = {}
        self._reads: dict[int, int] = {}  # descriptors
        self._threads_of: dict[int, threading.Thread] = {}
        self._threads = threads
        self._looked = 0.0  # when silence was looked for

    # --- life -----------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            for rank in range(1, self.size):
                self._start(rank)
            self._job.release()
            self._rooms.release()
            self.gather([])  # all are there
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def _start(self, rank: int) -> None:
        message, answer = self._sizes
        told = (rank - 1) * message if self._apart else 0
        answers = self._rooms.nbytes - (self.size - rank) * answer
        said: dict[str, Any] = {
            "rank": rank, "size": self.size, "lengths": self._lengths,
            "job": [self._job.handle, self._job.nbytes], "rooms": [self._rooms.handle, self._rooms.nbytes],
            "message": [told, told + message], "answer": [answers, answers + answer],
            "beat": min(1.0, self.timeout / BEATS),
        }  # fmt: skip
        number = str(self._threads)
        handles = [h for h in (self._job.handle, self._rooms.handle) if isinstance(h, int)]
        options: dict[str, Any] = {"stdout": subprocess.PIPE}
        if os.name == "posix":
            # Answers have a pipe of their own: whatever is printed there, from the start, goes to stderr.
            self._reads[rank], said["writes"] = pipe_above_standard()
            options = {
                "stdout": _stderr(), "pass_fds": [*handles, said["writes"]],
                "process_group": 0,  # Ctrl-C is for rank 0
            }  # fmt: skip
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", COMMAND, json.dumps([*map(str, sys.path)]), json.dumps(said)],
                stdin=subprocess.PIPE, bufsize=0, **options,
                env={**os.environ, **dict.fromkeys((*BLAS_VARIABLES, "REWIRE_NUM_THREADS"), number)},
            )  # fmt: skip
        finally:
            if "writes" in said:
                os.close(said["writes"])
        self._processes[rank] = process
        assert process.stdin is not None
        if process.stdout is not None:
            self._reads[rank] = process.stdout.fileno()
        theirs = Room(self._rooms.memory[slice(*said["answer"])])
        ours = Room(self._rooms.memory[slice(*said["message"])]) if self._apart else self._nowhere
        self._pipes[rank] = Pipe(self._reads[rank], process.stdin.fileno(), theirs, ours)
        thread = threading.Thread(
            target=self._read_all, args=(rank,), daemon=True, name=f"rewire-worker-{rank}"
        )
        self._threads_of[rank] = thread
        thread.start()

    def _read_all(self, rank: int) -> None:
        """Put what a worker says into the inbox, and its end."""
        try:
            while True:
                frame = self._pipes[rank].receive()
                if frame.kind != BEAT:
                    self._there.add(rank)
                    self._inbox.put((rank, frame))
        except Exception:  # the end, or what is no frame: nothing more can be read
            pass
        finally:
            self._inbox.put((rank, Frame(_ENDED, [])))

    def end(self) -> None:
        """End all workers: they keep nothing that would be lost."""
        for process in self._processes.values():
            with contextlib.suppress(OSError):
                process.kill()
        for rank, process in self._processes.items():
            process.wait()
            if rank in self._threads_of:
                self._threads_of[rank].join(1.0)  # or it would read from whoever gets the number of its end
            if process.stdin is not None:
                with contextlib.suppress(OSError):
                    process.stdin.close()
            if process.stdout is not None:
                process.stdout.close()
                self._reads.pop(rank, None)
        for reads in self._reads.values():
            os.close(reads)
        self._reads.clear()
        self._processes.clear()
        # Who keeps this object does not keep the memory, which may be as much as the data are.
        self._pipes.clear()
        self._for_all = self._nowhere
        self._inbox = queue.SimpleQueue()
        for memory in (self._job, self._rooms):
            memory.close()

    # --- what is said ---------------------------------------------------------------------

    def bcast(self, parts: Parts | None) -> list[memoryview]:
        pieces = [bytes_of(part) for part in parts or ()]
        shared = self._for_all.write(pieces)
        for rank, pipe in self._pipes.items():
            if not shared:
                self._refuse_deaf(rank)
            try:
                pipe.send(MESSAGE, pieces, shared=shared)
            except OSError:
                raise self._dead(rank) from None
        return pieces

    def gather(self, parts: Parts) -> list[list[memoryview]]:
        found: dict[int, list[memoryview]] = {0: [bytes_of(part) for part in parts]}
        while len(found) < self.size:
            rank, said = self.receive(set(self._pipes) - set(found))
            found[rank] = said
        return [found[rank] for rank in range(self.size)]

    def tell(self, rank: int, parts: Parts) -> None:
        self._refuse_deaf(rank)
        try:
            self._pipes[rank].send(MESSAGE, parts)
        except OSError:
            raise self._dead(rank) from None

    def receive(self, waiting: set[int]) -> tuple[int, list[memoryview]]:
        while True:
            try:
                rank, frame = self._inbox.get(timeout=_PAUSE)
            except queue.Empty:
                self._refuse_silence(waiting)
                continue
            if time.monotonic() - self._looked > _PAUSE:  # whoever speaks does not speak for the others
                self._refuse_silence(waiting)
            if frame.kind == _ENDED:
                raise self._dead(rank)
            if frame.kind == FAILED:
                raise WorkerError(f"{self._who(rank)} failed: {bytes(frame.parts[0]).decode()}")
            return rank, frame.parts

    # --- what goes wrong ------------------------------------------------------------------

    def _who(self, rank: int) -> str:
        return f"worker {rank} of {self.size} (process {self._processes[rank].pid})"

    def _dead(self, rank: int) -> WorkerError:
        try:
            how = how_it_ended(self._processes[rank].wait(5.0))
        except subprocess.TimeoutExpired:
            how = "has closed its pipes"
        return WorkerError(
            f"{self._who(rank)} {how}; go on from the last checkpoint, with as many workers or fewer"
        )

    def _patience(self, rank: int) -> float:
        return self.timeout if rank in self._there else max(self.timeout, START_SECONDS)

    def _silent(self, waiting: set[int]) -> list[int]:
        now = self._looked = time.monotonic()
        return [rank for rank in sorted(waiting) if now - self._pipes[rank].last > self._patience(rank)]

    def _refuse_silence(self, waiting: set[int]) -> None:
        if silent := self._silent(waiting):
            time.sleep(_PAUSE)  # this process may have slept itself: what has come meanwhile is read now
            for rank in self._silent({*silent}):
                patience = self._patience(rank)
                raise WorkerError(
                    f"{self._who(rank)} has given no sign of life for {patience:g} seconds; go on from "
                    "the last checkpoint, with as many workers or fewer"
                )

    def _refuse_deaf(self, rank: int) -> None:
        """Before a long message: a worker that does not read would keep the writer for ever."""
        process = self._processes[rank]
        if os.name != "posix" or process.stdin is None:
            return
        while not select.select([], [process.stdin], [], _PAUSE)[1]:
            self._refuse_silence({rank})


class Follower:
    """Any other rank, in the process that :class:`Leader` has started."""

    def __init__(self, said: dict[str, Any], reads: int, writes: int) -> None:
        self.rank, self.size = said["rank"], said["size"]
        job, rooms = (SharedMemory.inherited(*said[name]) for name in ("job", "rooms"))
        theirs, ours = (Room(rooms.memory[slice(*said[name])]) for name in ("message", "answer"))
        self.pipe = Pipe(reads, writes, theirs, ours)
        self.job: Sequence[memoryview] = Room(job.memory).read(said["lengths"])

    def bcast(self, parts: Parts | None) -> list[memoryview]:
        return self.pipe.receive().parts

    def gather(self, parts: Parts) -> list[list[memoryview]]:
        self.pipe.send(MESSAGE, parts)
        return []


def _memory(nbytes: int) -> SharedMemory:
    try:
        return SharedMemory(nbytes)
    except OSError as error:
        raise MemoryError(f"workers: no {nbytes} bytes of memory to share: {error}") from error


def _stderr() -> int:
    """Where a worker's prints go: to our errors, or nowhere if these are closed."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2
