"""The garbage collector, held while modules are imported."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["held"]


@contextlib.contextmanager
def held() -> Iterator[None]:
    """Collect nothing inside: an import makes thousands of objects, and all of them stay.

    The collector would look at them, and at all that was imported before, again and again: about a sixth of
    the time. Afterwards they count as old at once, by way of the objects that are never looked at, so that
    the next collection does not look at them either.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            if gc.get_freeze_count() == 0:  # else somebody's own would be thawed
                gc.freeze()
                gc.unfreeze()
            gc.enable()
