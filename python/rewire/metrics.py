"""Accuracy and r2, accumulated batch by batch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Accuracy", "Metric", "R2"]


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
    """Share of the weight of samples that are classified right.

    Parameters
    ----------
    threshold : float or None
        None: the largest output is the class. A number: every output is a yes-no decision of its own
        (yes above ``threshold``), and the share counts decisions.
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
        else:
            right = ((outputs > self.threshold) == np.greater(truth, 0.5)).mean(axis=1)
        self._right += float(right.sum() if weight is None else right @ weight)
        self._total += float(len(outputs) if weight is None else weight.sum())

    def value(self) -> float:
        return self._right / self._total if self._total else float("nan")


class R2(Metric):
    """Coefficient of determination, averaged over outputs (an output that never varies counts 1 or 0)."""

    name = "r2"

    def __init__(self) -> None:
        self._total = 0.0
        self._error: NDArray[np.float64] | None = None  # weighted sum of squared errors, by output
        self._mean: NDArray[np.float64] | None = None
        self._spread: NDArray[np.float64] | None = None

    def update(
        self, outputs: NDArray[np.floating], truth: NDArray[np.generic], weight: NDArray[np.float64] | None
    ) -> None:
        w = np.ones(len(outputs)) if weight is None else weight
        total = float(w.sum())
        if total == 0.0:
            return
        y = np.asarray(truth, dtype=np.float64)
        # Not by BLAS, whose sums may depend on its threads.
        error = np.einsum("i,ij->j", w, np.square(y - outputs))
        mean = np.einsum("i,ij->j", w, y) / total
        spread = np.einsum("i,ij->j", w, np.square(y - mean))
        if self._error is None:
            self._error, self._mean, self._spread = error, mean, spread
        else:  # two sets of samples merged, as in Chan, Golub, LeVeque (1983)
            assert self._mean is not None and self._spread is not None
            delta, both = mean - self._mean, self._total + total
            self._error += error
            self._spread += spread + delta * delta * (self._total * total / both)
            self._mean += delta * (total / both)
        self._total += total

    def value(self) -> float:
        if self._error is None or self._spread is None:
            return float("nan")
        still = self._spread == 0.0
        share = np.where(still, self._error != 0.0, self._error / np.where(still, 1.0, self._spread))
        return float(np.mean(1.0 - share))
