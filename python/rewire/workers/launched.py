"""A call of ``fit`` in all processes that a launcher has started: rank 0 leads, the others follow."""

from __future__ import annotations

import contextlib
import hashlib
import json
import pickle
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._digest import take_array
from rewire._inputs import DenseSource, Source
from rewire._parted import PartedStream
from rewire._together import handed_on, taken_over
from rewire._training import TrainerLike
from rewire.errors import WorkerError
from rewire.streams.joining import Samples
from rewire.streams.stream import Stream
from rewire.workers.comm import parts_of, thing_of
from rewire.workers.serving import Job, serve
from rewire.workers.team import Team
from rewire.workers.world import World

__all__ = ["following", "leading"]

Call = Mapping[str, Any]  # arguments of fit that must be the same in all ranks


class Ended(NamedTuple):
    """The call is over; all take this over."""

    handed: dict[str, Any]


class Failed(NamedTuple):
    """Rank 0 has raised."""

    words: str


def _facts(trainer: TrainerLike, data: Samples | Stream, call: Call) -> dict[str, str]:
    """What must be the same in all ranks, each with a digest or words of it."""
    trainer.network.check_savable()  # the others build it from what describes it
    return {
        **_facts_of_data(data),
        "network": json.dumps(trainer.network.config(), default=repr),
        "optimizer": _described(trainer.optimizer),
        "rewiring": _described(trainer.rewiring),
        "loss": repr(trainer.loss.config()) if type(trainer.loss).__module__.startswith("rewire.") else "",
        "shards": repr(trainer.shards),
        "seed": repr(trainer.seed),
        **{name: repr(value) for name, value in call.items()},
    }


def _facts_of_data(data: Samples | Stream) -> dict[str, str]:
    if isinstance(data, Stream):  # nobody has read it
        return {"X": data.described()}
    source, targets, _ = data
    labels = targets.labels if targets.labels is not None else targets.values
    of_y = _arrays(targets.sparse) if targets.sparse is not None else [labels]
    return {"X": _digest(*_arrays(source)), "y": _digest(*of_y)}


def _described(part: Any) -> str:
    """Words for an optimizer or a rule: its class, if it has no description because nobody can build it."""
    try:
        return json.dumps(part.config(), default=repr)
    except NotImplementedError:
        return type(part).__qualname__


def _arrays(source: Source) -> list[NDArray[Any]]:
    if isinstance(source, DenseSource):
        return [source.x]
    return [value for value in vars(source).values() if isinstance(value, np.ndarray)]


def _digest(*arrays: NDArray[Any] | None) -> str:
    """Of values, shapes and types."""
    found = hashlib.blake2b(digest_size=16)
    for array in arrays:
        if array is not None:
            take_array(array, found.update)
    return found.hexdigest()


@contextlib.contextmanager
def leading(
    comm: World, trainer: TrainerLike, data: Samples | Stream, call: Call, timeout: float
) -> Iterator[Team]:
    """Rank 0: it trains, and all end with what it has.

    Raises
    ------
    ValueError
        If another rank has called ``fit`` with other data or options, or for another trainer.
    WorkerError
        If one is gone.
    """
    comm.begin(timeout)
    sends = isinstance(data, Stream) and not isinstance(data, PartedStream)
    team = Team(comm, trainer.network, trainer.loss, comm.beside, patient=True, sends=sends)
    try:
        own = _facts(trainer, data, call)
        comm.bcast(parts_of(own))
        for rank, parts in enumerate(comm.gather([])[1:], 1):
            theirs = thing_of(parts)
            if other := [name for name, value in own.items() if theirs.get(name) != value]:
                raise ValueError(
                    f"all ranks must call fit alike to train together, and rank {rank} has another "
                    f"{other[0]} than rank 0; with workers=1 each trains for itself"
                )
        yield team
        team.drain()
        comm.bcast(parts_of(Ended(handed_on(trainer))))
    except WorkerError:
        raise  # who is left is ended by whoever has started all
    except BaseException as error:
        team.drain()
        comm.bcast(parts_of(Failed(f"{type(error).__name__}: {error}")))
        raise
    finally:
        comm.end()


def following(comm: World, trainer: TrainerLike, data: Samples | Stream, call: Call, timeout: float) -> None:
    """Any other rank: it computes shards, and takes over what rank 0 has in the end.

    Raises
    ------
    WorkerError
        If the call has failed in rank 0.
    """
    comm.begin(timeout)
    try:
        with _deaf():
            comm.bcast(None)
            comm.gather(parts_of(_facts(trainer, data, call)))
            source, targets = data[:2] if isinstance(data, Samples) else (None, None)
            parts = data.parts if isinstance(data, PartedStream) else None
            job = Job([], pickle.dumps(trainer.loss), trainer.fused, source, targets)
            last = serve(comm, job, parts)
    finally:
        comm.end()
    if not isinstance(last, Ended):
        raise WorkerError(f"rank 0 has failed: {last.words}")
    taken_over(trainer, last.handed)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """Signals that go to all processes are for rank 0, which decides."""
    names = ("SIGINT", "SIGTERM", "SIGUSR1") if threading.current_thread() is threading.main_thread() else ()
    before = {}
    for name in names:
        if hasattr(signal, name):
            number = getattr(signal, name)
            before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
