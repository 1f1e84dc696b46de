"""The first epochs of `rewire.WASAP`: each process computes a gradient when it is free, and none waits.

Rank 0 keeps the network. A worker gets weights and a batch, and hands a gradient back. Whichever comes first
is learnt from first, though others may have moved the weights meanwhile, or a rewiring the links: a value for
a link that is no longer there is dropped, and a link that has been grown since has none. Which comes first is
decided by chance, so nothing here is a function of the seed alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
from rewire.errors import DivergenceError
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
    links: dict[str, bytes]  # by parameter, as structures
    packing: Packing


class Received(NamedTuple):
    """What has come of it."""

    found: dict[int, Found]
    there: set[str]
    gradient: Views | None


class AsyncFit(Fit):
    """A call of ``fit`` whose first epochs take gradients as they come."""

    _out: dict[int, Handed]  # by rank
    _coming: Iterator[tuple[NDArray[np.int64], Weighed]] | None = None
    _looker: ShardRunner

    def refresh(self) -> None:
        super().refresh()
        self.keeps = True

    def prepare(self) -> None:
        super().prepare()
        self._out, self._given = {}, 0
        self._coming = self._batches()
        self._looker = ShardRunner(self.net, self.passing, self.trainer.loss, None)

    def epochs(
        self, count: int, show: Silent, alone: int = 0, finish: Callable[[], None] | None = None
    ) -> None:
        try:
            super().epochs(count, show, alone, finish)
        finally:
            self._coming = None  # it holds this object, which holds it, and so all that workers share

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
            try:
                rank, answer = self.helpers.receive(set(self._out))
            except DivergenceError as error:  # it counts batches that were given away
                raise self.diverged(error.layer, error.what) from error
            self._rewire_if_due(part, self._out[rank], run)
            with self.step_whole:
                handed = self._out.pop(rank)
                self._learn(handed, self._read(handed, answer), len(order), part, run)
            show.step(self.seen.loss)

    def _hand(self, rank: int, part: Unfinished) -> None:
        """Let a worker compute the gradient of the coming batch for the weights as they are."""
        assert self.helpers is not None and self._coming is not None
        rows, weight = next(self._coming)
        self._given = max(self._given, self.state.step) + 1  # every batch has random numbers of its own
        task = task_of(
            rows, weight.near, weight.apart, self.targets, self.trainer.loss, 1,
            step=self._given, epoch=self.state.epoch, what="learn",
        )  # fmt: skip
        packing = self.packing()
        self._looker.metric, self._looker.p.threads = part.metric, self.threads
        with self.step_whole:
            links = self.helpers.structures()
            self.helpers.hand(rank, task, self._looker, packing)
            self._out[rank] = Handed(rows, weight, task, self.generations(), links, packing)

    @staticmethod
    def _read(handed: Handed, answer: Any) -> Received:
        gradient = handed.packing.views(answer.sums[0][1]) if answer.sums else None
        return Received(answer.found, answer.there, gradient)

    def _rewire_if_due(self, part: Unfinished, handed: Handed, run: tuple[int, int]) -> None:
        """Before the coming step; rules that look do so at the batch that it is made of."""
        state = self.state
        progress = self.progress(state.epoch, state.step == part.first_step, run)
        if self.due(progress) and not part.rewired:
            self.rewire(progress, part, handed.rows, handed.weight)

    def _learn(
        self, handed: Handed, received: Received, samples: int, part: Unfinished, run: tuple[int, int]
    ) -> None:
        """One step by a gradient that has come."""
        begin = time.perf_counter()
        state, rows, weight = self.state, handed.rows, handed.weight
        progress = self.progress(state.epoch, state.step == part.first_step, run)
        due = self.due(progress)
        self.begin()
        found = outcome(handed.task, received.found, received.there, self.net, follows=True)
        if received.gradient is not None and not (due and self.rule.skip_step):
            parameters = self.net.tree.parameters
            self._put(handed, received.gradient)
            self.keep.clear()
            self.keep.there = {name: parameters[name] for name in parameters if name in received.there}
            self.optimize(progress.lr)
        state.step += 1
        truth = self.net.truth(self.targets, rows)
        for _, seen in found.seen:
            part.count(seen, truth, weight.apart)
        part.learnt(found.loss, weight.amount * self.trainer.loss.counts(truth, weight.near))
        self.close(part, min(self.batch, samples - part.done), progress, begin)
        self.told_of_step(part, found.loss)

    # --- gradients for links of before ----------------------------------------------------

    def _put(self, handed: Handed, gradient: Views) -> None:
        """Let the parameters keep a gradient: of links that are there."""
        if handed.generations == self.generations():
            handed.packing.unpack(GRADIENT, gradient)
            return
        for parameter, values in zip(handed.packing.parameters, gradient, strict=True):
            if isinstance(parameter, SparseParameter):
                _put_valid(parameter, handed.links[parameter.name], values)
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
