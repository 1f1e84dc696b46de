"""What a worker does: its shards of every batch, on a copy of the network that rank 0 keeps up to date."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._alone import NetworkState, Round, RoundRunner, Stepped, state_fields
from rewire._elsewhere import register_kinds
from rewire._inputs import Source
from rewire._moments import quiet
from rewire._packing import Packing
from rewire._shard_reader import ShardReader
from rewire._sharded import Found, ShardRunner
from rewire._shards import Task, cut, nodes_of, shards_for
from rewire.losses import Targets
from rewire.network import Sequential
from rewire.parameters.base import GRADIENT
from rewire.streams.parts import Parts, Sent, arrived
from rewire.workers.comm import Comm, parts_of, thing_of

__all__ = [
    "AloneAnswer", "AloneOrder", "Answer", "Data", "GradientOrder", "Job", "Order", "ReadAnswer",
    "ReadOrder", "RoundAnswer", "RoundOrder", "answer_of", "nodes_for", "serve",
]  # fmt: skip


class Job(NamedTuple):
    """What a worker knows from the beginning.

    Attributes
    ----------
    kinds : list
        Classes of the user's, as `rewire._elsewhere.foreign_kinds` gives them.
    loss : bytes
        Pickled.
    fused : bool
        Whether the last activation is part of it.
    source, targets : Source, Targets
        All samples; None where those of each order come with it.
    parts : Sent or None
        What samples of its own shards it reads from.
    """

    kinds: list[tuple[str, bytes]]
    loss: bytes
    fused: bool
    source: Source | None
    targets: Targets | None
    parts: Sent | None = None


Data = tuple[Source, Targets]  # of a task


class Order(NamedTuple):
    """What is to be done with a batch, and what has changed in the network since the last one.

    Attributes
    ----------
    task : Task
    threads : int
    looks : bool
        Whether the metric looks at outputs.
    network : dict or None
        ``config`` and ``arrays`` of all of it: at first, and when sizes have changed.
    links : dict
        By the parameter's name the structure as bytes: of those that have another.
    weights : ndarray of uint8
        All weights, as `Packing` has them.
    buffers : dict of str to ndarray
    data : (Source, Targets) or None
        The samples of the task, where the worker has none.
    """

    task: Task
    threads: int
    looks: bool
    network: dict[str, Any] | None
    links: dict[str, bytes]
    weights: NDArray[np.uint8]
    buffers: Mapping[str, NDArray[Any]]
    data: Data | None = None


class GradientOrder(NamedTuple):
    """The gradient of a whole batch that one worker has for itself; ``order`` as ever."""

    order: Order


class Answer(NamedTuple):
    """What a worker has found.

    Attributes
    ----------
    found : dict of int to Found
        By shard.
    there : set of str
        Parameters that have a gradient.
    sums : list of (node, ndarray of uint8)
        The gradients of the largest nodes of the tree, as `Packing` has them; nodes without one are left out.
    error : (bytes, str) or None
        An exception, pickled, and its traceback.
    """

    found: dict[int, Found]
    there: set[str]
    sums: list[tuple[tuple[int, int], NDArray[np.uint8]]]
    error: tuple[bytes, str] | None = None


class RoundOrder(NamedTuple):
    """A round of trainings that each process makes some of.

    Attributes
    ----------
    task : Round
    threads : int
    looks : bool
        Whether the metric looks at outputs.
    optimizer : bytes
        Pickled.
    network, links
        As of :class:`Order`.
    state : list of ndarray
        What all trainings begin with, as `NetworkState` has it.
    slots : dict of str to dict
        By field of the optimizer that has one value a slot, and by parameter, its values.
    data
        As of :class:`Order`.
    """

    task: Round
    threads: int
    looks: bool
    optimizer: bytes
    network: dict[str, Any] | None
    links: dict[str, bytes]
    state: list[NDArray[Any]]
    slots: dict[str, dict[str, NDArray[Any]]]
    data: Data | None = None


class RoundAnswer(NamedTuple):
    """What a worker's trainings gave.

    Attributes
    ----------
    found : dict of int to list of Stepped
        By training.
    sums : list of (node, list of ndarray)
        The sums of the states that the trainings of the largest nodes of the tree end with.
    error : (bytes, str) or None
        As of :class:`Answer`.
    """

    found: dict[int, list[Stepped]]
    sums: list[tuple[tuple[int, int], list[NDArray[Any]]]]
    error: tuple[bytes, str] | None = None


class AloneOrder(NamedTuple):
    """Trainings from their beginning to their end: ``train(said, number, source, targets, threads)``."""

    train: Callable[..., Any]
    said: Any
    trainings: int
    threads: int


class AloneAnswer(NamedTuple):
    """What each of them ended with, or an error."""

    found: list[Any]
    error: tuple[bytes, str] | None = None


class ReadOrder(NamedTuple):
    """A method of `ShardReader`, and its pickled arguments, which stay longer than a message."""

    name: str
    said: bytes


class ReadAnswer(NamedTuple):
    """What it found, pickled likewise, or an error."""

    found: bytes
    error: tuple[bytes, str] | None = None


def nodes_for(rank: int, size: int, shards: int) -> list[tuple[int, int]]:
    """The nodes of the tree that one of so many processes computes."""
    own = shards_for(rank, size, shards)
    return nodes_of(own.start, own.stop, shards)


def answer_of(
    task: Task, rank: int, size: int, runner: ShardRunner, packing: Packing, rooms: list[NDArray[np.uint8]]
) -> Answer:
    """Compute the shards of one rank. Gradients go into ``rooms``, which get longer where they have to."""
    runner.begin(packing)
    if task.bases is not None:  # its samples begin with those of its first shard
        first = task.bases[shards_for(rank, size, len(task.shards)).start]
        task = task._replace(rows=task.rows - first)
    sums: list[tuple[tuple[int, int], NDArray[np.uint8]]] = []
    for node in nodes_for(rank, size, len(task.shards)):
        if runner.total(task, *node):
            at = len(sums)
            if len(rooms) == at:
                rooms.append(np.empty(packing.nbytes, np.uint8))
            if rooms[at].nbytes != packing.nbytes:
                rooms[at] = np.empty(packing.nbytes, np.uint8)
            packing.pack(GRADIENT, packing.views(rooms[at]))
            sums.append((node, rooms[at]))
    return Answer(runner.found, runner.there, sums)


Orders = Order | GradientOrder | RoundOrder | AloneOrder | ReadOrder


def serve(comm: Comm, job: Job, parts: Parts | None = None) -> Any:
    """Do what rank 0 asks for, until it says something else; that.

    ``parts`` are those of a process that has them already.
    """
    register_kinds(job.kinds)
    if job.parts is not None:
        parts = arrived(job.parts)
    server = _Server(comm, job, parts)
    try:
        with quiet():
            while isinstance(order := thing_of(comm.bcast(None)), Orders):
                comm.gather(parts_of(server.answer(order)))
    finally:
        if server.reader is not None:
            server.reader.close()
    return order


class _Server:
    def __init__(self, comm: Comm, job: Job, parts: Parts | None) -> None:
        self.comm, self.job = comm, job
        self.loss = pickle.loads(job.loss)
        self.reader = None if parts is None else ShardReader(parts, self.loss, comm.rank, comm.size)
        self.rooms: list[NDArray[np.uint8]] = []
        self.fields: dict[str, Any] = {}  # of the optimizer, as the network has them

    def answer(self, order: Orders) -> Answer | RoundAnswer | AloneAnswer | ReadAnswer:
        """An answer; an error is one, too."""
        try:
            if isinstance(order, ReadOrder):
                return ReadAnswer(pickle.dumps(getattr(self.reader, order.name)(*pickle.loads(order.said))))
            if isinstance(order, RoundOrder):
                return self.round(order)
            if isinstance(order, AloneOrder):
                data, threads = self.whole(), order.threads
                own = cut(order.trainings, self.comm.size)[self.comm.rank]
                return AloneAnswer([order.train(order.said, k, *data, threads) for k in range(*own)])
            rank, size = self.comm.rank, self.comm.size
            if isinstance(order, GradientOrder):
                order, rank, size = order.order, 0, 1
            self.follow(order)
            self.runner.source, self.runner.targets = self.data(order.data)
            self.runner.p.threads = order.threads
            self.runner.metric = self.loss.metric(self.network.final) if order.looks else None
            return answer_of(order.task, rank, size, self.runner, self.packing, self.rooms)
        except Exception as error:
            words = "".join(traceback.format_exception(error)).strip()
            try:
                said = pickle.dumps(error)
                pickle.loads(said)
            except Exception:
                said = pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))
            if isinstance(order, RoundOrder):
                return RoundAnswer({}, [], (said, words))
            if isinstance(order, AloneOrder):
                return AloneAnswer([], (said, words))
            if isinstance(order, ReadOrder):
                return ReadAnswer(b"", (said, words))
            return Answer({}, set(), [], (said, words))

    def data(self, sent: Data | None) -> Data:
        """The samples that the rows of an order are of."""
        if sent is not None:
            return sent
        if self.reader is not None:
            return self.reader.source, self.reader.targets
        assert self.job.source is not None and self.job.targets is not None
        return self.job.source, self.job.targets

    def whole(self) -> tuple[Source | Parts, Targets | None]:
        """All data: samples, or the parts that it reads some of."""
        return self.data(None) if self.reader is None else (self.reader.parts, None)

    def round(self, order: RoundOrder) -> RoundAnswer:
        """Make this process's trainings of a round."""
        optimizer = pickle.loads(order.optimizer)
        fields = state_fields(optimizer)
        changed = order.network is not None or bool(order.links)
        self.take_links(order)
        tree = self.network.tree
        if changed or self.fields != optimizer.fields:
            for parameter in tree.parameters.values():
                parameter.prepare(optimizer.fields)
                parameter.hold_gradient(optimizer.clip_norm is not None or parameter.uses > 1)
            self.state, self.fields = NetworkState(self.network, fields), dict(optimizer.fields)
        for name, values in order.slots.items():
            for parameter in tree.sparse:
                parameter.core.set_field(name, values[parameter.name])
        passing = self.runner.p
        passing.threads = order.threads
        runner = RoundRunner(self.network, passing, self.loss, optimizer)
        runner.source, runner.targets = self.data(order.data)
        runner.metric = self.loss.metric(self.network.final) if order.looks else None
        sums, task, rank, size = [], order.task, self.comm.rank, self.comm.size
        if task.bases is not None:  # its samples begin with those of its first training
            task = task.from_row(task.bases[shards_for(rank, size, len(task.parts)).start])
        for node in nodes_for(rank, size, len(task.parts)):
            total = runner.total(task, self.state, order.state, *node)
            if total is not None:
                sums.append((node, total))
        return RoundAnswer(runner.found, sums)

    def follow(self, order: Order) -> None:
        """Let the network be that of rank 0."""
        self.take_links(order)
        tree = self.network.tree
        if order.network is not None or order.links:
            self.packing = Packing(tree.parameters.values())
        self.packing.unpack("weight", self.packing.views(order.weights))
        for name, values in order.buffers.items():
            tree.buffers[name].values[...] = values

    def take_links(self, order: Order | RoundOrder) -> None:
        """Layers and links as rank 0 has them."""
        if order.network is not None:
            self.network = Sequential.from_config(order.network["config"], order.network["arrays"])
            passing = self.network.passing(self.network.workspace(), fused=self.job.fused, training=True)
            self.runner = ShardRunner(self.network, passing, self.loss, None)
        for parameter in self.network.tree.sparse:
            if parameter.name in order.links:
                parameter.set_links(order.links[parameter.name])
