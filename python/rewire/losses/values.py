"""Losses of outputs that are numbers, or logarithms of rates, averaged over samples and outputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _checks, _core
from rewire._moments import quiet
from rewire._targets import Targets, Truth, target_values
from rewire.activations import Activation, Linear, Softmax
from rewire.losses.base import Loss, register_loss, unfit
from rewire.metrics import R2, Metric

__all__ = ["MSE", "Huber", "Poisson"]

# Errors are squared, and so are their gradients by Adam.
LARGEST_TARGET = {"float32": 2.0**60, "bfloat16": 2.0**60, "float64": 2.0**500}


def _refuse_far(targets: Targets, dtype: str, name: str) -> None:
    """ValueError naming row and column of a target beyond LARGEST_TARGET."""
    a, most = targets.numbers(), LARGEST_TARGET[dtype]
    if a.dtype.kind == "f" and _core.largest(a.ravel("K")) > most:
        targets.refuse_where(
            (a > most) | (a < -most),
            name,
            f"lie within {most:.2g}, so that squared errors are numbers in {dtype} (scale the targets)",
        )


class _OfNumbers(Loss):
    """Any final layer but softmax; finite targets (m, n_out), or (m,) for one output."""

    of_numbers = True

    def fused(self, final: Activation) -> bool:
        if isinstance(final, Softmax):
            raise unfit(
                self,
                final,
                "anything but 'softmax'",
                "its gradient vanishes where the network is surely wrong; use 'cross_entropy'",
            )
        return False

    def metric(self, final: Activation) -> Metric:
        return R2()

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        return target_values(y, n_out, name)

    def check_range(self, targets: Targets, dtype: str, name: str) -> None:
        _refuse_far(targets, dtype, name)


@register_loss
class MSE(_OfNumbers):
    """Mean squared error over samples and outputs, without a factor 1/2 (as torch).

    Any final layer but softmax. Targets lie within 2^60 for networks of float32, and 2^500 for float64.
    """

    name = "mse"
    kind = "mse"


@register_loss
class Huber(_OfNumbers):
    """Huber's loss: e^2 / 2 of errors within ``delta``, beyond it their tangent, delta (|e| - delta / 2).

    What is far off pulls with a force that does not grow any more. Any final layer but softmax; targets as
    for `MSE`.

    Parameters
    ----------
    delta : float > 0

    References
    ----------
    Huber, *Robust estimation of a location parameter*, Annals of Mathematical Statistics 35 (1964).
    """

    name = "huber"
    kind = "huber"

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = _checks.number("delta", delta, low=0.0, open_low=True)

    def evaluate(
        self,
        z: _core.Tiles,
        truth: Truth,
        weight: NDArray[np.float64] | None,
        dz: _core.Tiles | None,
        threads: int = 1,
    ) -> float:
        return _core.loss(self.kind, z, truth.targets.core, truth.rows, weight, dz, threads, delta=self.delta)


class _R2OfRates(R2):
    """R2 of predictions that are exp of the outputs."""

    def look(self, z: _core.Tiles, truth: Truth, weight: NDArray[np.float64] | None, threads: int = 1) -> Any:
        return _rates(z.unpack(None, threads).astype(np.float64))


@quiet()
def _rates(outputs: NDArray[Any]) -> NDArray[Any]:
    rates = np.exp(outputs)
    return np.minimum(rates, np.finfo(rates.dtype).max)


@register_loss
class Poisson(Loss):
    """Negative log likelihood of counts, but for what outputs do not change: exp(z) - t z.

    Outputs z are logarithms of rates, so that the final layer is linear; ``np.exp(network.predict(X))`` are
    the rates, of which the metric is R2. Targets t, (m, n_out), or (m,) for one output, are at least 0.
    """

    name = "poisson"
    kind = "poisson"

    def fused(self, final: Activation) -> bool:
        if not isinstance(final, Linear):
            raise unfit(self, final, "'linear'", "its outputs are to be logarithms of rates")
        return False

    def predictions(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Rates, in the dtype of the outputs; at most its largest number."""
        return _rates(outputs)

    def metric(self, final: Activation) -> Metric:
        return _R2OfRates()

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        found = target_values(y, n_out, name)
        a = found.numbers()
        if a.dtype.kind in "if":
            found.refuse_where(a < 0, name, "hold counts >= 0")
        return found

    def check_range(self, targets: Targets, dtype: str, name: str) -> None:
        _refuse_far(targets, dtype, name)
