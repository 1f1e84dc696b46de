"""Many readers or one writer, and an error instead of a wait.

A network that is being trained must not be read half way, and two trainings of
it make no sense. Waiting would hide the mistake (and hang a callback), so the
one who comes second is told what is running.
"""

from __future__ import annotations

import os
import threading
import weakref

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

    def reading(self, what: str) -> _Reading:
        """Hold the gate as one of many; RuntimeError while another thread writes."""
        return _Reading(self, what)

    def writing(self, what: str) -> _Writing:
        """Hold the gate alone; RuntimeError while anybody else reads or writes."""
        return _Writing(self, what)

    def forget_other_threads(self) -> None:
        """Let only the calling thread stay inside: in a forked child no other is left."""
        me = threading.get_ident()
        self._lock = threading.Lock()  # a thread that is gone may have held it
        self._readers = [reader for reader in self._readers if reader[1] == me]
        if self._writer is not None and self._writer[1] != me:
            self._writer = None


class _Reading:
    """Inside, a gate has one reader more."""

    def __init__(self, gate: Gate, what: str) -> None:
        self._gate, self._what = gate, what

    def __enter__(self) -> None:
        gate = self._gate
        self._reader = reader = self._what, threading.get_ident()
        with gate._lock:
            if gate._writer is not None and gate._writer[1] != reader[1]:
                raise RuntimeError(f"{self._what} cannot run while {gate._writer[0]} runs on this network")
            gate._readers.append(reader)

    def __exit__(self, *_: object) -> None:
        with self._gate._lock:
            self._gate._readers.remove(self._reader)


class _Writing:
    """Inside, a gate has a writer."""

    def __init__(self, gate: Gate, what: str) -> None:
        self._gate, self._what = gate, what

    def __enter__(self) -> None:
        gate = self._gate
        with gate._lock:
            busy = gate._writer or next(iter(gate._readers), None)
            if busy is not None:
                raise RuntimeError(f"{self._what} cannot run while {busy[0]} runs on this network")
            gate._writer = (self._what, threading.get_ident())

    def __exit__(self, *_: object) -> None:
        with self._gate._lock:
            self._gate._writer = None


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for gate in _gates:
        gate.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
