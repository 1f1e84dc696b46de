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
        # An exception of somebody's signal handler may come where a use begins or ends. Nobody has that use
        # any more then, and it is over: references to those that are under way are weak.
        self._readers: list[weakref.ref[_Use]] = []
        self._writer: weakref.ref[_Use] | None = None
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
        self._readers = [use for use in self._readers if (reader := use()) and reader.thread == me]
        writer = self._writing()
        if writer is not None and writer.thread != me:
            self._writer = None

    def _writing(self) -> _Use | None:
        """Who writes."""
        return None if self._writer is None else self._writer()

    def _reading(self) -> _Use | None:
        """Somebody who reads."""
        self._readers = [use for use in self._readers if use() is not None]
        return self._readers[0]() if self._readers else None


class _Use:
    """What somebody does with a network, and in which thread."""

    def __init__(self, gate: Gate, what: str) -> None:
        self._gate, self.what = gate, what
        self.thread = threading.get_ident()

    def _refuse_beside(self, other: _Use | None) -> None:
        if other is not None:
            raise RuntimeError(f"{self.what} cannot run while {other.what} runs on this network")


class _Reading(_Use):
    """Inside, a gate has one reader more."""

    def __enter__(self) -> None:
        gate = self._gate
        with gate._lock:
            writer = gate._writing()
            self._refuse_beside(None if writer is None or writer.thread == self.thread else writer)
            gate._readers.append(weakref.ref(self))

    def __exit__(self, *_: object) -> None:
        with self._gate._lock:
            self._gate._readers.remove(weakref.ref(self))


class _Writing(_Use):
    """Inside, a gate has a writer."""

    def __init__(self, gate: Gate, what: str, inside: bool = False) -> None:
        super().__init__(gate, what)
        self._inside = inside
        self._before: weakref.ref[_Use] | None = None

    def __enter__(self) -> None:
        gate = self._gate
        with gate._lock:
            writer = gate._writing()
            if not (self._inside and writer is not None and writer.thread == self.thread):
                self._refuse_beside(writer or gate._reading())
            self._before, gate._writer = gate._writer, weakref.ref(self)

    def __exit__(self, *_: object) -> None:
        with self._gate._lock:
            self._gate._writer = self._before


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for gate in _gates:
        gate.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
