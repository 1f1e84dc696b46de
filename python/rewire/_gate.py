"""Many readers or one writer, and an error instead of a wait.

A network that is being trained must not be read half way, and two trainings of
it make no sense. Waiting would hide the mistake (and hang a callback), so the
one who comes second is told what is running.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Gate"]


class Gate:
    """Who uses a network right now.

    The thread that writes may also read: callbacks of ``fit`` predict and save.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers: list[tuple[str, int]] = []  # what, and the thread that does it
        self._writer: tuple[str, int] | None = None
        _gates.add(self)

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """Hold the gate as one of many; RuntimeError while another thread writes."""
        reader = what, threading.get_ident()
        with self._lock:
            if self._writer is not None and self._writer[1] != reader[1]:
                raise RuntimeError(f"{what} cannot run while {self._writer[0]} runs on this network")
            self._readers.append(reader)
        try:
            yield
        finally:
            with self._lock:
                self._readers.remove(reader)

    @contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Hold the gate alone; RuntimeError while anybody else reads or writes."""
        with self._lock:
            busy = self._writer or next(iter(self._readers), None)
            if busy is not None:
                raise RuntimeError(f"{what} cannot run while {busy[0]} runs on this network")
            self._writer = (what, threading.get_ident())
        try:
            yield
        finally:
            with self._lock:
                self._writer = None

    def forget_other_threads(self) -> None:
        """Let only the calling thread stay inside: in a forked child no other is left."""
        me = threading.get_ident()
        self._lock = threading.Lock()  # a thread that is gone may have held it
        self._readers = [reader for reader in self._readers if reader[1] == me]
        if self._writer is not None and self._writer[1] != me:
            self._writer = None


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for gate in _gates:
        gate.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
