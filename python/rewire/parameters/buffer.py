"""What a layer keeps that is not trained: running statistics, duty cycles, chains, averages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import choice, describe, integer, number
from rewire._structure import Mask
from rewire.parameters.axes import Axis, checked_axes, checked_shape, cut

__all__ = ["Buffer"]


class Buffer:
    """Values that are saved, resumed and moved with neurons, but neither trained nor counted.

    Parameters
    ----------
    shape : int or tuple of int
        ``()``: one value.
    dtype : {"float64", "float32", "int64", "int32", "uint8"}
    fill : float
        What they start as.
    axes : tuple of {"in", "out", None}, optional
        Which axis goes along the layer's inputs or outputs; it is cut when neurons are removed.
    low, high : float, optional
        Where values must lie, and finite they must be anyway: what is saved, loaded and left at the end of an
        epoch is checked. Of a variance ``low=0.0``, say.

    Attributes
    ----------
    values : ndarray
        Live; what is assigned is copied into it.
    """

    def __init__(
        self, shape: int | tuple[int, ...], *, dtype: str = "float64", fill: float = 0.0,
        axes: tuple[Axis, ...] | None = None, low: float | None = None, high: float | None = None,
    ) -> None:  # fmt: skip
        self.shape = checked_shape(shape)
        self.dtype = choice("dtype", dtype, ("float64", "float32", "int64", "int32", "uint8"))
        self.axes = checked_axes(axes, self.shape)
        self.low = None if low is None else number("low", low)
        self.high = None if high is None else number("high", high, low=self.low)
        if np.dtype(self.dtype).kind == "f":
            start: float = number("fill", fill, low=self.low, high=self.high)
        else:
            info = np.iinfo(self.dtype)
            start = integer("fill", fill if fill != 0.0 else 0, low=int(info.min), high=int(info.max))
            number("fill", start, low=self.low, high=self.high)
        self._values: NDArray[Any] = np.full(self.shape, start, self.dtype)

    @property
    def values(self) -> NDArray[Any]:
        """The values, live."""
        return self._values

    @values.setter
    def values(self, values: NDArray[Any]) -> None:
        if values is self._values:  # changed in place
            return
        given = np.asarray(values)
        if given.shape != self.shape or not np.can_cast(given.dtype, self.dtype, "same_kind"):
            raise ValueError(
                f"values must be an array of shape {self.shape} and dtype {self.dtype}, got {describe(given)}"
            )
        self._values[...] = given

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return self.values.nbytes

    def fault(self) -> str | None:
        """Words for the first value that is not finite, or out of range; None if there is none."""
        values = self.values.reshape(-1)
        good = np.isfinite(values)
        for bound, side in ((self.low, np.greater_equal), (self.high, np.less_equal)):
            if bound is not None:
                good &= side(values, bound)
        if good.all():
            return None
        bounds = zip((">=", "<="), (self.low, self.high), strict=True)
        span = "".join(f" {sign} {bound:g}" for sign, bound in bounds if bound is not None)
        return f"{values[good.argmin()]:g}, not finite{span}"

    def kept(self, inputs: Mask, outputs: Mask) -> NDArray[Any]:
        """What is left of it with these inputs and outputs of its layer alone."""
        return cut(self.values, self.axes, inputs, outputs)

    def __repr__(self) -> str:
        return f"Buffer({self.shape}, dtype={self.dtype!r})"

    def config(self, values: NDArray[Any] | None = None) -> dict[str, Any]:
        """JSON-able description; of other values, where they are given."""
        return {"dtype": self.dtype, "shape": list(self.values.shape if values is None else values.shape)}
