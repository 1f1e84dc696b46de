"""What a process does that was started as a worker."""

from __future__ import annotations

import os
import signal
import traceback
from typing import Any

from rewire.workers.comm import thing_of
from rewire.workers.pipes import FAILED, beat
from rewire.workers.processes import Follower
from rewire.workers.serving import serve

__all__ = ["main"]

# Rank 0 decides what becomes of these; whoever sends them to all processes of a job means it.
_IGNORED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


def main(said: dict[str, Any]) -> None:
    """Compute what rank 0 asks for, until it is gone."""
    for name in _IGNORED:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    writes = said.get("writes")
    if writes is None:  # where no descriptors are handed on
        writes = os.dup(1)
        os.dup2(2, 1)  # what is printed goes where errors go
    follower = Follower(said, 0, writes)
    beat(follower.pipe, said["beat"], lambda: os._exit(1))
    try:
        job = thing_of(follower.job)
        follower.gather([])
        serve(follower, job)
    except (EOFError, BrokenPipeError):  # rank 0 is gone, or needs nobody any more
        os._exit(0)
    except BaseException as error:
        words = "".join(traceback.format_exception(error)).strip()
        follower.pipe.send(FAILED, [words.encode()])
        os._exit(1)
