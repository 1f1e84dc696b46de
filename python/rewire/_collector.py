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
    the time.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
