"""Loads the compiled core, with OpenMP threads that soon go to sleep when they wait.

libgomp's threads spin for milliseconds between two parallel loops. Beside any
other busy process they then hold the processor that the working thread needs,
and two threads become many times slower than one. Threads that never spin have
to be woken for every loop, which costs a good part of what they gain. A few
thousand turns (tens of microseconds) bridge the gaps within a training step and
no more. libgomp reads its settings once, when it is loaded, so they are set for
that moment only: child processes and whoever has made a choice of his own are
left alone. A package that has loaded libgomp before us (PyTorch does) has
settled the matter for us too.
"""

from __future__ import annotations

import os

__all__ = ["waiting"]

SPINS = 3000


def _is_loaded() -> bool:
    """Whether this process has the system's libgomp, or one that goes by its name."""
    try:
        with open("/proc/self/maps") as maps:
            return any("/libgomp.so" in line for line in maps)
    except OSError:  # not Linux
        return False


_late = _is_loaded()
_chosen = [name for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT") if name in os.environ]
if not _chosen:
    os.environ["GOMP_SPINCOUNT"] = str(SPINS)
try:
    from rewire import _core  # noqa: F401
finally:
    if not _chosen:
        del os.environ["GOMP_SPINCOUNT"]


def waiting() -> str:
    """How long threads wait before they sleep, and who decided it."""
    if _chosen:
        return f"as {' and '.join(_chosen)} said when libgomp was loaded"
    if _late:
        return (
            "for milliseconds, for another package loaded libgomp first. Beside busy processes that is slow: "
            f"import rewire first, or set GOMP_SPINCOUNT={SPINS} before Python starts"
        )
    return f"for {SPINS} turns, then they sleep"
