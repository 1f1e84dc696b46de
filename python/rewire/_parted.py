"""Data in parts, as a trainer has them: every process reads its own, and batches are of all."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from rewire._format import plural
from rewire._moments import Extremes, Moments, SampleWeights, quiet
from rewire._shard_reader import Counted, Expected, ShardReader, ShardWindow
from rewire._sharded import Helpers
from rewire._shards import summed
from rewire._training import TrainerLike
from rewire._warn import warn
from rewire.standardizer import Standardizer
from rewire.streams.joined import refuse_other_columns
from rewire.streams.joining import Samples, joined_targets, joined_weights
from rewire.streams.parts import Parts
from rewire.streams.pieces import window_of
from rewire.streams.stream import BATCH, Seen, Stream
from rewire.streams.windows import Cut, Window, steps_of

__all__ = ["PartedStream"]

Shown = tuple[Moments, Extremes]

_UNEVEN = 1.5  # times as many samples as their mean, from which on it is said that a shard is longer


class PartedStream(Stream):
    """Parts that are read shard by shard.

    A batch has the same number of samples of each shard, until one is at its end: the last batches of an
    epoch have those that others still have.

    Attributes
    ----------
    shards : int
        Set before it is cut.
    apart : bool
        Whether each shard is a training that learns alone, in batches of its own.
    """

    shards = 1
    apart = False
    lasts = True

    def __init__(self, parts: Parts, trainer: TrainerLike) -> None:
        self.parts, self._trainer = parts, trainer
        self.n_features, self.n_samples = trainer.network.n_in, None
        self._helpers: Helpers | None = None
        self._exchange: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
        self._counts: list[int | None] = []

    def described(self) -> str:
        return self.parts.described()

    # --- how it is cut ------------------------------------------------------------------------

    def cut(
        self, batch: int | None, window: int | None, steps: int | None, shuffle: bool, seed: int, *,
        trainings: int, every: int,
    ) -> Cut:  # fmt: skip
        """How an epoch is cut; ``window`` is that of a shard there, and :meth:`settled` knows the steps."""
        size = window_of(self.n_features) if window is None else window
        if self.apart:
            batch = BATCH if batch is None else batch
            size = -(-max(size, 1) // (batch * self.shards * every)) * batch * every
            return Cut(batch, batch * self.shards, size, shuffle, steps or 0, seed)
        batch = -(-BATCH // self.shards) * self.shards if batch is None else batch
        if batch % self.shards:
            raise ValueError(
                f"batch_size must be a multiple of {self.shards}, the shards that X in parts is read in, for "
                f"a batch has as many samples of each, got {batch}"
            )
        size = -(-max(size, 1) // batch) * (batch // self.shards)
        return Cut(batch, batch, size, shuffle, steps or 0, seed)

    def settled(
        self, cut: Cut, helpers: Helpers | None, exchange: contextlib.AbstractContextManager[None]
    ) -> Cut:
        """The cut when all processes are there, and have counted their samples.

        Raises
        ------
        ValueError
            Where the number of steps is not known, or there are fewer, where there are no samples, and where
            columns are not the same in all parts.

        Warns
        -----
        UserWarning
            Where a shard has far more samples than others.
        """
        self._helpers, self._exchange = helpers, exchange
        self._reader = ShardReader(self.parts, self._trainer.loss, 0, 1 if helpers is None else helpers.size)
        counted: list[Counted] = [one for own in self._asked("count", self.shards) for one in own]
        _refuse_other_columns(counted)
        self._counts = [one.n_samples for one in counted]
        known = [n for n in self._counts if n is not None]
        self._batch, there = cut.step // self.shards, None  # of a shard
        if len(known) == len(self._counts):
            if not any(known):
                raise ValueError(f"X must have at least one row, got {self.parts!r}, which have none")
            self.n_samples, self._batch = sum(known), min(self._batch, max(known))
            there = -(-max(known) // self._batch)
            _tell_uneven(known)
        elif not cut.steps:
            raise ValueError(
                "steps_per_epoch must be given to fit, for nobody knows how many samples all parts of X "
                "have; got None"
            )
        step = self._batch * self.shards if self.apart else min(cut.step, self.n_samples or cut.step)
        batch = self._batch if self.apart else step
        return cut._replace(batch=batch, step=step, steps=steps_of(cut.steps or None, there))

    def _asked(self, name: str, *said: Any) -> list[Any]:
        """What all processes find, by rank: see :class:`rewire._shard_reader.ShardReader`."""
        if self._helpers is None:
            return [getattr(self._reader, name)(*said)]
        with self._exchange:
            return self._helpers.read(self._reader, name, said)

    def _expected(self) -> Expected:
        trainer, net = self._trainer, self._trainer.network
        in_units = trainer.standardize_targets or net.target_standardizer is not None
        s = net.standardizer
        by = None if s is None else Standardizer(s.mean, s.scale)  # without what it has learnt from
        return Expected(net.n_in, net.n_out, net.dtype, by, in_units)

    # --- an epoch -----------------------------------------------------------------------------

    @contextlib.contextmanager
    def reading(self, cut: Cut, epoch: int, done: int, made: int) -> Iterator[Iterator[Window]]:
        own = cut._replace(batch=self._batch, step=self._batch)
        self._asked("begin", own, self._expected(), epoch, made)
        try:
            yield self._windows(own, made)
        finally:
            self._reader.close()

    def _windows(self, cut: Cut, made: int) -> Iterator[Window]:
        number = made * cut.batch // cut.window
        first = sum(number * cut.window if n is None else min(n, number * cut.window) for n in self._counts)
        while number * cut.window < cut.steps * cut.batch:
            for window in self._cut_up(self._asked("next"), cut.batch, first):
                yield window
                first += len(window.order)
            number += 1

    def _cut_up(self, found: list[ShardWindow], batch: int, first: int) -> Iterator[Window]:
        """The batches that have samples of each shard, and then those of shards that go on.

        The latter come one by one, or, where trainings are apart, together as long as as many go on.
        """
        there = [own for own in found if own.targets is not None]
        if len({own.sparse for own in there}) > 1:
            raise TypeError("X must be sparse in all parts, or in none, got both")
        targets = joined_targets([own.targets for own in there if own.targets is not None])
        weight = joined_weights([own.weight for own in there])
        if self._trainer.network.target_standardizer is not None:
            self._trainer.check_range(targets, self._trainer.loss, "y")
        counts = [n for own in found for n in own.samples]
        bases = tuple(int(base) for base in np.cumsum(counts) - counts)
        orders = [o + base for o, base in zip((o for own in found for o in own.orders), bases, strict=True)]
        whole = min(map(len, orders)) // batch * batch
        runs = [[np.stack([o[:whole].reshape(-1, batch) for o in orders], axis=1).reshape(-1)]]
        steps = [batch * len(orders)]
        for at in range(whole, max(map(len, orders)), batch):
            rows = np.concatenate([o[at : at + batch] for o in orders])
            if not self.apart or len(rows) < steps[-1]:
                runs.append([])
                steps.append(len(rows))
            runs[-1].append(rows)
        samples, weights = Samples(self._reader.source, targets, weight), SampleWeights(weight)
        for run, step in zip(runs, steps, strict=True):
            rows = np.concatenate(run)
            if len(rows):
                yield Window(samples, weights, rows, first, batch if self.apart else step, bases, step)
                first += len(rows)

    # --- one pass in order --------------------------------------------------------------------

    def seen(self, cut: Cut) -> Seen:
        """What all processes have seen of the inputs of their shards, merged shard by shard."""
        return self._seen("inputs", cut)

    def seen_targets(self, cut: Cut) -> Seen:
        return self._seen("targets", cut)

    def _seen(self, what: str, cut: Cut) -> Seen:
        asked = self._asked("shown", what, self._expected(), cut.steps * self._batch)
        by_shard = {(k, k + 1): one for k, one in enumerate(one for own in asked for one in own)}
        with quiet():
            merged = summed(by_shard, len(by_shard), _merged)
        if merged is None:
            raise ValueError("sample_weight must have a positive sum, got 0")
        moments, extremes = merged
        return Seen(moments, extremes, "X" if what == "inputs" else "y")


def _merged(a: Shown, b: Shown) -> Shown:
    return a[0].merged(b[0]), a[1].merged(b[1])


def _refuse_other_columns(counted: list[Counted]) -> None:
    """ValueError where shards differ in them; of one shard its parts have been compared."""
    each = [one.first for one in counted if one.first[1] is not None]
    for name, columns in each[1:]:
        refuse_other_columns(each[0], name, columns)


def _tell_uneven(counts: list[int]) -> None:
    """Warn where the last batches of an epoch have few shards."""
    if max(counts) > _UNEVEN * sum(counts) / len(counts):
        warn(
            f"X: shard {counts.index(max(counts))} of {len(counts)} has {plural(max(counts), 'sample')}, and "
            f"the shortest {min(counts)}: when that is at its end, batches are smaller. Parts of like size, "
            "or more parts than shards, make them equal",
            UserWarning,
        )
