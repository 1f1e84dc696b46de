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
        self._writers: list[weakref.ref[_Use]] = []  # the latest inside of those before it
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
        self._writers = [use for use in self._writers if (writer := use()) and writer.thread == me]

    def _writing(self) -> _Use | None:
        """Who writes: the innermost whose use is not over."""
        for of in reversed(self._writers):  # no generator: an exception that comes as it closes is lost
            if (use := of()) is not None:
                return use
        return None

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

    def _come_in(self) -> None:
        raise NotImplementedError

    def _leave(self) -> None:
        """Also from where it has not come in, and a second time."""
        gate, removed = self._gate, (self, None)
        with gate._lock:
            gate._readers = [use for use in gate._readers if use() not in removed]
            gate._writers = [use for use in gate._writers if use() not in removed]

    def __enter__(self) -> None:
        try:
            with self._gate._lock:
                self._come_in()
        except BaseException:  # a signal handler's too, whose traceback would keep this use
            self._leave()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self._leave()
        except BaseException:
            self._leave()
            raise


class _Reading(_Use):
    """Inside, a gate has one reader more."""

    def _come_in(self) -> None:
        writer = self._gate._writing()
        self._refuse_beside(None if writer is None or writer.thread == self.thread else writer)
        self._gate._readers.append(weakref.ref(self))


class _Writing(_Use):
    """Inside, a gate has a writer."""

    def __init__(self, gate: Gate, what: str, inside: bool = False) -> None:
        super().__init__(gate, what)
        self._inside = inside

    def _come_in(self) -> None:
        writer = self._gate._writing()
        if not (self._inside and writer is not None and writer.thread == self.thread):
            self._refuse_beside(writer or self._gate._reading())
        self._gate._writers.append(weakref.ref(self))


_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for gate in _gates:
        gate.forget_other_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
