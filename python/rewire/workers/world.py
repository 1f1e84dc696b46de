"""Whether this process is one of several that were started together, and by what."""

from __future__ import annotations

import contextlib
import faulthandler
import os
import sys
import time
from types import TracebackType
from typing import Protocol

from rewire.workers.comm import Comm
from rewire.workers.gloo import Gloo
from rewire.workers.mpi import Mpi

__all__ = ["World", "abort", "alone", "launched", "world"]

_LAUNCHED = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")  # how many processes, as launchers say it
_MAYBE = ("PMIX_RANK", "PMI_RANK")  # a rank among so many as the scheduler says
_SCHEDULED = (
    "SLURM_STEP_NUM_TASKS",
    "SLURM_NTASKS",
)  # how many that are: those of the step go before the job's


class World(Comm, Protocol):
    """A communicator of processes that somebody else has started."""

    beside: int  # processes that share the processors of this one

    def begin(self, timeout: float) -> None: ...
    def end(self) -> None: ...


_MARK = "REWIRE_RANK_PROCESS"  # the process that a launcher has started: what it starts is no rank
_FORWARDED = 1.0  # seconds for a launcher to read what was said: when it ends ranks it drops the rest
_WORDS = 2.0  # seconds that rank 0 gets to say what has happened, before another rank ends all
_PATIENCE = 10.0  # seconds that an end of all ranks gets which have not met yet

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
        If a launcher of MPI has started several, and mpi4py or an MPI is not there.
    """
    global _found
    if not _is_rank():
        return None
    if _found is not None:
        return None if _found.size == 1 else _found
    if _mpi_size() > 1:
        try:
            _found = Mpi()
        except (ImportError, RuntimeError) as error:  # the second where mpi4py finds no MPI
            words = str(error).partition("\n")[0]
            raise ImportError(
                "this process is one of several that were started together, and they would train together by "
                f'mpi4py and an MPI, which are not both there ({words}): pip install "rewire[mpi]" and, '
                "where the system has no MPI, mpich; or give workers=1, with which each trains for itself"
            ) from error
    elif "TORCHELASTIC_RUN_ID" in os.environ and _number("WORLD_SIZE") > 1:
        _found = Gloo()
    return None if _found is None or _found.size == 1 else _found


def _is_rank() -> bool:
    """Whether a launcher has started this very process, not one of those it has started or forked since."""
    return _MARK in os.environ and os.environ[_MARK] == str(os.getpid())


def _mpi_size() -> int:
    found = max(map(_number, _LAUNCHED))
    if found == 0 and any(name in os.environ for name in _MAYBE):
        found = next((number for number in map(_number, _SCHEDULED) if number), 0)
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
    return _mpi_size() > 1 and _is_rank()


def abort(code: int) -> None:
    """End all ranks of MPI, if this is one of several that are to train together."""
    if not launched() or (_for_itself and _found is None):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    time.sleep(_FORWARDED)
    if _found is not None and _found.rank:
        time.sleep(_WORDS)
    # Ranks may wait for this one to meet them, and hear nothing before; those that use no MPI never will.
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(_PATIENCE, exit=True, file=nowhere)
        with contextlib.suppress(ImportError, RuntimeError):  # the second where mpi4py finds no MPI
            from mpi4py import MPI

            if not MPI.Is_finalized():
                MPI.COMM_WORLD.Abort(code)
        faulthandler.cancel_dump_traceback_later()


def _number(name: str) -> int:
    word = os.environ.get(name, "")
    return int(word) if word.isdigit() else 0


if _mpi_size() > 1 or "TORCHELASTIC_RUN_ID" in os.environ:
    os.environ.setdefault(_MARK, str(os.getpid()))
if launched():
    _abort_on_errors()
