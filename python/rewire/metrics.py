"""Accuracy and r2, accumulated batch by batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._moments import levels, near_one, quiet, shifted
from rewire._targets import Truth

__all__ = ["Accuracy", "Metric", "R2"]


_NONE = -(1 << 20)
_LOWEST = float(np.finfo(np.float64).min)


def _sum_rows(x: NDArray[np.float64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The (weighted) sum over rows; not by BLAS, whose sums may depend on its threads."""
    return x.sum(axis=0) if weight is None else np.einsum("i,ij->j", weight, x)


def _plain(level: NDArray[np.int64]) -> bool:
    """Whether no number is divided by anything."""
    return not level.any() or bool(((level == 0) | (level == _NONE)).all())


def _shift(before: NDArray[np.int64], after: NDArray[np.int64]) -> NDArray[np.int64]:
    """Powers of two that bring numbers of one level to another."""
    return np.where((before == _NONE) | (after == _NONE), 0, before - after)


class Metric:
    """Something better when larger, summed over batches."""

    name: str = ""

    def update(
        self, outputs: NDArray[np.floating], truth: NDArray[np.generic], weight: NDArray[np.float64] | None
    ) -> None:
        """Add a batch: raw outputs (batch, n_out), what they should be, weights of the samples."""
        raise NotImplementedError

    def look(self, z: _core.Tiles, truth: Truth, weight: NDArray[np.float64] | None, threads: int = 1) -> Any:
        """What :meth:`count` needs of a batch's outputs, which are gone afterwards."""
        return z.unpack(None, threads)

    def count(self, seen: Any, truth: Truth, weight: NDArray[np.float64] | None) -> None:
        """Add a batch by what :meth:`look` gave; weights of the samples."""
        self.update(seen, truth.array(), weight)

    def value(self) -> float:
        """The metric over all batches so far."""
        raise NotImplementedError


class Accuracy(Metric):
    """Fraction of the weight of samples that are classified right.

    Parameters
    ----------
    threshold : float or None
        None, and wherever targets are class labels: the largest output is the class, the first one of
        several. A number: every output is a yes-no decision of its own (yes above ``threshold``), and the
        fraction counts decisions.
    """

    name = "accuracy"

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold
        self.right = self.total = 0.0

    def update(
        self, outputs: NDArray[np.floating], truth: NDArray[np.generic], weight: NDArray[np.float64] | None
    ) -> None:
        if self.threshold is None or truth.ndim == 1:
            wanted = truth if truth.ndim == 1 else truth.argmax(axis=1)
            right = outputs.argmax(axis=1) == wanted
        else:
            right = ((outputs > self.threshold) == np.greater(truth, 0.5)).mean(axis=1)
        self._add(right, weight)

    def look(self, z: _core.Tiles, truth: Truth, weight: NDArray[np.float64] | None, threads: int = 1) -> Any:
        if truth.right is not None:  # the loss has found out
            return truth.right
        if self.threshold is None or truth.targets.labels is not None:
            return z.unpack(None, threads)
        return _core.agreement(z, truth.targets.core, truth.rows, self.threshold, threads) / z.n

    def count(self, seen: Any, truth: Truth, weight: NDArray[np.float64] | None) -> None:
        if seen.ndim == 1:
            self._add(seen, weight)
        else:
            self.update(seen, truth.array(), weight)

    def _add(self, right: NDArray[Any], weight: NDArray[np.float64] | None) -> None:
        """Count samples by how right each is, in [0, 1]."""
        if weight is None:
            self.right += float(np.count_nonzero(right) if right.dtype == bool else right.sum())
            self.total += len(right)
        else:
            self.right += float(right @ weight)
            self.total += float(weight.sum())

    def value(self) -> float:
        return float(self.right / self.total) if self.total else float("nan")


class _Sums(NamedTuple):
    """Of a batch: the weight of its samples, how many have one, and by output what ``r2.h`` lists."""

    total: float
    samples: int
    error: NDArray[np.float64]
    mean: NDArray[np.float64]
    deviations: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class R2(Metric):
    """Coefficient of determination, averaged over outputs.

    An output whose true values are all the same counts 1 where every prediction is exact, else 0. With fewer
    than two samples of positive weight there is none: NaN. What is below the range of float64 is its lowest
    number.

    The core sums up a batch. Numbers whose squares would be out of range are first brought near 1, in NumPy.
    """

    name = "r2"

    def __init__(self) -> None:
        self.total, self.samples = 0.0, 0
        # By output, of numbers divided by 2**level: weighted squared errors, mean, squared deviations of the
        # truth. Only what is far from 1 has a level other than 0; _NONE stands for no number but 0 so far.
        self.level: NDArray[np.int64] | None = None
        self.error = self.mean = self.deviations = np.zeros(0)
        self.low = self.high = np.zeros(0)

    @quiet()
    def look(self, z: _core.Tiles, truth: Truth, weight: NDArray[np.float64] | None, threads: int = 1) -> Any:
        total, sums = _core.r2_sums(z, truth.targets.core, truth.rows, weight, threads)
        if total == 0.0:
            return None
        *found, largest = sums
        samples = z.batch if weight is None else int(np.count_nonzero(weight))
        if near_one(largest):
            level = np.zeros(z.n, np.int64)
        else:
            level = np.where(largest == 0.0, _NONE, levels(largest))
        if _plain(level):
            return _Sums(total, samples, *found), level
        return z.unpack(None, threads)

    @quiet()
    def count(self, seen: Any, truth: Truth, weight: NDArray[np.float64] | None) -> None:
        if isinstance(seen, np.ndarray):
            self.update(seen, truth.array(), weight)
        elif seen is not None:
            self._merge(*seen)

    @quiet()
    def update(
        self, outputs: NDArray[np.floating], truth: NDArray[np.generic], weight: NDArray[np.float64] | None
    ) -> None:
        w = weight
        total = float(len(outputs) if w is None else w.sum())
        if total == 0.0:
            return
        y, out = np.asarray(truth, np.float64), np.asarray(outputs, np.float64)
        if w is not None and not w.all():
            y, out, w = y[w > 0], out[w > 0], w[w > 0]
        low, high = y.min(axis=0), y.max(axis=0)
        largest = np.maximum(np.maximum(-low, high), np.abs(out).max(axis=0))
        level = np.where(largest == 0, _NONE, levels(largest))
        if self.level is not None:
            level = np.maximum(level, self.level)
        by = np.where(level == _NONE, 0, level)
        y, out = shifted(y, -by), shifted(out, -by)
        error = _sum_rows(np.square(y - out), w)
        mean = _sum_rows(y, w) / total
        deviations = _sum_rows(np.square(y - mean), w)
        self._merge(_Sums(total, len(y), error, mean, deviations, low, high), level)

    def _merge(self, more: _Sums, level: NDArray[np.int64]) -> None:
        """Count samples whose sums are of numbers divided by 2**level."""
        if self.level is None:
            self.level = level
            self.total, self.samples, self.error, self.mean, self.deviations, self.low, self.high = more
            return
        before, self.level = self.level, np.maximum(level, self.level)
        mine, theirs = _shift(before, self.level), _shift(level, self.level)
        # Two sets of samples merged, as in Chan, Golub, LeVeque (1983).
        old, both = shifted(self.mean, mine), self.total + more.total
        delta, fraction = shifted(more.mean, theirs) - old, more.total / both
        self.error = shifted(self.error, 2 * mine) + shifted(more.error, 2 * theirs)
        self.deviations = shifted(self.deviations, 2 * mine) + (
            shifted(more.deviations, 2 * theirs) + delta * delta * (self.total * fraction)
        )
        self.mean = old + delta * fraction
        self.low, self.high = np.minimum(self.low, more.low), np.maximum(self.high, more.high)
        self.total = both
        self.samples += more.samples

    @quiet()
    def value(self) -> float:
        if self.samples < 2:
            return float("nan")
        still = self.low == self.high
        if still.any():
            ratio = np.where(still, self.error != 0.0, self.error / np.where(still, 1.0, self.deviations))
        else:
            ratio = self.error / self.deviations
        return float(np.maximum(1.0 - ratio, _LOWEST).sum() / len(ratio))
