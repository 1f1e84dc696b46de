"""How many threads to use, decided in one place.

First that says something: the ``threads=`` argument, :func:`set_num_threads`,
``REWIRE_NUM_THREADS``, ``OMP_NUM_THREADS``, then the processors this process
may use (affinity and control-group quota). The answer is lowered further
while ``threadpoolctl.threadpool_limits`` is in force. Results never depend on
it.

OpenMP's threads do not survive ``fork``: a child that asked for two would hang
for ever in libgomp. A forked child therefore works on one thread and says so
once.
"""

from __future__ import annotations

import os
import warnings

from rewire import _core
from rewire._checks import integer
from rewire._resources import cpu_count

__all__ = ["BLAS_VARIABLES", "get_num_threads", "resolve", "set_num_threads", "settings"]

MAX_THREADS = 1024  # beyond this a number is a mistake
# BLAS, which dense layers compute in, reads these when NumPy is loaded, and never again.
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

_chosen: int | None = None
_forked = False
_warned = False

# What OpenMP would have used when we were loaded. When it later says less,
# somebody has limited it (threadpool_limits): then we follow.
_openmp_at_import = _core.openmp_max_threads()


def _after_fork_in_child() -> None:
    global _forked, _warned
    _forked, _warned = True, False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _count(name: str, value: object) -> int:
    """A thread count: positive as it is, negative counted from the end (-1 is all), 0 refused."""
    n = integer(name, value, low=-MAX_THREADS, high=MAX_THREADS)
    if n == 0:
        raise ValueError(f"{name} must be >= 1, or negative to count from the end (-1 = all), got 0")
    return n if n > 0 else max(1, cpu_count() + 1 + n)


def from_environment() -> int | None:
    """The number of threads that the environment asks for, None where it says nothing sensible."""
    own = os.environ.get("REWIRE_NUM_THREADS", "").strip()
    if own:
        try:
            n = int(own)
        except ValueError:
            raise ValueError(f"REWIRE_NUM_THREADS must be an integer, got {own!r}") from None
        return _count("REWIRE_NUM_THREADS", n)
    # May be a list, one number for every level of nesting; foreign values are not ours to refuse.
    shared = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(shared) if shared.isdigit() and 0 < int(shared) <= MAX_THREADS else None


def set_num_threads(n: int | None) -> None:
    """Use ``n`` threads wherever no other number is given.

    Parameters
    ----------
    n : int or None
        At least 1, or negative to count from the end (-1: all processors this process may use).
        ``None`` forgets the choice.

    Raises
    ------
    TypeError, ValueError
        If ``n`` is no integer, or 0.
    """
    global _chosen
    _chosen = None if n is None else _count("n", n)


def get_num_threads() -> int:
    """Threads that are used where no other number is given (see the module's text for who decides)."""
    return resolve(None, warn=False)


def settings() -> tuple[object, ...]:
    """Another one whenever :func:`resolve` may answer otherwise, unless processors have come or gone.

    It takes a hundredth of the time.
    """
    asked = os.environ.get("REWIRE_NUM_THREADS"), os.environ.get("OMP_NUM_THREADS")
    return _chosen, _forked, *asked, _core.openmp_max_threads()


def resolve(threads: int | None, *, warn: bool = True) -> int:
    """The number of threads for one call.

    Parameters
    ----------
    threads : int or None
        What the caller asked for; ``None`` leaves the choice to the settings.
    warn : bool
        Whether a forked child may say (once) that it works on one thread.
    """
    global _warned
    if threads is not None:
        n = _count("threads", threads)
    elif _chosen is not None:
        n = _chosen
    else:
        n = from_environment() or cpu_count()
    limit = _core.openmp_max_threads()
    if limit < _openmp_at_import:
        n = min(n, limit)
    if n > 1 and not _core.openmp():
        n = 1
    if n > 1 and _forked:
        if warn and not _warned:
            _warned = True
            warnings.warn(
                "this process was forked: rewire works on one thread here, because OpenMP's threads do not "
                "survive a fork; start processes with 'spawn' or 'forkserver' to use more",
                RuntimeWarning,
                stacklevel=3,
            )
        n = 1
    return n
