"""Rank 0 and its workers: who computes which shards of a batch, and how their sums become one gradient."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._packing import Packing, Views, add
from rewire._sharded import Found, ShardRunner
from rewire._shards import Task, summed
from rewire.errors import WorkerError
from rewire.losses import Loss
from rewire.network import Sequential
from rewire.parameters.base import GRADIENT
from rewire.workers.comm import Comm, parts_of, thing_of
from rewire.workers.serving import Answer, Order, answer_of, nodes_for

__all__ = ["Team"]


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
    """

    def __init__(self, comm: Comm, network: Sequential, loss: Loss, beside: int, *, patient: bool) -> None:
        self._comm, self._network, self.size, self.beside = comm, network, comm.size, beside
        self.patient, self._loss = patient, loss
        self._asked = False  # whether answers are on their way
        self._talking = False  # whether a message is, in either direction
        self._told: Any = None  # what describes the network that the others have
        self._links: dict[str, tuple[int, int]] = {}
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
        comm, shards = self._comm, len(task.shards)
        order = self._order(task, runner, packing)
        parts = parts_of(order)
        self._talking = True
        comm.bcast(parts)
        self._talking, self._asked = False, True
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
        return found

    def _order(self, task: Task, runner: ShardRunner, packing: Packing) -> Order:
        """What the others are told: the task, and all that has changed."""
        network, tree = self._network, self._network.tree
        # Callbacks may change a layer, and rules its size.
        described = network.seed, [layer.config() for layer in network.layers]
        whole = None
        links = {}
        now = {q.name: (id(q.core), int(q.core.generation)) for q in tree.sparse}
        if described != self._told:
            whole = {"config": network.config(), "arrays": network.arrays()}
            self._told = copy.deepcopy(described)  # a list in there may be the layer's own
        else:
            changed = [q for q in tree.sparse if self._links.get(q.name) != now[q.name]]
            links = {q.name: (q.core.indptr(), q.core.sources()) for q in changed}
        self._links = now
        if self._weights.nbytes != packing.nbytes:
            self._weights = np.empty(packing.nbytes, np.uint8)
        packing.pack("weight", packing.views(self._weights))
        buffers = {name: buffer.values for name, buffer in tree.buffers.items()}
        return Order(task, runner.p.threads, runner.metric is not None, whole, links, self._weights, buffers)


def _error(rank: int, size: int, said: bytes, words: str) -> BaseException:
    """The exception of a worker, with the place that it comes from."""
    error: BaseException = pickle.loads(said)
    error.add_note(f"in worker {rank} of {size}:\n{words}")
    return error
