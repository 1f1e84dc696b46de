"""Many readers or one writer, and an error instead of a wait.

A network that is being trained must not be read half way, and two trainings of
it make no sense. Waiting would hide the mistake (and hang a callback), so the
one who comes second is told what is running.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Gate"]


class Gate:
    """Who uses a network right now.

    The thread that writes may also read: callbacks of ``fit`` predict and save.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: Counter[str] = Counter()
        self._writer: tuple[str, int] | None = None

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Hold the gate as one of many; RuntimeError while another thread writes."""
        with self._lock:
            if self._writer is not None and self._writer[1] != threading.get_ident():
                raise RuntimeError(f"{what} cannot run while {self._writer[0]} runs on this network")
            self._readers[what] += 1
        try:
            yield
        finally:
            with self._lock:
                self._readers[what] -= 1
                if not self._readers[what]:
                    del self._readers[what]

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Hold the gate alone; RuntimeError while anybody else reads or writes."""
        with self._lock:
            busy = self._writer[0] if self._writer else next(iter(self._readers), None)
            if busy is not None:
                raise RuntimeError(f"{what} cannot run while {busy} runs on this network")
            self._writer = (what, threading.get_ident())
        try:
            yield
        finally:
            with self._lock:
                self._writer = None
