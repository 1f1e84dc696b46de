"""Ctrl-C while training: what has begun is finished first, if that does not take long.

A signal that cuts a step in two leaves a network that is valid but stands nowhere: some layers have taken
the step, others have not. So while `Interrupts` is in charge, a signal that comes inside one of its sections
waits for the section's end, `GRACE` seconds at most; then it cuts, as it does everywhere else. Where a
section took longer than that the last time, it cuts at once.

It takes charge only in the main thread, where Python runs handlers, and only of handlers that would raise
KeyboardInterrupt at once: Python's own, and the one that `terminating` installs. A handler of somebody else's
stays what it is.
"""

from __future__ import annotations

import _thread
import contextlib
import functools
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from types import CodeType, FrameType, TracebackType
from typing import Any

__all__ = ["Interrupts", "Terminating", "of_handler", "terminating"]

GRACE = 0.1  # seconds a section may go on after a signal
# What the module `signal` wraps, without its search for names of signals and handlers: a tenth of the time.
_plain: Any = sys.modules.get("_signal", signal)
_ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Terminating:
    """A handler that makes a signal the same as Ctrl-C; ``received`` is its number once it came."""

    def __init__(self) -> None:
        self.received = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if not self.received:  # what follows the first one would only disturb the saving
            self.received = number
            raise KeyboardInterrupt


@contextlib.contextmanager
def terminating() -> Iterator[Terminating]:
    """SIGTERM, and SIGHUP when a terminal closes, raise KeyboardInterrupt.

    In the main thread, and each unless somebody handles or ignores it, as nohup does.
    """
    handler = Terminating()
    taken = [number for number in _ENDING if _in_main_thread() and signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, handler)
    try:
        yield handler
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def of_handler(error: BaseException) -> bool:
    """Whether a signal handler raised it, which may happen anywhere: it is no fault of what ran there."""
    frames = {frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__)}
    return bool(
        frames & {code for number in signal.valid_signals() for code in _codes(signal.getsignal(number))}
    )


def _codes(handler: Any) -> list[CodeType]:
    """What runs when a function, a method, an object with ``__call__`` or a partial of these is called."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    calls = (handler, type(handler).__call__) if callable(handler) else ()
    return [f.__code__ for f in calls if isinstance(getattr(f, "__code__", None), CodeType)]


class Interrupts:
    """In charge of signals while it is entered; then ``with section:`` makes them wait.

    Attributes
    ----------
    wait_long : section
        For what must not be cut, however long it takes.
    """

    def __init__(self) -> None:
        self.wait_long = _Section(self, patient=True)
        self._handlers: dict[int, Any] = {}
        self._outermost: _Section | None = None
        self._depth = 0  # sections that lie within each other
        self._waiting: tuple[int, FrameType | None] | None = None
        self._lock = _thread.allocate_lock()  # of `_waiting`, between the main thread and `_remind`

    def section(self) -> _Section:
        """A new section, for something that takes about as long every time."""
        return _Section(self)

    def __enter__(self) -> Interrupts:
        # What another time has left, maybe in another thread: a section may have been cut as it began.
        self._handlers.clear()
        self._outermost, self._depth, self._waiting = None, 0, None
        if _in_main_thread():
            for number in (signal.SIGINT, *_ENDING):
                handler = _plain.getsignal(number)
                if handler is signal.default_int_handler or isinstance(handler, Terminating):
                    self._handlers[number] = handler
                    _plain.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            present = _plain.signal(number, handler)
            if present != self._receive:  # a callback has put in one of its own
                _plain.signal(number, present)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        section, again = self._outermost, self._waiting is not None
        if section is None or (not section.patient and (again or section.seconds > GRACE)):
            self._waiting = None
            self._handlers[number](number, frame)
        elif not again:
            self._waiting = waiting = (number, frame)
            if not section.patient:
                _thread.start_new_thread(self._remind, (waiting,))

    def _remind(self, waiting: tuple[int, FrameType | None]) -> None:
        """Send the signal again if it still waits; in a thread, for the main one is busy."""
        time.sleep(GRACE)
        with self._lock:
            if self._waiting is waiting:
                _thread.interrupt_main(signal.Signals(waiting[0]))

    def forget(self) -> None:
        """What has waited does not happen."""
        with self._lock:
            self._waiting = None

    def _deliver(self) -> None:
        """What has waited happens now."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._handlers[waiting[0]](*waiting)


class _Section:
    """Something that signals do not cut; sections may lie within each other."""

    def __init__(self, interrupts: Interrupts, patient: bool = False) -> None:
        self._interrupts, self.patient = interrupts, patient
        self.seconds = 0.0  # that it took the last time
        self._begin = 0.0

    def __enter__(self) -> None:
        interrupts = self._interrupts
        interrupts._depth += 1
        if interrupts._depth == 1:
            self._begin = time.perf_counter()
            interrupts._outermost = self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        interrupts = self._interrupts
        interrupts._depth -= 1
        if interrupts._depth:
            return
        self.seconds = time.perf_counter() - self._begin
        interrupts._outermost = None
        if interrupts._waiting is not None and kind is None:
            interrupts._deliver()


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
