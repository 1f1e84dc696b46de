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

    The thread that writes may also read and change: callbacks of ``fit`` predict, save and set weights.
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

    def changing(self, what: str) -> _Writing:
        """As :meth:`writing`, which the thread that writes already may do inside of that."""
        return _Writing(self, what, inside=True)

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

    def __init__(self, gate: Gate, what: str, inside: bool = False) -> None:
        self._gate, self._what, self._inside = gate, what, inside
        self._before: tuple[str, int] | None = None

    def __enter__(self) -> None:
        gate, me = self._gate, threading.get_ident()
        with gate._lock:
            mine = self._inside and gate._writer is not None and gate._writer[1] == me
            busy = None if mine else gate._writer or next(iter(gate._readers), None)
            if busy is not None:
                raise RuntimeError(f"{self._what} cannot run while {busy[0]} runs on this network")
            self._before, gate._writer = gate._writer, (self._what, me)

    def __exit__(self, *_: object) -> None:
        with self._gate._lock:
            self._gate._writer = self._before


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for gate in _gates:
        gate.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
