"""Losses in NumPy: a formula and its gradient, on arrays (samples, outputs)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe
from rewire._targets import Targets, Truth, is_sparse, real_array, target_values
from rewire.activations import Activation, Linear, Softmax
from rewire.losses.base import Loss, unfit

__all__ = ["ArrayLoss"]


class ArrayLoss(Loss):
    """Base of losses that compute with NumPy. A subclass defines :meth:`value_and_gradient`.

    Outputs are copied out of the core and the gradient into it, a sweep over them each, on one thread.

    Attributes
    ----------
    logits : bool
        Of the class: whether outputs are those before a final softmax or sigmoid. By default they are what
        the network predicts, and there may be no softmax.
    """

    logits: ClassVar[bool] = False

    def value_and_gradient(
        self, outputs: NDArray[Any], targets: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """The loss of every sample, and its gradient for the outputs.

        Parameters
        ----------
        outputs : ndarray of the network's dtype, shape (samples, n_out)
        targets : ndarray
            The rows of y that belong to them: int64 for one integer a sample, else float64
            (samples, columns).

        Returns
        -------
        value : ndarray, shape (samples,), or float
            One number for each sample. Or their mean, where no samples have weights.
        gradient : ndarray, shape (samples, n_out)
            Of each sample's own loss for its outputs; of the mean, where value is the mean.
        """
        raise NotImplementedError(f"{type(self).__name__} must define value_and_gradient")

    def fused(self, final: Activation) -> bool:
        if isinstance(final, Softmax) and not self.logits:
            raise unfit(
                self,
                final,
                "anything but 'softmax'",
                f"it is made for logits alone: set logits = True in {type(self).__name__}",
            )
        return self.logits and not isinstance(final, Linear)

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        """Integers (m,), or finite numbers (m,) or (m, columns), as many columns as there may be."""
        if is_sparse(y):
            return target_values(y, y.shape[-1], name)
        a = real_array(y, name)
        if a.ndim == 1 and a.dtype.kind in "iub":
            return Targets(labels=np.ascontiguousarray(a, np.int64))
        if a.ndim not in (1, 2) or a.shape[-1] == 0:
            raise ValueError(f"{name} must have shape (samples,) or (samples, columns), got {a.shape}")
        a = a.reshape(len(a), -1)
        return target_values(a, a.shape[1], name)

    def evaluate(
        self,
        z: _core.Tiles,
        truth: Truth,
        weight: NDArray[np.float64] | None,
        dz: _core.Tiles | None,
        threads: int = 1,
    ) -> float:
        outputs = z.unpack(None, threads)
        found = self.value_and_gradient(outputs, truth.array())
        where = type(self).__name__
        if not (isinstance(found, tuple) and len(found) == 2):
            raise TypeError(f"{where}.value_and_gradient must give (value, gradient), got {describe(found)}")
        value, gradient = (np.asarray(part) for part in found)
        if value.dtype.kind not in "fiub" or gradient.dtype.kind not in "fiub":
            raise TypeError(f"{where}.value_and_gradient must give real numbers, got {describe(found)}")
        if gradient.shape != outputs.shape:
            raise ValueError(f"{where}: gradient must have shape {outputs.shape}, got {gradient.shape}")
        if value.shape not in ((), (len(outputs),)):
            raise ValueError(f"{where}: value must have shape ({len(outputs)},) or (), got {value.shape}")
        if value.ndim == 0:
            if weight is not None:
                raise ValueError(
                    f"{where}: value must be a number for each sample where samples have weights, "
                    "got one for all"
                )
            fraction = None
        else:
            fraction = np.full(len(value), 1.0 / len(value)) if weight is None else weight / weight.sum()
            value = (value.astype(np.float64) * fraction).sum()
            gradient = gradient * fraction[:, None]
        if dz is not None:
            if np.isfinite(value) and not np.isfinite(gradient).all():
                raise ValueError(f"{where}: gradient must be finite where the value is, got NaN or infinity")
            dz.pack(np.ascontiguousarray(gradient, outputs.dtype), threads=threads)
        return float(value)
