"""What outputs should be: labels, numbers or sparse rows, checked once and then read where they lie.

The core takes rows of any real dtype and strides, and of CSR the three arrays: no batch is gathered or made
dense for a loss.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe, detached, refuse_iterables
from rewire._inputs import CsrSource, DenseSource, Source, as_source, numbers_of
from rewire._moments import quiet

__all__ = [
    "Targets", "Truth", "class_labels", "class_numbers", "is_whole", "real_array", "refuse_where",
    "target_values",
]  # fmt: skip


class Targets:
    """Class labels (m,), numbers (m, n), or CSR rows of n columns, of all samples.

    Attributes
    ----------
    n_samples : int
    labels, values : ndarray or None
    sparse : CsrSource or None
    core : _core.Targets
    """

    def __init__(
        self,
        *,
        labels: NDArray[np.int64] | None = None,
        values: NDArray[Any] | None = None,
        sparse: CsrSource | None = None,
    ) -> None:
        self.labels, self.values, self.sparse = labels, values, sparse
        if sparse is not None:
            ones = bool((sparse.values == 1).all())
            self.core = _core.Targets(
                indptr=sparse.indptr, columns=sparse.columns, entries=None if ones else sparse.values,
                n=sparse.n_features,
            )  # fmt: skip
            self.n_samples = sparse.n_samples
            return
        whole = labels if labels is not None else values
        assert whole is not None
        self.n_samples = len(whole)
        self.core = _core.Targets(labels=labels, values=values)

    def __getstate__(self) -> dict[str, Any]:
        return {"labels": self.labels, "values": self.values, "sparse": self.sparse}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def array(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Labels (int64) or numbers (float64) of ``rows``: for metrics, which are asked for apart."""
        if self.labels is not None:
            return self.labels[rows]
        if self.sparse is not None:
            return self.sparse.rows(rows)
        assert self.values is not None
        return self.values[rows].astype(np.float64)

    def source(self) -> Source:
        """Numbers as columns, for whoever takes their mean and deviation."""
        if self.sparse is not None:
            return self.sparse
        assert self.values is not None
        return as_source(self.values, None, "y")

    def numbers(self) -> NDArray[Any]:
        """All numbers that are stored."""
        found = self.sparse.values if self.sparse is not None else self.values
        assert found is not None
        return found

    def refuse_where(self, bad: NDArray[np.bool_], name: str, expected: str) -> None:
        """ValueError naming row and column of the first of the :meth:`numbers` that is ``bad``."""
        if self.sparse is None:
            refuse_where(bad, self.numbers(), name, expected)
        elif bad.any():
            at = int(np.argmax(bad))
            row = int(np.searchsorted(self.sparse.indptr, at, side="right")) - 1
            where = f"row {row}, column {self.sparse.columns[at]}"
            raise ValueError(f"{name} must {expected}, got {self.sparse.values[at]} in {where}")


@dataclass
class Truth:
    """The targets of a batch: rows of all that there are.

    Attributes
    ----------
    right : ndarray of bool or None
        Which samples are classified right, where a loss finds that out by the way.
    """

    targets: Targets
    rows: NDArray[np.int64]
    right: NDArray[np.bool_] | None = None

    def array(self) -> NDArray[Any]:
        """As :meth:`Targets.array`."""
        return self.targets.array(self.rows)


def real_array(y: Any, name: str) -> NDArray[Any]:
    """An array of real numbers; TypeError if it is none."""
    if y is None:
        raise TypeError(f"{name} must hold real numbers, got None")
    if type(y) is np.ndarray and y.dtype == np.float64:
        return y
    refuse_iterables(name, y, "(samples,)")
    try:
        a = np.asarray(detached(y, name))
    except ValueError as error:
        raise TypeError(f"{name} must be an array of real numbers: {error}") from None
    if a.dtype == object:
        integers = all(isinstance(item, (Integral, np.bool_)) for item in a.flat)
        a = numbers_of(a, name)
        if integers and is_whole(a):  # labels, say
            a = a.astype(np.int64)
    if a.dtype.kind == "f" and a.dtype.itemsize > 8:
        with quiet():
            a = a.astype(np.float64)
    if a.dtype.kind not in "fiub":
        words = a.dtype.kind in "USO"
        also = f"; numpy.unique({name}, return_inverse=True)[1] numbers classes, and estimators take them"
        raise TypeError(f"{name} must hold real numbers, got {describe(y)}{also if words else ''}")
    return a


def is_sparse(y: Any) -> bool:
    """Whether it is a SciPy matrix or array."""
    return hasattr(y, "tocsr") and hasattr(y, "shape")


def target_values(y: Any, n_out: int, name: str) -> Targets:
    """Finite real numbers (m, n_out), dense or SciPy's; (m,) will do for one output."""
    if is_sparse(y):
        if tuple(y.shape[1:]) != (n_out,):
            raise ValueError(f"{name} must have shape (samples, {n_out}), got {tuple(y.shape)}")
        source = as_source(y, n_out, name)
        assert isinstance(source, CsrSource)
        return Targets(sparse=source)
    a = real_array(y, name)
    if a.ndim == 1 and n_out == 1:
        a = a[:, None]
    if a.ndim != 2 or a.shape[1] != n_out:
        also = " or (samples,)" if n_out == 1 else ""
        raise ValueError(f"{name} must have shape (samples, {n_out}){also}, got {a.shape}")
    source = as_source(a, n_out, name)  # finite, and of a type that the core knows
    assert isinstance(source, DenseSource)
    return Targets(values=source.x)


def class_numbers(y: NDArray[Any], classes: NDArray[Any], name: str) -> NDArray[np.int64]:
    """The places of labels, words too, among sorted classes; ValueError for one that is not there."""
    found = np.minimum(np.searchsorted(classes, y), len(classes) - 1)
    if (unknown := classes[found] != y).any():
        raise ValueError(
            f"{name} must hold classes that are known, {describe(classes[0].item())} to "
            f"{describe(classes[-1].item())}, got {describe(y[unknown][0].item())}"
        )
    return found.astype(np.int64)


def class_labels(a: NDArray[Any], n_out: int, name: str) -> Targets:
    """Integers in [0, n_out)."""
    if a.dtype.kind == "f":
        refuse_where(~np.isfinite(a), a, name, "be finite")
        raise TypeError(
            f"{name} must hold integer class labels or rows of probabilities, got {a.dtype}: give "
            f"{name}.astype(int) where numbers are whole (estimators take them as they are)"
        )
    expected = f"hold class labels in [0, {n_out - 1}]"
    if a.size and (a.min(), a.max()) == (1, n_out):
        expected += f" (those from 1 on are {name} - 1)"
    refuse_where((a < 0) | (a >= n_out), a, name, expected)
    return Targets(labels=np.ascontiguousarray(a, dtype=np.int64))


def refuse_where(bad: NDArray[np.bool_], a: NDArray[Any], name: str, expected: str) -> None:
    """ValueError naming row and column of the first of ``a`` that is ``bad``."""
    if bad.any():
        at = np.unravel_index(int(np.argmax(bad)), bad.shape)
        where = f"row {int(at[0])}" + (f", column {int(at[1])}" if len(at) > 1 else "")
        raise ValueError(f"{name} must {expected}, got {a[at]} in {where}")


def is_whole(y: NDArray[Any]) -> bool:
    """Whether floating-point numbers are integers all of them, as labels are that a table keeps as floats."""
    return y.dtype.kind == "f" and bool((np.abs(y) < 2.0**53).all() and (y == np.rint(y)).all())
