"""Whether this process is one of several that were started together, and by what."""

from __future__ import annotations

import contextlib
import os
import sys
from types import TracebackType
from typing import Protocol

from rewire.workers.comm import Comm
from rewire.workers.gloo import Gloo
from rewire.workers.mpi import Mpi

__all__ = ["World", "abort", "alone", "launched", "world"]

_LAUNCHED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")  # how many processes, as launchers say it
_MAYBE = ("PMIX_RANK", "PMI_RANK")  # a rank among so many as the scheduler says
_SCHEDULED = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS")


class World(Comm, Protocol):
    """A communicator of processes that somebody else has started."""

    beside: int  # processes that share the processors of this one

    def begin(self, timeout: float) -> None: ...
    def end(self) -> None: ...


_found: World | None = None
_for_itself = False  # whether somebody has said so


def alone() -> None:
    """This process trains for itself, whoever has started others beside it."""
    global _for_itself
    _for_itself = True


def world() -> World | None:
    """The processes that mpiexec, srun or torchrun has started together; None if this one is alone.

    Raises
    ------
    ImportError
        If a launcher of MPI has started several, and mpi4py is not installed.
    """
    global _found
    if _found is not None:
        return _found
    if _mpi_size() > 1:
        try:
            _found = Mpi()
        except (ImportError, RuntimeError) as error:  # the second where mpi4py finds no MPI
            raise ImportError(
                "this process is one of several that were started together, and mpi4py, by which they would "
                'train together, is not installed: pip install "rewire[mpi]", or give workers=1, with which '
                "each trains for itself"
            ) from error
    elif "TORCHELASTIC_RUN_ID" in os.environ and _number("WORLD_SIZE") > 1:
        _found = Gloo()
    return None if _found is None or _found.size == 1 else _found


def _mpi_size() -> int:
    found = max(map(_number, _LAUNCHED))
    if found == 0 and any(name in os.environ for name in _MAYBE):
        found = max(map(_number, _SCHEDULED))
    return found


def _abort_on_errors() -> None:
    """Let an exception that nobody catches end all ranks of MPI: the others would wait for this one."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        before(kind, error, trace)
        abort(1)

    sys.excepthook = hook


def launched() -> bool:
    """Whether a launcher of MPI has started several processes, and this one."""
    return _mpi_size() > 1


def abort(code: int) -> None:
    """End all ranks of MPI, if this is one of several that are to train together."""
    if launched() and (not _for_itself or _found is not None):
        sys.stdout.flush()
        sys.stderr.flush()
        with contextlib.suppress(ImportError, RuntimeError):
            from mpi4py import MPI

            MPI.COMM_WORLD.Abort(code)


def _number(name: str) -> int:
    word = os.environ.get(name, "")
    return int(word) if word.isdigit() else 0


if launched():
    _abort_on_errors()
