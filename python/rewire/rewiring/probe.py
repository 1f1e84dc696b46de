"""The gradient probe: gradients of a batch before a rewiring, for rules that grow by gradient.

The trainer runs the batches a rule asks for forward and backward, in training
mode and with the dropout masks of the step to come, and changes nothing. For
every sparse layer that leaves its inputs x and the gradient dz of its sums
W x + b. From these the gradient of any position follows, connected or not:

    dL/dw[i, j] = sum over samples of dz[i] * x[j].

Nothing of size n_out x n_in is made: see ``_core.Plan.grow_gradient`` for the largest
of all positions, :meth:`GradientProbe.live` for the links that are there, and
:meth:`GradientProbe.at` for candidates. Memory: the activations of the batches, twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._positions import store_at
from rewire.parameters import SparseParameter

__all__ = ["GradientProbe"]

PROBED = "probed"  # a field that exists while gradients are computed


class GradientProbe:
    """Inputs and gradients of every sparse layer for the samples of the probe.

    Parameters
    ----------
    pairs : dict of str to (Tiles, Tiles)
        By the parameter's name: inputs (n_in features) and gradients of the sums (n_out features).
    threads : int

    Notes
    -----
    Valid until the next step.
    """

    def __init__(self, pairs: dict[str, tuple[_core.Tiles, _core.Tiles]], threads: int) -> None:
        self._pairs, self._threads = pairs, threads

    def pair(self, parameter: SparseParameter) -> tuple[_core.Tiles, _core.Tiles]:
        """Inputs and gradients of the sums of one layer."""
        return self._pairs[parameter.name]

    def inputs(self, parameter: SparseParameter) -> NDArray[Any]:
        """The layer's inputs, shape (batch, n_in)."""
        return self.pair(parameter)[0].unpack(None, self._threads)

    def outputs(self, parameter: SparseParameter) -> NDArray[Any]:
        """The gradients dz of the layer's sums, shape (batch, n_out)."""
        return self.pair(parameter)[1].unpack(None, self._threads)

    def live(self, parameter: SparseParameter) -> NDArray[Any]:
        """Gradients of the links that are there, canonical order, shape (slots, group)."""
        return self._gradients(parameter, parameter.core)

    def at(
        self, parameter: SparseParameter, groups: NDArray[np.int32], sources: NDArray[np.int32]
    ) -> NDArray[Any]:
        """Gradients at any positions, sorted by (group, source) and each named once, shape (n, group)."""
        return self._gradients(parameter, store_at(parameter.core, groups, sources))

    def largest(
        self, parameter: SparseParameter, count: int, key: tuple[int, int, int]
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float64]]:
        """The empty positions of largest ``|gradient|``, summed over the rows of a slot; exact.

        Parameters
        ----------
        parameter : SparseParameter
        count : int
            At most; fewer where fewer positions are empty.
        key : Key
            ``context.key(parameter)``: breaks ties.

        Returns
        -------
        groups, sources : ndarray of int32, shape (n,)
            Sorted by both.
        size : ndarray of float64, shape (n,)
        """
        x, dz = self.pair(parameter)
        plan = _core.Plan(parameter.core)
        count = min(count, parameter.geometry.n_positions - parameter.core.slots)
        plan.grow_gradient(count, x, dz, False, *key, self._threads)
        groups, sources = plan.inserted()
        return groups, sources, np.abs(self.at(parameter, groups, sources), dtype=np.float64).sum(axis=1)

    def _gradients(self, parameter: SparseParameter, store: _core.Store) -> NDArray[Any]:
        x, dz = self.pair(parameter)
        store.add_field(PROBED, store.dtype)
        try:
            _core.backward_weights(store, x, dz, PROBED, self._threads)
            return store.get_field(PROBED)
        finally:
            store.drop_field(PROBED)
