"""Steps that several trainings make by themselves, from the same network, and the mean of what they end with.

A round is that of `rewire.LocalSGD`. Its trainings are the leaves of the tree in `_shards.py`: each begins
with the state that all begin with, makes its steps, and hands on its weights, optimizer state and buffers,
which are added up node by node. Who computes a node leaves no trace.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._clipping import limit_gradients
from rewire._diverging import divergence
from rewire._inputs import Source
from rewire._moments import Weighed
from rewire._packing import Packing
from rewire._shards import halved
from rewire.errors import DivergenceError
from rewire.layers.passing import Apply, Keep, Pass
from rewire.losses import Loss, Targets
from rewire.metrics import Metric
from rewire.network import Sequential
from rewire.optim import Optimizer

__all__ = ["Batch", "NetworkState", "Round", "RoundRunner", "Stepped", "state_fields"]


class Batch(NamedTuple):
    """Samples of one step of one training, and their weights."""

    rows: NDArray[np.int64]
    weight: Weighed


class Round(NamedTuple):
    """What each training of a round learns from.

    Attributes
    ----------
    parts : list of list of Batch
        By training.
    rates : list of float
        Learning rates of the steps.
    step, epoch, optimizer_step : int
        Completed before the round.
    batch : int
        Samples of a whole batch: how far the samples of two trainings are apart, for dropout.
    bases : tuple of int or None
        Where the rows of each training begin, if each has samples of its own.
    """

    parts: list[list[Batch]]
    rates: list[float]
    step: int
    epoch: int
    optimizer_step: int
    batch: int
    bases: tuple[int, ...] | None

    def from_row(self, first: int) -> Round:
        """The same, for who has samples from this one on."""
        parts = [[one._replace(rows=one.rows - first) for one in own] for own in self.parts]
        return self._replace(parts=parts)


class Stepped(NamedTuple):
    """What a step gave beside the new weights."""

    loss: float
    amount: float  # its weight in the mean over an epoch
    seen: Any  # what the metric counts


def state_fields(optimizer: Optimizer) -> list[str]:
    """The fields that move in every step."""
    return [name for name, field in optimizer.fields.items() if not field.per_slot]


class NetworkState:
    """Weights, the optimizer's state and buffers in one piece of memory each, for the present links.

    Parameters
    ----------
    network : Sequential
    fields : list of str
    """

    def __init__(self, network: Sequential, fields: list[str]) -> None:
        self.names = ["weight", *fields]
        self.packing = Packing(network.tree.parameters.values())
        self._buffers = network.tree.buffers

    def take(self) -> list[NDArray[Any]]:
        """A copy: one array for each name, and the buffers."""
        found = []
        for name in self.names:
            memory = np.empty(self.packing.nbytes, np.uint8)
            self.packing.pack(name, self.packing.views(memory))
            found.append(memory)
        return [*found, *(buffer.values.copy() for buffer in self._buffers.values())]

    def put(self, state: list[NDArray[Any]]) -> None:
        """Let the network be in this state."""
        for name, memory in zip(self.names, state, strict=False):
            self.packing.unpack(name, self.packing.views(memory))
        for buffer, values in zip(self._buffers.values(), state[len(self.names) :], strict=True):
            buffer.values[...] = values

    def _numbers(self, state: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """What has a mean: all but buffers of whole numbers."""
        packed = [view for memory in state[: len(self.names)] for view in self.packing.views(memory)]
        return [*packed, *(values for values in state[len(self.names) :] if values.dtype.kind == "f")]

    def add(self, first: list[NDArray[Any]], second: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """The sum, in the memory of the first; buffers of whole numbers stay those of the first."""
        for mine, its in zip(self._numbers(first), self._numbers(second), strict=True):
            np.add(mine, its, out=mine)
        return first

    def divide(self, state: list[NDArray[Any]], count: int) -> None:
        """From a sum to the mean."""
        for values in self._numbers(state):
            values /= count


class RoundRunner:
    """Makes the steps of trainings.

    Parameters
    ----------
    network : Sequential
        With the optimizer's fields.
    p : Pass
        Through this network, in training.
    loss : Loss
    optimizer : Optimizer

    Attributes
    ----------
    source, targets : Source, Targets
        The data that rows are of.
    metric : Metric or None
        What looks at outputs.
    found : dict of int to list of Stepped
        By the training's number.
    """

    source: Source
    targets: Targets
    metric: Metric | None = None

    def __init__(self, network: Sequential, p: Pass, loss: Loss, optimizer: Optimizer) -> None:
        self.network, self.p, self.loss, self.optimizer = network, p, loss, optimizer
        self.updates = optimizer.updates()
        self._apply, self._keep = Apply(self.updates), Keep()
        self.found: dict[int, list[Stepped]] = {}

    def total(
        self, task: Round, state: NetworkState, begin: list[NDArray[Any]], first: int, end: int
    ) -> list[NDArray[Any]] | None:
        """The sum of the states that trainings [first, end) end with; None if none of them makes a step."""
        if end - first == 1:
            if not task.parts[first]:
                return None
            state.put(begin)
            self.found[first] = self._train(task, first)
            return state.take()
        half = halved(first, end)
        left = self.total(task, state, begin, first, half)
        right = self.total(task, state, begin, half, end)
        if left is None or right is None:
            return right if left is None else left
        return state.add(left, right)

    def _train(self, task: Round, number: int) -> list[Stepped]:
        p, net = self.p, self.network
        found = []
        p.first_sample = number * task.batch
        try:
            for i, (rows, weight) in enumerate(task.parts[number]):
                p.step, p.epoch = task.step + i + 1, task.epoch
                tiles = net.forward(net.load_batch(p.ws, self.source, rows, p.threads), p)
                truth, dz = net.truth(self.targets, rows), p.ws.tiles("dz", net.n_out)
                value = self.loss.evaluate(tiles[-1], truth, weight.near, dz, p.threads)
                if not math.isfinite(value):
                    raise divergence(net, tiles, value, task.epoch, p.step)
                seen = None
                if self.metric is not None:
                    seen = self.metric.look(tiles[-1], truth, weight.apart, p.threads)
                count = task.optimizer_step + i + 1
                self.updates.place(task.rates[i], self.optimizer.weight_decay, count)
                if self.optimizer.clip_norm is None:
                    net.backward(dz, tiles, p, self._apply)
                    self._apply.finish(p.threads)
                else:
                    self._keep.clear()
                    net.backward(dz, tiles, p, self._keep)
                    kept = self._keep.in_order(net.tree.parameters)
                    try:
                        limit_gradients(kept, self.optimizer.clip_norm)
                    except ArithmeticError as error:
                        raise DivergenceError(task.epoch, p.step, None, str(error)) from None
                    self._keep.apply(self.updates, p.threads)
                amount = weight.amount * self.loss.counts(truth, weight.near)
                found.append(Stepped(value, amount, seen))
        finally:
            p.first_sample = 0
        return found
