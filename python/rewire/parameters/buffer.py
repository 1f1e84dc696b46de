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

    Attributes
    ----------
    values : ndarray
        Live; what is assigned is copied into it.
    """

    def __init__(
        self, shape: int | tuple[int, ...], *, dtype: str = "float64", fill: float = 0.0,
        axes: tuple[Axis, ...] | None = None,
    ) -> None:  # fmt: skip
        self.shape = checked_shape(shape)
        self.dtype = choice("dtype", dtype, ("float64", "float32", "int64", "int32", "uint8"))
        self.axes = checked_axes(axes, self.shape)
        if np.dtype(self.dtype).kind == "f":
            start: float = number("fill", fill)
        else:
            info = np.iinfo(self.dtype)
            start = integer("fill", fill if fill != 0.0 else 0, low=int(info.min), high=int(info.max))
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

    def kept(self, inputs: Mask, outputs: Mask) -> NDArray[Any]:
        """What is left of it with these inputs and outputs of its layer alone."""
        return cut(self.values, self.axes, inputs, outputs)

    def __repr__(self) -> str:
        return f"Buffer({self.shape}, dtype={self.dtype!r})"

    def config(self, values: NDArray[Any] | None = None) -> dict[str, Any]:
        """JSON-able description; of other values, where they are given."""
        return {"dtype": self.dtype, "shape": list(self.values.shape if values is None else values.shape)}
