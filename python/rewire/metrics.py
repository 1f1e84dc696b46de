"""Accuracy and r2, accumulated batch by batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewire._moments import levels, near_one, quiet, shifted

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

    def value(self) -> float:
        """The metric over all batches so far."""
        raise NotImplementedError


class Accuracy(Metric):
    """Fraction of the weight of samples that are classified right.

    Parameters
    ----------
    threshold : float or None
        None: the largest output is the class. A number: every output is a yes-no decision of its own
        (yes above ``threshold``), and the fraction counts decisions.
    """

    name = "accuracy"

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = threshold
        self._right = self._total = 0.0

    def update(
        self, outputs: NDArray[np.floating], truth: NDArray[np.generic], weight: NDArray[np.float64] | None
    ) -> None:
        if self.threshold is None:
            wanted = truth if truth.ndim == 1 else truth.argmax(axis=1)
            right = outputs.argmax(axis=1) == wanted
            if weight is None:  # the common case, at every step: as quick as it can be
                self._right += np.count_nonzero(right)
                self._total += len(right)
                return
        else:
            right = ((outputs > self.threshold) == np.greater(truth, 0.5)).mean(axis=1)
        self._right += float(right.sum() if weight is None else right @ weight)
        self._total += float(len(outputs) if weight is None else weight.sum())

    def value(self) -> float:
        return self._right / self._total if self._total else float("nan")


class R2(Metric):
    """Coefficient of determination, averaged over outputs.

    An output whose true values are all the same counts 1 where every prediction is exact, else 0. With fewer
    than two samples of positive weight there is none: NaN. What is below the range of float64 is its lowest
    number.
    """

    name = "r2"

    def __init__(self) -> None:
        self._total, self._samples = 0.0, 0
        # By output, of numbers divided by 2**level: weighted squared errors, mean, squared deviations of the
        # truth. Only what is far from 1 has a level other than 0; _NONE stands for no number but 0 so far.
        self._level: NDArray[np.int64] | None = None
        self._error = self._mean = self._deviations = np.zeros(0)
        self._low = self._high = np.zeros(0)

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
        if self._level is None and near_one(largest):  # the first batch, and nothing is out of range
            self._level = np.zeros(y.shape[1], np.int64)
            self._low, self._high = low, high
        else:
            level = np.where(largest == 0, _NONE, levels(largest))
            if self._level is None:
                self._level = np.full(y.shape[1], _NONE)
                self._error = self._mean = self._deviations = np.zeros(y.shape[1])
                self._low, self._high = low, high
            before, self._level = self._level, np.maximum(level, self._level)
            self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
            by = np.where(self._level == _NONE, 0, self._level)
            down = np.where(before == _NONE, 0, before - by)
            y, out = shifted(y, -by), shifted(out, -by)
        error = _sum_rows(np.square(y - out), w)
        mean = _sum_rows(y, w) / total
        deviations = _sum_rows(np.square(y - mean), w)
        if not self._samples:
            self._error, self._mean, self._deviations = error, mean, deviations
        else:  # two sets of samples merged, as in Chan, Golub, LeVeque (1983)
            old = shifted(self._mean, down)
            delta, both = mean - old, self._total + total
            self._error = shifted(self._error, 2 * down) + error
            self._deviations = shifted(self._deviations, 2 * down) + (
                deviations + delta * delta * (self._total * total / both)
            )
            self._mean = old + delta * (total / both)
        self._total += total
        self._samples += len(y)

    @quiet()
    def value(self) -> float:
        if self._samples < 2:
            return float("nan")
        still = self._low == self._high
        if still.any():
            ratio = np.where(still, self._error != 0.0, self._error / np.where(still, 1.0, self._deviations))
        else:
            ratio = self._error / self._deviations
        return float(np.maximum(1.0 - ratio, _LOWEST).sum() / len(ratio))
