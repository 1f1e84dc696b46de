"""Rank 0 and its workers: who computes which shards of a batch, and how their sums become one gradient."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._alone import Batch, NetworkState, Round, RoundRunner, Stepped
from rewire._inputs import Source
from rewire._packing import Packing, Views, add
from rewire._shard_reader import ShardReader
from rewire._sharded import Found, ShardRunner
from rewire._shards import Task, cut, summed
from rewire.errors import WorkerError
from rewire.losses import Loss, Targets
from rewire.network import Sequential
from rewire.parameters import SparseParameter
from rewire.parameters.base import GRADIENT
from rewire.streams.joining import Samples, chosen
from rewire.streams.parts import Parts
from rewire.workers.comm import Comm, Talk, parts_of, thing_of
from rewire.workers.serving import (
    AloneAnswer,
    AloneOrder,
    Answer,
    Data,
    GradientOrder,
    Order,
    ReadAnswer,
    ReadOrder,
    RoundAnswer,
    RoundOrder,
    answer_of,
    nodes_for,
)

__all__ = ["Team"]

Links = dict[str, bytes]


class _Known:
    """What others know of the network."""

    def __init__(self) -> None:
        self.told: Any = None  # what describes the network that they have
        self.links: dict[str, int] = {}  # digests of structures


class Team:
    """Those who compute the shards of a batch together; rank 0 has it.

    Only rank 0 trains. The others get the weights before each batch, and the links where these have changed:
    rules, optimizers and callbacks are never anywhere else, so that no two processes can part.

    Attributes
    ----------
    size : int
        Processes.
    beside : int
        Those of them that share the processors of this machine.
    patient : bool
        Whether an exchange must not be cut: the others stay when the call is over.
    sends : bool
        Whether the others get samples with each order, because they have none themselves.
    exchanged : int
        Bytes that went to the others, and came from them.
    """

    def __init__(
        self, comm: Comm, network: Sequential, loss: Loss, beside: int, *, patient: bool, sends: bool = False
    ) -> None:
        self._sends = sends
        self._comm, self._network, self.size, self.beside = comm, network, comm.size, beside
        self.patient, self._loss = patient, loss
        self.exchanged = 0
        self._asked = False  # whether answers are on their way
        self._talking = False  # whether a message is, in either direction
        self._known = _Known()
        self._known_by: dict[int, _Known] = {}  # by those who are told something alone
        self._structures: dict[str, tuple[int, bytes]] = {}  # digest and bytes, of those told one by one
        self._busy: set[int] = set()  # who has been, and has not answered
        self._weights = np.empty(0, np.uint8)
        self._rooms: list[NDArray[np.uint8]] = []

    def compute(self, task: Task, runner: ShardRunner, packing: Packing) -> tuple[dict[int, Found], set[str]]:
        """Let the parameters keep the gradient of a batch.

        Returns
        -------
        found : dict of int to Found
            What each shard gave.
        there : set of str
            The parameters that have a gradient.
        """
        if runner.loss is not self._loss:
            raise RuntimeError(f"loss cannot be replaced in a call of fit whose workers have {self._loss!r}")
        shards = len(task.shards)
        self._say(self._order(task, runner, packing))
        own = answer_of(task, 0, self.size, runner, packing, self._rooms)
        answers: list[Answer] = [own]
        answers += map(thing_of, self._gathered())
        found, there = {}, set()
        known: dict[tuple[int, int], Views | None] = {}
        for rank, answer in enumerate(answers):
            if answer.error is not None:
                raise _error(rank, self.size, *answer.error)
            found.update(answer.found)
            there |= answer.there
            known.update(dict.fromkeys(nodes_for(rank, self.size, shards)))
            known.update({node: packing.views(memory) for node, memory in answer.sums})
        total = summed(known, shards, add)
        if total is not None:
            packing.unpack(GRADIENT, total)
        return found, there

    def round(
        self, task: Round, runner: RoundRunner, state: NetworkState, begin: list[NDArray[Any]]
    ) -> dict[int, list[Stepped]]:
        """Let trainings make their steps from ``begin``, and the network be the mean of what they end with.

        Returns
        -------
        dict of int to list of Stepped
            What the steps of each training gave.
        """
        if runner.loss is not self._loss:
            raise RuntimeError(f"loss cannot be replaced in a call of fit whose workers have {self._loss!r}")
        tree, trainings = self._network.tree, len(task.parts)
        whole, links = self._changed()
        slots = {
            name: {parameter.name: parameter.core.get_field(name) for parameter in tree.sparse}
            for name, field in runner.optimizer.fields.items() if field.per_slot
        }  # fmt: skip
        said, data = task, None
        if self._sends:
            data = _sent(runner, np.concatenate([b.rows for own in task.parts for b in own]))
            said = task._replace(parts=_numbered(task.parts))
        order = RoundOrder(
            said, runner.p.threads, runner.metric is not None, pickle.dumps(runner.optimizer), whole, links,
            begin, slots, data,
        )  # fmt: skip
        self._say(order)
        known: dict[tuple[int, int], list[NDArray[Any]] | None] = {}
        for node in nodes_for(0, self.size, trainings):
            known[node] = runner.total(task, state, begin, *node)
        found = dict(runner.found)
        answers: list[RoundAnswer] = [thing_of(parts) for parts in self._gathered()]
        for rank, answer in enumerate(answers, 1):
            if answer.error is not None:
                raise _error(rank, self.size, *answer.error)
            found.update(answer.found)
            known.update(dict.fromkeys(nodes_for(rank, self.size, trainings)))
            known.update({node: [np.array(a) for a in total] for node, total in answer.sums})
        total = summed(known, trainings, state.add)
        if total is not None:
            state.divide(total, len(found))
        state.put(begin if total is None else total)
        return found

    def alone(
        self, train: Callable[..., Any], said: Any, trainings: int, source: Source | Parts,
        targets: Targets | None, threads: int,
    ) -> list[Any]:  # fmt: skip
        """What trainings end with that each process makes some of: ``train(said, number, ...)``."""
        while self._busy:  # gradients that nobody waits for any more
            self.receive(set(self._busy))
        self._say(AloneOrder(train, said, trainings, threads))
        own = [train(said, k, source, targets, threads) for k in range(*cut(trainings, self.size)[0])]
        for rank, parts in enumerate(self._gathered(), 1):
            answer: AloneAnswer = thing_of(parts)
            if answer.error is not None:
                raise _error(rank, self.size, *answer.error)
            own += answer.found
        return own

    def read(self, reader: ShardReader, name: str, said: tuple[Any, ...]) -> list[Any]:
        """What the reader of each process finds, by rank; that of this one is given."""
        self._say(ReadOrder(name, pickle.dumps(said)))
        found = [getattr(reader, name)(*said)]
        for rank, parts in enumerate(self._gathered(), 1):
            answer: ReadAnswer = thing_of(parts)
            if answer.error is not None:
                raise _error(rank, self.size, *answer.error)
            found.append(pickle.loads(answer.found))
        return found

    def hand(self, rank: int, task: Task, runner: ShardRunner, packing: Packing) -> None:
        """Let one worker compute the gradient of a batch, in its own time: see :meth:`receive`."""
        if runner.loss is not self._loss:
            raise RuntimeError(f"loss cannot be replaced in a call of fit whose workers have {self._loss!r}")
        known = self._known_by.setdefault(rank, _Known())
        parts = parts_of(GradientOrder(self._order(task, runner, packing, known)))
        cast(Talk, self._comm).tell(rank, parts)
        self._busy.add(rank)
        self.exchanged += sum(memoryview(part).nbytes for part in parts)

    def structures(self) -> dict[str, bytes]:
        """The links as they are, by parameter: made once for all who are told of them one by one."""
        for q in self._network.tree.sparse:
            digest = _core.structure_digest(q.core)
            self._structures[q.name] = digest, self._structure(q, digest)
        return {name: links for name, (_, links) in self._structures.items()}

    def _structure(self, parameter: SparseParameter, digest: int) -> bytes:
        known = self._structures.get(parameter.name)
        return known[1] if known and known[0] == digest else _core.structure_bytes(parameter.core)

    def receive(self, waiting: set[int]) -> tuple[int, Answer]:
        """The gradient that comes first, and from whom. It lies in memory of the worker's next one."""
        rank, parts = cast(Talk, self._comm).receive(waiting)
        self._busy.discard(rank)
        self.exchanged += sum(part.nbytes for part in parts)
        answer: Answer = thing_of(parts)
        if answer.error is not None:
            raise _error(rank, self.size, *answer.error)
        return rank, answer

    def drain(self) -> None:
        """Take answers that are on their way, and let them go.

        Raises
        ------
        WorkerError
            If a message was cut in two, by a signal handler that raises: nothing can be said after it.
        """
        if self._talking:
            raise WorkerError("a signal has cut a message to the other ranks in two: all have to end")
        if self._asked:
            self._gathered()

    def _gathered(self) -> list[list[memoryview]]:
        """The answers of all others."""
        self._talking = True
        found = self._comm.gather([])[1:]
        self._talking = self._asked = False
        self.exchanged += sum(part.nbytes for parts in found for part in parts)
        return found

    def _say(self, order: Order | RoundOrder | AloneOrder | ReadOrder) -> None:
        """Tell all others what to do."""
        parts = parts_of(order)
        self._talking = True
        self._comm.bcast(parts)
        self._talking, self._asked = False, True
        self.exchanged += (self.size - 1) * sum(memoryview(part).nbytes for part in parts)

    def _changed(self, known: _Known | None = None) -> tuple[dict[str, Any] | None, Links]:
        """What has changed since the last order: the whole network, or links of some parameters."""
        known = self._known if known is None else known
        network, tree = self._network, self._network.tree
        # Callbacks may change a layer, and rules its size.
        described = network.seed, [layer.config() for layer in network.layers]
        whole: dict[str, Any] | None = None
        links: Links = {}
        # Of 64 bits: other links have the same with a chance of about 2**-64.
        now = {q.name: _core.structure_digest(q.core) for q in tree.sparse}
        if described != known.told:
            whole = {"config": network.config(), "arrays": network.arrays()}
            known.told = copy.deepcopy(described)  # a list in there may be the layer's own
        else:
            changed = [q for q in tree.sparse if known.links.get(q.name) != now[q.name]]
            links = {q.name: self._structure(q, now[q.name]) for q in changed}
        known.links = now
        return whole, links

    def _order(self, task: Task, runner: ShardRunner, packing: Packing, known: _Known | None = None) -> Order:
        """What the others are told: the task, and all that has changed."""
        tree = self._network.tree
        whole, links = self._changed(known)
        if self._weights.nbytes != packing.nbytes:
            self._weights = np.empty(packing.nbytes, np.uint8)
        packing.pack("weight", packing.views(self._weights))
        buffers = {name: buffer.values for name, buffer in tree.buffers.items()}
        data = None
        if self._sends:
            data, task = _sent(runner, task.rows), task._replace(rows=np.arange(len(task.rows)))
        looks = runner.metric is not None
        return Order(task, runner.p.threads, looks, whole, links, self._weights, buffers, data)


def _sent(runner: ShardRunner | RoundRunner, rows: NDArray[np.int64]) -> Data:
    """The samples of a task."""
    found = chosen(Samples(runner.source, runner.targets, None), rows)
    return found.source, found.targets


def _numbered(parts: list[list[Batch]]) -> list[list[Batch]]:
    """Batches of samples that lie one after the other, as they were sent."""
    found: list[list[Batch]] = []
    at = 0
    for own in parts:
        found.append([])
        for batch in own:
            found[-1].append(batch._replace(rows=np.arange(at, at + len(batch.rows))))
            at += len(batch.rows)
    return found


def _error(rank: int, size: int, said: bytes, words: str) -> BaseException:
    """The exception of a worker, with the place that it comes from."""
    error: BaseException = pickle.loads(said)
    error.add_note(f"in worker {rank} of {size}:\n{words}")
    return error
