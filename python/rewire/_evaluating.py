"""Data for a trainer, checked and wrapped, and what its network makes of them: loss and metric."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _checks
from rewire._checked import checked, targets_of_part
from rewire._inputs import as_source
from rewire._moments import SampleWeights, quiet
from rewire.activations import Linear
from rewire.callbacks import brings_network
from rewire.losses import Loss, Targets
from rewire.losses.values import LARGEST_TARGET
from rewire.metrics import Metric
from rewire.network import Sequential
from rewire.streams.ahead import Ahead
from rewire.streams.joining import Samples
from rewire.streams.kinds import pieces_of
from rewire.streams.parts import Parts
from rewire.streams.stream import Stream
from rewire.threads import resolve

__all__ = ["Evaluating", "refuse_unscalable"]


def refuse_unscalable(loss: Loss, network: Sequential) -> None:
    """ValueError unless targets of this loss may be standardised for this network."""
    if not loss.of_numbers:
        raise ValueError(
            "standardize_targets is for losses of numbers, 'mse' and 'huber', whose outputs are in the units "
            f"of targets, got loss {loss.name!r}"
        )
    if not isinstance(network.final, Linear):
        raise ValueError(
            "standardize_targets needs a final layer that is 'linear', for standardised targets have any "
            f"size and sign, got {network.final.name!r}"
        )


class Evaluating:
    """Base of `rewire.Trainer`: a network and a loss, and how good the one is by the other."""

    network: Sequential
    loss: Loss
    standardize_targets: bool
    fused: bool
    threads: int | None
    metrics: bool | None
    callbacks: list[Any]

    # --- data ---------------------------------------------------------------------------

    def _check_data(
        self, X: Any, y: Any, sample_weight: Any, which: str, loss: Loss | None = None
    ) -> Samples:
        loss = self.loss if loss is None else loss
        source = as_source(X, self.network.n_in, f"{which}X")
        targets = self._check_targets(y, f"{which}y", loss)
        if targets.n_samples != source.n_samples:
            raise ValueError(
                f"{which}X and y must have as many rows, got {source.n_samples} and {targets.n_samples}"
            )
        weight = self._check_weight(sample_weight, source.n_samples, f"{which}sample_weight")
        return Samples(source, targets, weight)

    def _data(
        self, X: Any, y: Any, sample_weight: Any, which: str, *, window: int | None = None
    ) -> Samples | Stream:
        """Data in memory, checked, or what comes in pieces, which are checked as they come.

        With a ``window``, that is also an array in memory that has more samples.
        """
        pieces = pieces_of(X, y, sample_weight, which, window=window)
        if pieces is None:
            return self._check_data(X, y, sample_weight, which)
        n_in = self.network.n_in
        if pieces.n_features not in (None, n_in):
            shape = pieces.n_samples, pieces.n_features
            raise ValueError(f"{which}X must have {n_in} features, got shape {shape}")
        check = partial(self._check_targets, of_parts=isinstance(X, Parts))
        wrap = partial(checked, n_in=n_in, check_targets=check, which=which)
        return Stream(pieces, wrap, n_in, self.network.check_inputs)

    def _check_targets(
        self, y: Any, name: str, loss: Loss | None = None, *, of_parts: bool = False
    ) -> Targets:
        """Targets of a loss, within its range as they are and once they are standardised."""
        loss = self.loss if loss is None else loss
        if self.network.target_standardizer is not None:
            refuse_unscalable(loss, self.network)
        n_out = self.network.n_out
        targets = targets_of_part(y, name, loss, n_out) if of_parts else loss.targets(y, n_out, name)
        if not self._has_units_to_learn():  # else whoever learns them looks at the range in these
            self.check_range(targets, loss, name)
        return targets

    def _has_units_to_learn(self) -> bool:
        return self.standardize_targets and self.network.target_standardizer is None

    def check_range(self, targets: Targets, loss: Loss, name: str) -> None:
        """ValueError for targets out of the loss's range, in the units that the loss sees."""
        net, by = self.network, self.network.target_standardizer
        if by is None:
            loss.check_range(targets, net.dtype, name)
            return
        source, most = targets.source(), LARGEST_TARGET[net.dtype]
        if not source.n_samples or by.fits(source.largest, most):
            return
        low, high = source.extremes()
        if (np.abs(by.apply(np.stack([low, high]))) <= most).all():
            return
        step = max(1, 2**20 // net.n_out)
        for start in range(0, source.n_samples, step):
            rows = np.arange(start, min(start + step, source.n_samples))
            bad = ~(np.abs(by.apply(source.rows(rows))) <= most)
            if bad.any():
                at, column = divmod(int(bad.argmax()), net.n_out)
                value = source.rows(rows[at : at + 1])[0, column]
                raise ValueError(
                    f"{name} by the network's target_standardizer must lie within {most:.2g}, so that "
                    f"squared errors are numbers in {net.dtype}, got {value:g} in row {rows[at]}, "
                    f"column {column}"
                )

    def _check_weight(self, weight: Any, samples: int, name: str) -> NDArray[np.float64] | None:
        if weight is None:
            return None
        found = _checks.float_vector(name, weight, samples, low=0.0)
        if not found.any():
            raise ValueError(f"{name} must have a positive sum, got 0")
        return found

    # --- evaluate -----------------------------------------------------------------------

    def evaluated_network(self) -> Sequential:
        """The network that validation and :meth:`evaluate` look at, to predict with and to save.

        The trained one itself, unless a callback brings another: :class:`rewire.WeightAverage` a copy with
        its averages, which training does not change.

        Raises
        ------
        RuntimeError
            If another thread trains this network, and a callback is to look at it.
        """
        if not any(map(brings_network, self.callbacks)):
            return self.network
        with self.network.gate.reading("predict"):
            return self._evaluated_network()

    def _evaluated_network(self) -> Sequential:
        found = self.network
        for callback in filter(brings_network, self.callbacks):
            found = _checks.one_of_types(
                f"{type(callback).__name__}.evaluated_network", callback.evaluated_network(found),
                Sequential, "a Sequential",
            )  # fmt: skip
        return found

    def evaluate(
        self, X: Any, y: Any = None, *, sample_weight: Any = None, batch_size: int | None = None,
        steps: int | None = None,
    ) -> dict[str, float]:  # fmt: skip
        """Loss and metric on data, without dropout, of :meth:`evaluated_network`.

        Parameters
        ----------
        X, y, sample_weight
            As for :meth:`fit`: also what is read in pieces.
        batch_size : int, optional
            Samples at a time.
        steps : int, optional
            Batches of X that gives batches: all, by default, which are to come to an end.

        Returns
        -------
        dict
            ``{"loss": ..., "accuracy": ...}``; ``"r2"`` for losses of numbers; ``"loss"`` alone where a loss
            has no metric. Before the first ``fit`` of a trainer with ``standardize_targets`` nothing is known
            to standardise by: the loss is of targets as they are.
        """
        steps = None if steps is None else _checks.integer("steps", steps, low=1)
        data = self._data(X, y, sample_weight, "")
        if steps is not None and not (isinstance(data, Stream) and data.pieces.ready):
            raise TypeError(f"steps counts batches that X gives, and belongs to no array, got {steps}")
        with self.network.gate.reading("evaluate"):
            return self.evaluate_checked(data, batch_size, steps=steps, refuse=True)

    @quiet()
    def evaluate_checked(
        self,
        data: Samples | Stream,
        batch_size: int | None = None,
        *,
        steps: int | None = None,
        refuse: bool = False,
    ) -> dict[str, float]:
        """:meth:`evaluate` on data that has been checked and wrapped.

        Outputs that overflow are refused with ``refuse``. In training they are a sign of weights that grow
        without bound: then the figures are no numbers, and the next steps say what diverged.
        """
        net, n_threads = self._evaluated_network(), resolve(self.threads)
        ws = net.workspace()
        p = net.passing(ws, fused=self.fused, threads=n_threads)
        metric = self.loss.metric(net.final)
        total = weights = 0.0
        if isinstance(data, Samples):
            size = net.batch_for(data.source.n_samples, batch_size)
            parts: contextlib.AbstractContextManager[Iterable[Samples]] = contextlib.nullcontext([data])
        else:
            size = net.batch_for(data.n_samples or 2**62, batch_size)
            parts = Ahead(data.blocks(size, steps))
        with quiet(), parts as found_parts:
            for source, targets, weight in found_parts:
                if refuse and self._has_units_to_learn():
                    self.check_range(targets, self.loss, "y")
                each = SampleWeights(weight)
                for start in range(0, source.n_samples, size):
                    rows = np.arange(start, min(start + size, source.n_samples))
                    w, apart, amount = each.of(rows)
                    if amount == 0.0:
                        continue
                    x = net.load_batch(ws, source, rows, n_threads)
                    z = net.forward(x, p)[-1]
                    truth = net.truth(targets, rows)
                    value = self.loss.evaluate(z, truth, w, None, n_threads)
                    amount *= self.loss.counts(truth, w)
                    total += amount * value
                    weights += amount
                    if refuse and not z.finite(n_threads):
                        net.check_outputs(source, rows, z.unpack(None, n_threads))
                    if metric is not None:
                        metric.count(metric.look(z, truth, apart, n_threads), truth, apart)
        found = {"loss": total / weights if weights else math.nan}
        return found if metric is None else {**found, metric.name: metric.value()}

    def training_metric(self) -> Metric | None:
        """A fresh metric for the batches that are learnt from; None where nobody has asked for one."""
        asked = self.loss.finds_right if self.metrics is None else self.metrics
        return self.loss.metric(self.network.final) if asked else None
