"""Layers that compute with NumPy, on arrays (samples, features): slower than tiles, and shorter to write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe, noted
from rewire.layers.base import Layer, undefined
from rewire.layers.passing import Pass

__all__ = ["ArrayLayer"]


class ArrayLayer(Layer):
    """Base of layers that compute with NumPy.

    Notes
    -----
    A subclass defines :meth:`outputs` and :meth:`gradients`. Arrays are copies of the network's dtype, and
    are copied back: a sweep over the activations each. What a sample gives must not depend on the other
    samples of its batch, unless training.
    """

    required = ("outputs", "gradients")

    @undefined
    def outputs(self, x: NDArray[Any], p: Pass) -> NDArray[Any]:
        """Outputs for inputs.

        Parameters
        ----------
        x : ndarray, shape (samples, n_in)
        p : Pass
            What :meth:`gradients` will want is kept by ``p.save(self, ...)``. Whether samples count, as in a
            running mean, says ``p.learning``: then ``p.report(self, values)`` tells :meth:`follow` of them.

        Returns
        -------
        ndarray, shape (samples, n_out)
        """
        raise NotImplementedError

    @undefined
    def gradients(self, dy: NDArray[Any], p: Pass) -> tuple[NDArray[Any], Mapping[str, NDArray[Any]]]:
        """Gradients from those for the outputs.

        Parameters
        ----------
        dy : ndarray, shape (samples, n_out)
        p : Pass
            What was saved gives ``p.saved(self)``.

        Returns
        -------
        dx : ndarray, shape (samples, n_in)
        gradients : mapping of str to ndarray
            Of the layer's dense parameters, by name.
        """
        raise NotImplementedError

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        with noted(f"in outputs of {self.label}"):
            found = self.outputs(p.numbers(x), p)
        return self._packed("y", found, self.n_out, p)

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        with noted(f"in gradients of {self.label}"):
            given = self.gradients(p.numbers(dy), p)
        if not (isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping)):
            raise TypeError(
                f"{self.label}: gradients must give those for the inputs and a dict of others, "
                f"got {describe(given)}"
            )
        (dx, found), parameters = given, self.parameters()
        if found.keys() != parameters.keys():
            raise ValueError(f"{self.label}: gradients must be of {sorted(parameters)}, got {sorted(found)}")
        for name, parameter in parameters.items():
            p.learn(parameter, found[name])
        return self._packed("dx", dx, self.n_in, p) if need_dx else None

    def _packed(self, what: str, values: NDArray[Any], n: int, p: Pass) -> _core.Tiles:
        if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
            raise TypeError(f"{self.label}: {what} must be an array of real numbers, got {describe(values)}")
        if values.shape != (p.batch, n):
            raise ValueError(f"{self.label}: {what} must have shape {(p.batch, n)}, got {values.shape}")
        return p.pack((self.index, what), values)
