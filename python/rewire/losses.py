"""Losses: which network they fit, how targets look, value and gradient on tiles.

The loss of a batch is the mean over samples, weighted when there are weights.
Cross entropy and binary cross entropy work on logits: a final softmax or
sigmoid is *fused* (left out while training), which is exact where the plain
formula would overflow.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe, detached, refuse_iterables
from rewire._inputs import numbers_of
from rewire._moments import quiet
from rewire._registry import Registry
from rewire.activations import Activation, Linear, Sigmoid, Softmax
from rewire.metrics import R2, Accuracy, Metric

__all__ = ["MSE", "BinaryCrossEntropy", "CrossEntropy", "Loss", "Targets", "loss"]


class Targets:
    """Class labels (n,) or target values (n, n_out), gathered batch by batch into a buffer."""

    def __init__(
        self, *, labels: NDArray[np.int64] | None = None, values: NDArray[Any] | None = None
    ) -> None:
        self.labels, self.values = labels, values
        whole = labels if labels is not None else values
        assert whole is not None
        self.n_samples = len(whole)
        self._buffer: NDArray[Any] | None = None

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Labels (int64) or values (float64) of ``rows``; lives until the next call."""
        source = self.labels if self.labels is not None else self.values
        assert source is not None
        dtype = np.int64 if self.labels is not None else np.float64
        if self._buffer is None or len(self._buffer) < len(rows):
            self._buffer = np.empty((len(rows), *source.shape[1:]), dtype)
        out = self._buffer[: len(rows)]
        if source.dtype == dtype:
            source.take(rows, axis=0, out=out, mode="clip")  # rows are in range; "raise" would buffer
        else:
            out[...] = source[rows]
        return out


class Loss:
    """Base of all losses."""

    name: ClassVar[str] = ""
    kind: ClassVar[str] = ""  # the core's name

    def fused(self, final: Activation) -> bool:
        """Whether the final activation is part of the loss.

        Raises
        ------
        ValueError
            If the pair makes no sense.
        """
        raise NotImplementedError

    def check_outputs(self, n_out: int) -> None:
        """ValueError if the loss makes no sense for ``n_out`` outputs."""

    def metric(self, final: Activation) -> Metric:
        """What is reported beside the loss."""
        raise NotImplementedError

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        """Check y and wrap it; TypeError or ValueError with value and position."""
        raise NotImplementedError

    def check_range(self, targets: Targets, dtype: str, name: str) -> None:
        """ValueError naming row and column of a target whose loss would be out of range."""

    def evaluate(
        self,
        z: _core.Tiles,
        truth: NDArray[Any],
        weight: NDArray[np.float64] | None,
        dz: _core.Tiles | None,
    ) -> float:
        """Loss of a batch; its gradient goes into ``dz``. ``truth`` comes from :meth:`Targets.gather`."""
        labels = truth if truth.ndim == 1 else None
        return _core.loss(self.kind, z, labels, None if labels is not None else truth, weight, dz)

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`loss` reads it back."""
        return {"name": KINDS.saved_as(self)}

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _refuse(loss: Loss, final: Activation, expected: str, reason: str) -> ValueError:
    return ValueError(
        f"loss {loss.name!r} needs a final layer that is {expected}, got {final.name!r}: {reason}"
    )


def _real_array(y: Any, name: str) -> NDArray[Any]:
    if y is None:
        raise TypeError(f"{name} must hold real numbers, got None")
    refuse_iterables(name, y, "(samples,)")
    try:
        a = np.asarray(detached(y))
    except ValueError as error:
        raise TypeError(f"{name} must be an array of real numbers: {error}") from None
    if a.dtype == object:
        a = numbers_of(a, name)
    if a.dtype.kind == "f" and a.dtype.itemsize > 8:
        with quiet():
            a = a.astype(np.float64)
    if a.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, got {describe(y)}")
    return a


def _values(y: Any, n_out: int, name: str) -> NDArray[Any]:
    """(n, n_out) finite real numbers; (n,) will do for one output."""
    a = _real_array(y, name)
    if a.ndim == 1 and n_out == 1:
        a = a[:, None]
    if a.ndim != 2 or a.shape[1] != n_out:
        also = " or (samples,)" if n_out == 1 else ""
        raise ValueError(f"{name} must have shape (samples, {n_out}){also}, got {a.shape}")
    if a.dtype.kind == "f":
        _refuse_where(~np.isfinite(a), a, name, "be finite")
    return a


def _refuse_where(bad: NDArray[np.bool_], a: NDArray[Any], name: str, expected: str) -> None:
    if bad.any():
        at = np.unravel_index(int(np.argmax(bad)), bad.shape)
        where = f"row {int(at[0])}" + (f", column {int(at[1])}" if len(at) > 1 else "")
        raise ValueError(f"{name} must {expected}, got {a[at]} in {where}")


class CrossEntropy(Loss):
    """Cross entropy over classes: -sum_i t_i log softmax(z)_i.

    The final layer is softmax (fused) or linear (taken as logits). Targets are class labels, integers in
    [0, n_out), or probabilities (n, n_out) whose rows sum to 1: one-hot or soft.
    """

    name = "cross_entropy"
    kind = "softmax_ce"

    def fused(self, final: Activation) -> bool:
        if not isinstance(final, (Softmax, Linear)):
            raise _refuse(self, final, "'softmax' or 'linear' (taken as logits)",
                          "its outputs are no distribution over classes")
        return True

    def check_outputs(self, n_out: int) -> None:
        if n_out < 2:
            raise ValueError(
                "loss 'cross_entropy' needs at least 2 outputs, one for each class, got 1: "
                "use 'binary_cross_entropy' with a sigmoid"
            )

    def metric(self, final: Activation) -> Metric:
        return Accuracy()

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        a = _real_array(y, name)
        if a.ndim == 2:
            a = _values(a, n_out, name)
            _refuse_where(a < 0, a, name, "hold probabilities >= 0")
            with quiet():
                total = a.sum(axis=1, dtype=np.float64)
            _refuse_where(np.abs(total - 1.0) > 1e-3, total, name, "have rows that sum to 1")
            return Targets(values=a)
        if a.ndim != 1:
            raise ValueError(f"{name} must have shape (samples,) or (samples, {n_out}), got {a.shape}")
        if a.dtype.kind == "f":
            raise TypeError(f"{name} must hold integer class labels or rows of probabilities, got {a.dtype}")
        _refuse_where((a < 0) | (a >= n_out), a, name, f"hold class labels in [0, {n_out - 1}]")
        return Targets(labels=np.ascontiguousarray(a, dtype=np.int64))


class BinaryCrossEntropy(Loss):
    """Binary cross entropy, averaged over the outputs of a sample: each is a yes or no of its own.

    The final layer is sigmoid (fused) or linear (taken as logits). Targets (n, n_out), or (n,) for one
    output, lie in [0, 1].
    """

    name = "binary_cross_entropy"
    kind = "sigmoid_bce"

    def fused(self, final: Activation) -> bool:
        if not isinstance(final, (Sigmoid, Linear)):
            raise _refuse(self, final, "'sigmoid' or 'linear' (taken as logits)",
                          "its outputs are no probabilities of yes")
        return True

    def metric(self, final: Activation) -> Metric:
        return Accuracy(threshold=0.0)  # of logits: probability 1/2

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        a = _values(y, n_out, name)
        _refuse_where((a < 0) | (a > 1), a, name, "lie in [0, 1]")
        return Targets(values=a)


# Errors are squared, and so are their gradients by Adam.
LARGEST_TARGET = {"float32": 2.0**60, "float64": 2.0**500}


class MSE(Loss):
    """Mean squared error over samples and outputs, without a factor 1/2 (as torch).

    Any final layer but softmax. Targets lie within 2^60 for networks of float32, and 2^500 for float64.
    """

    name = "mse"
    kind = "mse"

    def fused(self, final: Activation) -> bool:
        if isinstance(final, Softmax):
            raise _refuse(self, final, "anything but 'softmax'",
                          "its gradient vanishes where the network is surely wrong; use 'cross_entropy'")
        return False

    def metric(self, final: Activation) -> Metric:
        return R2()

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        return Targets(values=_values(y, n_out, name))

    def check_range(self, targets: Targets, dtype: str, name: str) -> None:
        a, most = targets.values, LARGEST_TARGET[dtype]
        assert a is not None
        if a.dtype.kind == "f" and max(-float(a.min()), float(a.max())) > most:
            _refuse_where((a > most) | (a < -most), a, name, f"lie within {most:.2g}, so that squared errors "
                          f"are numbers in {dtype} (scale the targets)")


KINDS = Registry("loss", Loss, "a dict or a Loss")
for _kind in (CrossEntropy, BinaryCrossEntropy, MSE):
    KINDS.register(_kind)


def loss(what: str | Loss | dict[str, Any]) -> Loss:
    """The loss that ``what`` names: an object, a name or a ``config()``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    return KINDS.build(what)
