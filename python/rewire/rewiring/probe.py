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

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe, integer, one_of_types
from rewire._positions import store_at
from rewire.parameters import SparseParameter

__all__ = ["GradientProbe"]

PROBED = "probed"  # a field that exists while gradients are computed


class GradientProbe:
    """Inputs and gradients of every sparse layer for the samples of the probe.

    Parameters
    ----------
    pairs : dict of str to (array-like, array-like)
        By the parameter's name: inputs x, shape (samples, n_in), and gradients dz of the loss for the sums
        W x + b, shape (samples, n_out). Finite. A trainer gives tiles.
    threads : int

    Notes
    -----
    Valid until the next step.

    Examples
    --------
    >>> import numpy as np
    >>> import rewire as rw
    >>> weight = rw.SparseParameter(3, 2, links=2).build(name="first", seed=0)
    >>> x, dz = np.array([[1.0, 2.0, 3.0]]), np.array([[1.0, -1.0]])
    >>> probe = rw.rewiring.GradientProbe({"first": (x, dz)})
    >>> probe.largest(weight, 1, (0, 0, 0))[2]
    array([3.])
    """

    def __init__(self, pairs: Mapping[str, tuple[Any, Any]], threads: int = 1) -> None:
        self._pairs = dict(one_of_types("pairs", pairs, Mapping, "a dict of names and pairs of arrays"))
        self._threads = integer("threads", threads, low=1)

    def pair(self, parameter: SparseParameter) -> tuple[_core.Tiles | _core.SparseInputs, _core.Tiles]:
        """Inputs and gradients of the sums of one layer.

        Inputs are ``_core.SparseInputs`` where X is a CSR matrix and the layer the first one.

        Raises
        ------
        TypeError, ValueError
            If there are none of this parameter, or others than a matrix of its inputs and one of its outputs.
        """
        name = parameter.name
        if name not in self._pairs:
            listed = ", ".join(map(repr, self._pairs)) or "none"
            raise ValueError(f"probe must have inputs and gradients of {name!r}, got those of {listed}")
        found = self._pairs[name]
        if not (isinstance(found, tuple | list) and len(found) == 2):
            raise TypeError(f"pairs[{name!r}] must be inputs and gradients, got {describe(found)}")
        if not isinstance(found[0], _core.Tiles | _core.SparseInputs):
            found = self._pairs[name] = self._packed(parameter, *found)
        return found

    def tiles(self, parameter: SparseParameter) -> tuple[_core.Tiles, _core.Tiles]:
        """The same with inputs in tiles in any case."""
        x, dz = self.pair(parameter)
        if isinstance(x, _core.Tiles):
            return x, dz
        found = _core.Tiles(x.n, x.batch, x.tile, x.dtype)
        found.pack(x.unpack(), None, None, None, self._threads)
        return found, dz

    def _packed(self, parameter: SparseParameter, *arrays: Any) -> tuple[_core.Tiles, _core.Tiles]:
        """Tiles of two arrays, checked."""
        made, samples = [], np.shape(arrays[0])[:1]
        for i, (array, n) in enumerate(zip(arrays, (parameter.n_in, parameter.n_out), strict=True)):
            values, where = np.asarray(array), f"pairs[{parameter.name!r}][{i}]"
            if values.dtype.kind not in "fiu":
                raise TypeError(f"{where} must be an array of real numbers, got {describe(array)}")
            if values.ndim != 2 or not values.size or values.shape != (*samples, n):
                raise ValueError(f"{where} must have shape (samples, {n}), got {values.shape}")
            values = values.astype(parameter.dtype)
            if not np.isfinite(values).all():
                raise ValueError(f"{where} must be finite in {parameter.dtype}")
            tile = _core.tile_size(len(values), parameter.dtype)
            made.append(_core.Tiles(n, len(values), tile, parameter.dtype))
            made[-1].pack(values, None, None, None, self._threads)
        return made[0], made[1]

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
