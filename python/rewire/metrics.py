"""Accuracy and r2, accumulated batch by batch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._moments import levels, near_one, quiet, shifted
from rewire._targets import Truth

__all__ = ["Accuracy", "Metric", "R2"]


_NONE = -(1 << 20)
_NOTHING = np.zeros(0, np.int64)
_LOWEST = float(np.finfo(np.float64).min)


def _sum_rows(x: NDArray[np.float64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """The (weighted) sum over rows; not by BLAS, whose sums may depend on its threads."""
    return x.sum(axis=0) if weight is None else np.einsum("i,ij->j", weight, x)


class Metric:
    """Something better when larger, summed over batches."""

    name: str = ""

    def update(
        self, outputs: NDArray[np.floating], truth: NDArray[np.generic], weight: NDArray[np.float64] | None
    ) -> None:
        """Add a batch: raw outputs (batch, n_out), what they should be, weights of the samples."""
        raise NotImplementedError

    def look(self, z: _core.Tiles, truth: Truth, threads: int = 1) -> NDArray[Any]:
        """What :meth:`count` needs of a batch's outputs, which are gone afterwards."""
        return z.unpack(None, threads)

    def count(self, seen: NDArray[Any], truth: Truth, weight: NDArray[np.float64] | None) -> None:
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

    def look(self, z: _core.Tiles, truth: Truth, threads: int = 1) -> NDArray[Any]:
        if truth.right is not None:  # the loss has found out
            return truth.right
        if self.threshold is None or truth.targets.labels is not None:
            return z.unpack(None, threads)
        return _core.agreement(z, truth.targets.core, truth.rows, self.threshold, threads) / z.n

    def count(self, seen: NDArray[Any], truth: Truth, weight: NDArray[np.float64] | None) -> None:
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


class R2(Metric):
    """Coefficient of determination, averaged over outputs.

    An output whose true values are all the same counts 1 where every prediction is exact, else 0. With fewer
    than two samples of positive weight there is none: NaN. What is below the range of float64 is its lowest
    number.
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
        down = _NOTHING
        if self.level is None and near_one(largest):  # the first batch, and nothing is out of range
            self.level = np.zeros(y.shape[1], np.int64)
            self.low, self.high = low, high
        else:
            level = np.where(largest == 0, _NONE, levels(largest))
            if self.level is None:
                self.level = np.full(y.shape[1], _NONE)
                self.error = self.mean = self.deviations = np.zeros(y.shape[1])
                self.low, self.high = low, high
            before, self.level = self.level, np.maximum(level, self.level)
            self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
            by = np.where(self.level == _NONE, 0, self.level)
            down = np.where(before == _NONE, 0, before - by)
            y, out = shifted(y, -by), shifted(out, -by)
        error = _sum_rows(np.square(y - out), w)
        mean = _sum_rows(y, w) / total
        deviations = _sum_rows(np.square(y - mean), w)
        if not self.samples:
            self.error, self.mean, self.deviations = error, mean, deviations
        else:  # two sets of samples merged, as in Chan, Golub, LeVeque (1983)
            old = shifted(self.mean, down)
            delta, both = mean - old, self.total + total
            self.error = shifted(self.error, 2 * down) + error
            self.deviations = shifted(self.deviations, 2 * down) + (
                deviations + delta * delta * (self.total * total / both)
            )
            self.mean = old + delta * (total / both)
        self.total += total
        self.samples += len(y)

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
