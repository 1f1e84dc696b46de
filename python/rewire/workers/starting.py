"""Workers for a call of ``fit``: processes that are started for it."""

from __future__ import annotations

import contextlib
import copy
import json
import sys
from collections.abc import Iterator
from functools import partial

import numpy as np

from rewire._elsewhere import foreign_kinds, pickled
from rewire._inputs import DenseSource, Source
from rewire._mapped import mapped
from rewire._packing import Packing
from rewire._parted import PartedStream
from rewire._sharded import Helpers
from rewire._training import TrainerLike
from rewire.streams.joining import Samples
from rewire.streams.stream import Stream
from rewire.threads import resolve
from rewire.workers.comm import parts_of
from rewire.workers.processes import Leader
from rewire.workers.serving import Job, nodes_for
from rewire.workers.team import Team

__all__ = ["helpers_of"]

_CURE = "train with workers=1"
_MORE = 1 << 20  # bytes of a message beside weights, links and rows


@contextlib.contextmanager
def helpers_of(
    trainer: TrainerLike,
    workers: int,
    data: Samples | Stream,
    batch: int,
    timeout: float,
    trainings: int = 0,
    arrays: int = 0,
    apart: bool = False,
) -> Iterator[Helpers]:
    """One process less than ``workers``, 2 or more, beside this one, as long as the block lasts.

    Where ``trainings`` learn alone, each hands on so many ``arrays`` of the size of all weights. With
    ``apart`` workers are told something one by one, while others compute.

    Raises
    ------
    TypeError
        Before a process starts, for a network or a loss that cannot be taken into another one; it is named.
    WorkerError
        If one of them ends before it has begun.
    """
    network, shards = trainer.network, trainings or trainer.shards or 1
    if getattr(sys, "frozen", False) or not sys.executable:
        raise RuntimeError("workers need a Python to be started with, and this program has none: workers=1")
    try:
        network.check_savable()
        kinds = foreign_kinds(json.dumps(network.config()), _CURE)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise TypeError(f"workers={workers} takes the network into other processes: {error}") from error
    try:
        loss = pickled(trainer.loss, _CURE)
    except TypeError as error:
        raise TypeError(f"workers={workers}: loss {trainer.loss!r}: {error}") from error
    packed = Packing(network.tree.parameters.values()).nbytes * max(1, arrays)
    links = sum(8 * (q.core.n_groups + 1) + 4 * q.core.slots for q in network.tree.sparse)
    most = max(len(nodes_for(rank, workers, shards)) for rank in range(workers))
    source = targets = parts = None
    if isinstance(data, Samples):
        source, targets = _shareable(data.source), data.targets
    elif isinstance(data, PartedStream):
        try:
            parts = data.parts.sent(partial(pickled, cure=_CURE))
        except TypeError as error:
            raise TypeError(f"workers={workers}: X, {data.parts!r}: {error}") from error
    sends = source is None and parts is None
    each = 16 + 8 * (network.n_in + network.n_out) if sends else 16  # bytes of a sample
    leader = Leader(
        workers,
        parts_of(Job(kinds, loss, trainer.fused, source, targets, parts)),
        message=2 * packed + links + each * batch + _MORE,
        answer=most * packed + 8 * batch * (network.n_out + 1) + _MORE,
        threads=max(1, resolve(None) // workers) if trainer.threads is None else resolve(trainer.threads),
        timeout=timeout,
        apart=apart,
    )
    with leader:
        yield Team(leader, network, trainer.loss, workers, patient=False, sends=sends)


def _shareable(source: Source) -> Source:
    """In a file, or in one piece: only such are shared, others would be copied for every process."""
    if not isinstance(source, DenseSource):
        return source
    if (in_file := mapped(source)) is not None:
        return in_file
    if source.x.flags.c_contiguous:
        return source
    found = copy.copy(source)
    found.x = np.ascontiguousarray(source.x)
    return found
