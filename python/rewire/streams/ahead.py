"""One thing is read while another is worked on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextvars import copy_context
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, TypeVar

from rewire._moments import quiet

__all__ = ["Ahead"]

T = TypeVar("T")
_PATIENCE = 0.1  # seconds for a thread to end after Ctrl-C: it may be in code of the user's that waits
_LONGER = 10.0  # after an error


class Ahead(Generic[T]):
    """The things of an iterator, which is walked through in a thread, one thing ahead.

    What is raised there is raised by :meth:`__next__`. The thread has ended when the block has, unless it
    is inside of a call that takes long: then it ends after that.
    """

    def __init__(self, things: Iterator[T]) -> None:
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._found: SimpleQueue[Any] = SimpleQueue()
        self._over = False
        # In the caller's context: what he has set for decimals or dask, say, holds for his data.
        self._thread = threading.Thread(
            target=copy_context().run, args=(_read, things, self._asked, self._found),
            name="rewire look-ahead", daemon=True,
        )  # fmt: skip

    def __enter__(self) -> Ahead[T]:
        self._thread.start()
        self._asked.put(True)
        return self

    def __iter__(self) -> Ahead[T]:
        return self

    def __next__(self) -> T:
        if self._over:
            raise StopIteration
        thing, error = self._found.get()
        if error is not None:
            self._over = True
            raise error
        self._asked.put(True)
        return thing[0]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._asked.put(False)
        interrupted = kind is not None and not issubclass(kind, Exception)
        self._thread.join(_PATIENCE if interrupted else _LONGER)


def _read(things: Iterator[Any], asked: SimpleQueue[bool], found: SimpleQueue[Any]) -> None:
    """Give one thing each time that somebody asks, until there are no more."""
    with quiet():
        while asked.get():
            try:
                thing = [next(things)]
            except BaseException as error:  # StopIteration among them: it goes on where things are taken
                found.put((None, error))
                break
            found.put((thing, None))
            del thing
    close = getattr(things, "close", None)
    if close is not None:
        close()
