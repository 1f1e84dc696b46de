"""The values of all parameters in one piece of memory, as they lie: gradients that are added or handed on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire.parameters import Parameter
from rewire.parameters.base import GRADIENT

__all__ = ["Packing", "add"]

_ALIGNED = 64  # bytes: where the values of a parameter begin

Views = list[NDArray[Any]]  # one array for each parameter


class Packing:
    """Where each parameter has its place, as long as no links come or go.

    Parameters
    ----------
    parameters : iterable of Parameter

    Attributes
    ----------
    nbytes : int
        Of all of it.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        self.parameters, self.nbytes = list(parameters), 0
        self._offsets: list[tuple[int, int, np.dtype[Any]]] = []
        for parameter in self.parameters:
            dtype, size = np.dtype(parameter.dtype), parameter.packed_size()
            self._offsets.append((self.nbytes, size, dtype))
            self.nbytes += -(-size * dtype.itemsize // _ALIGNED) * _ALIGNED

    def room(self) -> Views:
        """Memory with unspecified contents."""
        return self.views(np.empty(self.nbytes, np.uint8))

    def views(self, memory: Any) -> Views:
        """Arrays over the first :attr:`nbytes` of some memory: whatever gives a buffer."""
        return [
            np.frombuffer(memory, dtype, size, at) if size else np.empty(0, dtype)
            for at, size, dtype in self._offsets
        ]

    def pack(self, field: str, out: Views) -> None:
        """Copy the values of a field of all parameters."""
        for parameter, values in zip(self.parameters, out, strict=True):
            parameter.pack(field, values)

    def unpack(self, field: str, values: Views) -> None:
        """Take them over."""
        for parameter, own in zip(self.parameters, values, strict=True):
            parameter.unpack(field, own)

    def add_gradients(self, values: Views) -> None:
        """Add to all kept gradients."""
        for parameter, own in zip(self.parameters, values, strict=True):
            parameter.add_gradient(own)

    def clear_gradients(self, parameters: Iterable[Parameter], added: bool) -> None:
        """Let gradients be zero; where there was something to add to, zero is added.

        The difference is that of 0 and -0, which must not depend on who has computed them.
        """
        for parameter in parameters:
            zero = np.zeros(parameter.packed_size(), parameter.dtype)
            if added:
                parameter.add_gradient(zero)
            else:
                parameter.unpack(GRADIENT, zero)


def add(first: Views, second: Sequence[NDArray[Any]]) -> Views:
    """The sum, in the memory of the first."""
    for mine, its in zip(first, second, strict=True):
        np.add(mine, its, out=mine)
    return first
