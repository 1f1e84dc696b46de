"""The first epochs of `rewire.WASAP`: each process computes a gradient when it is free, and none waits.

Rank 0 keeps the network. A worker gets weights and a batch, and hands a gradient back. Whichever comes first
is learnt from first, though others may have moved the weights meanwhile, or a rewiring the links: a value for
a link that is no longer there is dropped, and a link that has been grown since has none. Which comes first is
decided by chance, so nothing here is a function of the seed alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._fit import Fit
from rewire._moments import Weighed
from rewire._packing import Packing, Views
from rewire._sharded import Found, ShardRunner, outcome
from rewire._shards import Task, task_of
from rewire._unfinished import Unfinished
from rewire.losses import Truth
from rewire.parameters import SparseParameter
from rewire.parameters.base import GRADIENT
from rewire.progress import Silent

__all__ = ["AsyncFit"]

Generations = list[tuple[int, int]]


class Handed(NamedTuple):
    """A batch that a worker has, and the links that it computes the gradient of."""

    rows: NDArray[np.int64]
    weight: Weighed
    task: Task
    generations: Generations
    packing: Packing


class Received(NamedTuple):
    """What has come of it."""

    found: dict[int, Found]
    there: set[str]
    gradient: Views | None


class AsyncFit(Fit):
    """A call of ``fit`` whose first epochs take gradients as they come."""

    _out: dict[int, Handed]  # by rank
    _structures: list[tuple[Generations, dict[str, bytes]]]  # of which somebody still computes a gradient
    _coming: Iterator[tuple[NDArray[np.int64], Weighed]]
    _looker: ShardRunner

    def refresh(self) -> None:
        super().refresh()
        self.keeps = True

    def prepare(self) -> None:
        super().prepare()
        self._out, self._structures, self._given = {}, [], 0
        self._coming = self._batches()
        self._looker = ShardRunner(self.net, self.passing, self.trainer.loss, None)

    def _batches(self) -> Iterator[tuple[NDArray[np.int64], Weighed]]:
        """Batches that have weight, epoch by epoch, of as many epochs as are asked for."""
        epoch, part = self.state.epoch, self.state.unfinished
        done = 0 if part is None else part.done
        while True:
            order = self.order_of(epoch)
            for first in range(done, len(order), self.batch):
                rows = order[first : first + self.batch]
                weight = self.weight.of(rows)
                if weight.amount > 0.0:
                    yield rows, weight
            epoch, done = epoch + 1, 0

    def learn(self, order: NDArray[np.int64], part: Unfinished, run: tuple[int, int], show: Silent) -> None:
        """An epoch is over after as many steps as it has batches, whichever these were."""
        assert self.helpers is not None
        while part.done < len(order):
            if self.weight.of(order[part.done : part.done + self.batch]).amount <= 0.0:
                part.done = min(part.done + self.batch, len(order))
                show.step(self.seen.loss)
                continue
            for rank in range(1, self.helpers.size):
                if rank not in self._out:
                    self._hand(rank, part)
            rank, answer = self.helpers.receive(set(self._out))
            with self.step_whole:
                handed = self._out.pop(rank)
                self._learn(handed, self._read(handed, answer), len(order), part, run)
            show.step(self.seen.loss)

    def _hand(self, rank: int, part: Unfinished) -> None:
        """Let a worker compute the gradient of the coming batch for the weights as they are."""
        assert self.helpers is not None
        rows, weight = next(self._coming)
        self._given = max(self._given, self.state.step) + 1  # every batch has random numbers of its own
        task = task_of(
            rows, weight.near, weight.apart, self.targets, self.trainer.loss, 1,
            step=self._given, epoch=self.state.epoch, what="learn",
        )  # fmt: skip
        packing = self.packing()
        self._looker.metric, self._looker.p.threads = part.metric, self.threads
        with self.step_whole:
            self.helpers.hand(rank, task, self._looker, packing)
            self._out[rank] = Handed(rows, weight, task, self.generations(), packing)

    @staticmethod
    def _read(handed: Handed, answer: Any) -> Received:
        gradient = handed.packing.views(answer.sums[0][1]) if answer.sums else None
        return Received(answer.found, answer.there, gradient)

    def _learn(
        self, handed: Handed, received: Received, samples: int, part: Unfinished, run: tuple[int, int]
    ) -> None:
        """One step by a gradient that has come; a rewiring before it, if that is due."""
        begin = time.perf_counter()
        state, rows, weight = self.state, handed.rows, handed.weight
        progress = self.progress(state.epoch, state.step == part.first_step, run)
        due = self.due(progress)
        if due and not part.rewired:
            self._remember(handed)
            self.rewire(progress, part, rows, weight)
            begin = time.perf_counter()
        self.begin()
        found = outcome(handed.task, received.found, received.there, self.net, follows=True)
        if received.gradient is not None and not (due and self.rule.skip_step):
            parameters = self.net.tree.parameters
            self._put(handed, received.gradient)
            self.keep.clear()
            self.keep.there = {name: parameters[name] for name in parameters if name in received.there}
            self.optimize(progress.lr)
        state.step += 1
        truth = Truth(self.targets, rows)
        for _, seen in found.seen:
            part.count(seen, truth, weight.apart)
        part.learnt(found.loss, weight.amount * self.trainer.loss.counts(truth, weight.near))
        self.close(part, min(self.batch, samples - part.done), progress, begin)
        self._forget()
        self.told_of_step(part, found.loss)

    # --- gradients for links of before ----------------------------------------------------

    def _remember(self, handed: Handed) -> None:
        """Keep the present links, for gradients that will come of them."""
        now = self.generations()
        of_now = [one for one in (handed, *self._out.values()) if one.generations == now]
        if of_now and all(known != now for known, _ in self._structures):
            sparse = self.net.tree.sparse
            self._structures.append((now, {q.name: _core.structure_bytes(q.core) for q in sparse}))

    def _forget(self) -> None:
        """Links of which nobody computes a gradient any more."""
        asked = [one.generations for one in self._out.values()]
        self._structures = [kept for kept in self._structures if kept[0] in asked]

    def _put(self, handed: Handed, gradient: Views) -> None:
        """Let the parameters keep a gradient: of links that are there."""
        if handed.generations == self.generations():
            handed.packing.unpack(GRADIENT, gradient)
            return
        before = next(links for known, links in self._structures if known == handed.generations)
        for parameter, values in zip(handed.packing.parameters, gradient, strict=True):
            if isinstance(parameter, SparseParameter):
                _put_valid(parameter, before[parameter.name], values)
            else:
                parameter.unpack(GRADIENT, values)


def _put_valid(parameter: SparseParameter, structure: bytes, values: NDArray[Any]) -> None:
    """Let a parameter keep those values of a gradient whose links it has; 0 for its other links."""
    core = parameter.core
    n_in, n_out, group = parameter.geometry
    old = _core.Store(n_out=n_out, n_in=n_in, group=group, dtype=parameter.dtype)
    _core.structure_load(old, structure)
    old.add_field(GRADIENT, parameter.dtype)
    old.set_field(GRADIENT, values)
    _core.blend(core, GRADIENT, [old], "mean", 0.0)
