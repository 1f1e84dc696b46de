"""torch.distributed with gloo: processes that torchrun has started, where PyTorch is there anyway.

torchrun ends all of them when one has died, and starts all anew if it is told to. If it has died itself,
rank 0 ends, and with it the others: nobody would be left to do so.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rewire.errors import WorkerError
from rewire.workers.comm import Parts
from rewire.workers.pipes import bytes_of

__all__ = ["Gloo"]

_FOREVER = datetime.timedelta(days=30)  # that a rank waits for rank 0, which may evaluate or save
_PAUSE = 0.05  # seconds between two looks at signals
_BEATS = 5.0  # signs of life in the time that a silence may take
_STILL = -1  # pieces of a message that is no answer yet, but a sign of life
_CURE = "go on from the last checkpoint, with as many ranks or fewer"


class Gloo:
    """All ranks of a group of our own."""

    def __init__(self) -> None:
        import torch
        import torch.distributed as distributed

        self._torch, self._d = torch, distributed
        begun_here = not distributed.is_initialized()
        if begun_here:
            distributed.init_process_group("gloo", timeout=_FOREVER)
        self._group = distributed.new_group(backend="gloo", timeout=_FOREVER)
        self.rank, self.size = int(distributed.get_rank()), int(distributed.get_world_size())
        self.beside = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        self.timeout = 300.0
        self._launcher = os.getppid()
        self._coming: _Coming | None = None
        self._sending, self._waited = threading.Lock(), False  # whether rank 0 waits for this rank
        self._stop = threading.Event()
        atexit.register(self._leave, everything=begun_here)

    def _leave(self, everything: bool) -> None:
        """Destroy what was made here: threads of a group that is left may abort a process that is done."""
        with contextlib.suppress(RuntimeError, ValueError, AssertionError):  # somebody has done it already
            if self._d.is_initialized():
                self._d.destroy_process_group(None if everything else self._group)

    def begin(self, timeout: float) -> None:
        """A call of ``fit`` begins; this silence is allowed."""
        self.timeout = timeout
        if self.rank:
            self._stop = stop = threading.Event()
            threading.Thread(target=self._beat, args=(stop, timeout / _BEATS), daemon=True).start()

    def end(self) -> None:
        """It is over."""
        self._waited = False
        self._stop.set()

    def _beat(self, stop: threading.Event, seconds: float) -> None:
        """Tell rank 0 now and then that an answer is still to come: reading a file may take long."""
        still = self._torch.tensor([_STILL], dtype=self._torch.int64)
        while not stop.wait(seconds):
            with self._sending, contextlib.suppress(RuntimeError):  # if it is gone, the answer says so
                if self._waited:
                    self._d.send(still, 0, group=self._group)

    def _tensor(self, part: Any) -> Any:
        return self._torch.from_numpy(np.frombuffer(part, np.uint8))

    def bcast(self, parts: Parts | None) -> list[memoryview]:
        found = [bytes_of(part) for part in parts or ()]
        count = self._torch.tensor([len(found)], dtype=self._torch.int64)
        self._broadcast(count)
        sizes = [part.nbytes for part in found] or [0] * int(count)
        lengths = self._torch.tensor(sizes, dtype=self._torch.int64)
        self._broadcast(lengths)
        if self.rank:
            found = [memoryview(bytearray(int(length))) for length in lengths]
        for part in found:
            if part.nbytes:
                # What is given may be read-only, and torch wants to be sure that nobody writes into it.
                held = self._tensor(bytearray(part) if part.readonly else part)
                self._broadcast(held)
        self._waited = self.rank > 0
        return found

    def _broadcast(self, tensor: Any) -> None:
        try:
            self._d.broadcast(tensor, 0, group=self._group)
        except RuntimeError as error:
            words = str(error).partition("\n")[0]
            raise WorkerError(
                f"rank {self.rank} of {self.size} has lost the others ({words}); {_CURE}"
            ) from error

    def gather(self, parts: Parts) -> list[list[memoryview]]:
        own = [bytes_of(part) for part in parts]
        if self.rank:
            with self._sending:
                self._waited = False
            lengths = self._torch.tensor([len(own), *(part.nbytes for part in own)], dtype=self._torch.int64)
            self._d.send(lengths[:1].clone(), 0, group=self._group)
            self._d.send(lengths[1:].clone(), 0, group=self._group)
            for part in own:
                if part.nbytes:
                    held = self._tensor(bytearray(part) if part.readonly else part)
                    self._d.send(held, 0, group=self._group)
            return []
        if os.getppid() != self._launcher:
            raise WorkerError(f"the launcher of these {self.size} ranks has ended; {_CURE}")
        if self._coming is not None:  # of a step that was cut: nobody wants it any more
            self._wait()
        self._coming = _Coming(lambda: [self._from(rank) for rank in range(1, self.size)])
        return [own, *self._wait()]

    def _wait(self) -> list[list[memoryview]]:
        """What is on its way; Ctrl-C is heard meanwhile, which it is not inside of torch."""
        assert self._coming is not None
        while not self._coming.done.wait(_PAUSE):
            pass
        coming, self._coming = self._coming, None
        if coming.error is not None:
            raise coming.error
        return coming.found

    def _from(self, rank: int) -> list[memoryview]:
        count = self._torch.tensor([_STILL], dtype=self._torch.int64)
        while int(count) == _STILL:
            self._receive(count, rank)
        lengths = self._torch.empty(int(count), dtype=self._torch.int64)
        self._receive(lengths, rank)
        found = [memoryview(bytearray(int(length))) for length in lengths]
        for part in found:
            if part.nbytes:
                self._receive(self._tensor(part), rank)
        return found

    def _receive(self, tensor: Any, rank: int) -> None:
        """Wait for a tensor of a rank; WorkerError if it does not come."""
        begin = time.monotonic()
        try:
            work = self._d.irecv(tensor, rank, group=self._group)
            work.wait(datetime.timedelta(seconds=self.timeout))
        except RuntimeError as error:
            silent = time.monotonic() - begin >= self.timeout
            what = f"is gone ({error})"
            if silent:
                what = f"has given no sign of life for {self.timeout:g} seconds"
            raise WorkerError(f"rank {rank} of {self.size} {what}; {_CURE}") from error


class _Coming:
    """Answers that a thread waits for."""

    def __init__(self, receive: Callable[[], list[list[memoryview]]]) -> None:
        self.done = threading.Event()
        self.found: list[list[memoryview]] = []
        self.error: BaseException | None = None
        threading.Thread(target=self._run, args=(receive,), daemon=True, name="rewire-gloo").start()

    def _run(self, receive: Callable[[], list[list[memoryview]]]) -> None:
        try:
            self.found = receive()
        except BaseException as error:
            self.error = error
        self.done.set()
