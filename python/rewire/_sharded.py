"""The shards of a batch, computed one by one: in the process that trains, and in those that help it.

Each shard goes forward and backward by itself, with the random numbers of its samples' places in the batch.
Its gradient is added to those before it as the tree in `_shards.py` says; what else is found of it (loss,
what the metric looks at, what layers report) is kept by its number, so that whoever trains can go through all
in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._alone import NetworkState, Round, RoundRunner, Stepped
from rewire._diverging import divergence
from rewire._inputs import Source
from rewire._packing import Packing, Views
from rewire._shards import Task, halved, weights_of
from rewire.layers import Layer
from rewire.layers.passing import Keep, Pass, Probe, Report
from rewire.losses import Loss, Targets
from rewire.metrics import Metric
from rewire.network import Sequential
from rewire.parameters.base import GRADIENT
from rewire.streams.parts import Parts

__all__ = ["Found", "Helpers", "Outcome", "ShardRunner", "outcome"]

Pairs = dict[str, tuple[NDArray[Any], NDArray[Any]]]  # inputs and gradients of the sums, by parameter


class Found(NamedTuple):
    """What a shard gave beside its gradient."""

    loss: float
    seen: Any  # what the metric counts
    reports: list[tuple[int, Report]]  # of layers, by their numbers
    pairs: Pairs | None  # of a probe


class Outcome(NamedTuple):
    """What a batch gave beside its gradient, which the parameters keep.

    Attributes
    ----------
    loss : float
    seen : list of (slice, object)
        What the metric counts, of each run of samples that has weight.
    there : set of str
        The parameters that have a gradient.
    pairs : dict
        Of a probe: by the parameter's name inputs, and gradients for the sums, in the order of samples.
    """

    loss: float
    seen: list[tuple[slice, Any]]
    there: set[str]
    pairs: Pairs


class ShardRunner:
    """Computes shards of batches.

    Parameters
    ----------
    network : Sequential
    p : Pass
        Through this network, in training.
    loss : Loss
    metric : Metric or None
        What looks at outputs.

    Attributes
    ----------
    source, targets : Source, Targets
        The data that rows are of.
    found : dict of int to Found
        By the shard's number.
    there : set of str
        The parameters that have a gradient.
    """

    source: Source
    targets: Targets

    def __init__(self, network: Sequential, p: Pass, loss: Loss, metric: Metric | None) -> None:
        self.network, self.p, self.loss, self.metric = network, p, loss, metric
        self.found: dict[int, Found] = {}
        self.there: set[str] = set()
        self._keep = Keep()
        self._waiting: list[Views] = []
        self._packing: Packing = Packing(())
        tree = network.tree
        # A parameter of several layers gets their gradients one after the other: a shard's sum comes first.
        self._fuses = all(uses == 1 for uses in tree.uses.values())
        self._silent = [
            layer for layer in tree.layers.values()
            if layer.buffers() and type(layer).follow is Layer.follow
        ]  # fmt: skip

    def begin(self, packing: Packing) -> None:
        """Before a batch: nothing is found yet. ``packing`` is that of the present links."""
        if self._waiting and packing is not self._packing:
            self._waiting = []
        self._packing = packing
        self.found, self.there = {}, set()

    # --- sums of shards -------------------------------------------------------------------

    def total(self, task: Task, first: int, end: int, depth: int = 0) -> bool:
        """Let the parameters keep the sum of the gradients of shards [first, end); whether there is any."""
        if end - first == 1:
            return self._shard(task, first)
        half = halved(first, end)
        if not self.total(task, first, half, depth):
            return self.total(task, half, end, depth)
        if end - half == 1 and self._fuses:
            self._shard(task, half, add=True)
            return True
        if len(self._waiting) == depth:
            self._waiting.append(self._packing.room())
        self._packing.pack(GRADIENT, self._waiting[depth])
        if self.total(task, half, end, depth + 1):
            self._packing.add_gradients(self._waiting[depth])
        return True

    def _shard(self, task: Task, number: int, *, add: bool = False) -> bool:
        """Compute a shard; whether the parameters keep a gradient of it, alone or added."""
        shard = task.shards[number]
        if not shard.weighs:
            return False
        p = self.p
        rows, weight = task.rows[shard.first : shard.end], weights_of(task, shard)
        p.step, p.epoch, p.first_sample, p.probing = task.step, task.epoch, shard.first, task.what == "probe"
        p.reports = []
        try:
            tiles = self._forward(rows)
            truth, dz = self.network.truth(self.targets, rows), p.ws.tiles("dz", self.network.n_out)
            value = self.loss.evaluate(tiles[-1], truth, weight, dz, p.threads)
            if not math.isfinite(value):
                raise divergence(self.network, tiles, value, task.epoch, task.step)
            seen = None
            if task.what != "probe" and self.metric is not None:
                apart = None if task.apart is None else task.apart[shard.first : shard.end]
                seen = self.metric.look(tiles[-1], truth, apart, p.threads)
            learns = task.what != "look" and shard.fraction > 0.0
            if learns and shard.fraction != 1.0:
                values = dz.array()
                values *= shard.fraction
            pairs = None
            if task.what == "probe" and learns:
                pairs = self._probed(tiles, dz)
            elif learns:
                self._learnt(tiles, dz, add)
            self.found[number] = Found(value, seen, p.reports, pairs)
        finally:
            p.reports, p.first_sample, p.probing = None, 0, False
        return learns and pairs is None

    def _forward(self, rows: NDArray[np.int64]) -> list[_core.Tiles]:
        p, silent = self.p, [] if self.p.probing else self._silent
        before = [[buffer.values.copy() for buffer in layer.buffers().values()] for layer in silent]
        tiles = self.network.forward(self.network.load_batch(p.ws, self.source, rows, p.threads), p)
        for layer, kept in zip(silent, before, strict=True):
            for buffer, values in zip(layer.buffers().values(), kept, strict=True):
                if not np.array_equal(buffer.values, values):
                    raise RuntimeError(
                        f"{layer.label} changes buffers in its forward pass, which a batch in shards makes "
                        "several times: let it call p.report(self, values), and define follow() for what it "
                        "reports, or train with shards=1"
                    )
        return tiles

    def _learnt(self, tiles: list[_core.Tiles], dz: _core.Tiles, add: bool) -> None:
        """Keep the gradients of a shard, or add them to those that are kept."""
        keep, parameters = self._keep, self.network.tree.parameters
        if not add:
            keep.clear()
        self.network.backward(dz, tiles, self.p, keep)
        there = self.p.handed
        self.there |= there
        missing = {name: q for name, q in parameters.items() if name not in there}
        if missing:
            self._packing.clear_gradients(missing.values(), added=add)
            keep.there.update(missing)

    def _probed(self, tiles: list[_core.Tiles], dz: _core.Tiles) -> Pairs:
        """What rules look at, as arrays."""
        probe = Probe()
        self.network.backward(dz, tiles, self.p, probe)
        return {
            name: (x.unpack(None, self.p.threads), dy.unpack(None, self.p.threads))
            for name, (x, dy) in probe.kept.items()
        }


class Helpers(Protocol):
    """Processes that compute shards together with this one: `rewire.workers.Team`."""

    size: int  # processes, with this one
    beside: int  # those of them on this machine
    patient: bool  # whether an exchange with them must not be cut, for they stay
    exchanged: int  # bytes

    def compute(
        self, task: Task, runner: ShardRunner, packing: Packing
    ) -> tuple[dict[int, Found], set[str]]: ...

    def hand(self, rank: int, task: Task, runner: ShardRunner, packing: Packing) -> None: ...

    def structures(self) -> dict[str, bytes]: ...

    def receive(self, waiting: set[int]) -> tuple[int, Any]: ...

    def read(self, reader: Any, name: str, said: tuple[Any, ...]) -> list[Any]: ...

    def alone(
        self, train: Callable[..., Any], said: Any, trainings: int, source: Source | Parts,
        targets: Targets | None, threads: int,
    ) -> list[Any]: ...  # fmt: skip

    def round(
        self, task: Round, runner: RoundRunner, state: NetworkState, begin: list[NDArray[Any]]
    ) -> dict[int, list[Stepped]]: ...


def outcome(
    task: Task, found: dict[int, Found], there: set[str], network: Sequential, *, follows: bool
) -> Outcome:
    """What a batch gave, from its shards in order; buffers follow the samples."""
    total = 0.0
    reports: dict[int, list[Report]] = {}
    pairs: dict[str, list[tuple[NDArray[Any], NDArray[Any]]]] = {}
    for number in sorted(found):
        one = found[number]
        total += task.shards[number].fraction * one.loss
        for index, report in one.reports:
            reports.setdefault(index, []).append(report)
        for name, pair in (one.pairs or {}).items():
            pairs.setdefault(name, []).append(pair)
    if follows:
        for layer in network.tree.layers.values():
            if layer.index in reports:
                layer.follow(reports[layer.index], task.epoch)
    joined = {
        name: (np.concatenate([x for x, _ in each]), np.concatenate([dy for _, dy in each]))
        for name, each in pairs.items()
    }
    seen = [(slice(*task.shards[number][:2]), found[number].seen) for number in sorted(found)]
    return Outcome(total, seen, there, joined)
