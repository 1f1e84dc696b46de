"""Loads the compiled core, with OpenMP threads that soon go to sleep when they wait.

libgomp's threads spin for milliseconds between two parallel loops. Beside any
other busy process they then hold the processor that the working thread needs,
and two threads become many times slower than one. Threads that never spin have
to be woken for every loop, which costs a good part of what they gain. A few
thousand turns (tens of microseconds) bridge the gaps within a training step and
no more. libgomp reads its settings once, when it is loaded, so they are set for
that moment only: child processes and whoever has made a choice of his own are
left alone.
"""

from __future__ import annotations

import os

__all__: list[str] = []

_chosen = any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT"))
if not _chosen:
    os.environ["GOMP_SPINCOUNT"] = "3000"
try:
    from rewire import _core  # noqa: F401
finally:
    if not _chosen:
        del os.environ["GOMP_SPINCOUNT"]
