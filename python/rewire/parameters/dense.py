"""Trained values that are all there: biases, gains, the weights of a dense layer."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, choice, describe, detached, entries, integer, number
from rewire._container import Array, blocks
from rewire._geometry import item_bytes, padded
from rewire._precision import KEPT
from rewire._structure import Mask
from rewire.initializers import KINDS as INITIALIZERS
from rewire.initializers import Initializer, initializer
from rewire.parameters.axes import Axis, checked_axes, checked_shape, cut
from rewire.parameters.base import GRADIENT, Owner, Parameter, fitting
from rewire.parameters.field import Field
from rewire.parameters.units import Rescale

__all__ = ["DenseParameter"]

_BLOCK = 1 << 16  # values at a time
_TAG = 0x44656E7365  # "Dense": keeps its random numbers apart from those of the shuffling


class DenseParameter(Parameter):
    """An array of trained values.

    Parameters
    ----------
    shape : int or tuple of int
        ``()``: one value.
    init : str, float or Initializer
        Initial values: a number is the same everywhere.
    axes : tuple of {"in", "out", None}, optional
        Which axis goes along the layer's inputs or outputs; it is cut when neurons are removed.
    decays : bool
        Whether weight decay applies.
    rate : float > 0
        Factor on the optimizer's learning rate.
    connects : bool
        Whether it is a matrix (n_out, n_in) of connections, counted and shown as such.
    full : int, optional
        Connections of the dense layer that these stand for, if it has more of them: density is by this.
    gain : float
        The activation's gain, for initializers that ask for it.
    dtype : {None, "float32", "float64"}
        None: that of the network.

    Attributes
    ----------
    values : ndarray
        Live, once the layer stands in a network. Who writes into it says so by :meth:`touch`.
    gradient : ndarray or None
        Of the last backward pass that kept it, live.
    state : dict of str to ndarray
        The fields, live: what the optimizer, or a callback, keeps for every value.
    """

    def __init__(
        self,
        shape: int | tuple[int, ...],
        *,
        init: str | float | Initializer | dict[str, Any] = "zeros",
        axes: tuple[Axis, ...] | None = None,
        decays: bool = True,
        rate: float = 1.0,
        connects: bool = False,
        full: int | None = None,
        gain: float = 1.0,
        dtype: str | None = None,
    ) -> None:
        super().__init__(
            decays=decays, rate=rate, dtype=None if dtype is None else choice("dtype", dtype, KEPT)
        )
        self._shape = checked_shape(shape)
        self._size = math.prod(self._shape)
        self.axes = checked_axes(axes, self._shape)
        self.init = initializer(init)
        self.gain = number("gain", gain)
        self.connects = boolean("connects", connects)
        if self.connects and len(self._shape) != 2:
            raise ValueError(f"connections must be a matrix (n_out, n_in), got shape {describe(self._shape)}")
        if full is not None and not self.connects:
            raise ValueError(
                f"full says something of connections, and connects is False: got {describe(full)}"
            )
        self._full = None if full is None else integer("full", full, low=self._size)
        # The values and zeros after them, as kernels take biases; the gradient likewise; views of both.
        self.padded: NDArray[Any] | None = None
        self._view: NDArray[Any] | None = None
        self._room: NDArray[Any] | None = None
        self._gradient: NDArray[Any] | None = None
        self.state: dict[str, NDArray[Any]] = {}
        self._kinds: dict[str, Field] = {}

    @property
    def built(self) -> bool:
        return self.padded is not None

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape

    @property
    def size(self) -> int:
        return self._size

    @property
    def full(self) -> int:
        return super().full if self._full is None else self._full

    def needed_bytes(self, dtype: str) -> int:
        return 2 * self.size * item_bytes(dtype)  # values and gradient

    def build(
        self,
        *,
        name: str,
        seed: int,
        stream: int | None = None,
        dtype: str = "float32",
        owner: Owner | None = None,
        draw: bool = True,
    ) -> Self:
        super().build(name=name, seed=seed, stream=stream, dtype=dtype, owner=owner, draw=draw)
        self._allocate()
        if draw:
            words = np.random.SeedSequence([seed, self.stream, _TAG])
            rng = np.random.Generator(np.random.Philox(words))
            rows = self._shape[0] if self._shape else 1
            self.init.fill(self.values.reshape(rows, -1), self.gain, rng)
        return self

    def _allocate(self) -> None:
        self.padded = _core.aligned_zeros(padded(self.size), self.dtype)
        self._view = self.padded[: self.size].reshape(self._shape)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_room": None, "_gradient": None, "_view": None, "_derived": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.padded is not None:  # copies need not be aligned
            values, fields = self.padded, self.state
            self._allocate()
            self.padded[...] = values
            self.state = {}
            for name, kept in fields.items():
                self.add_field(name, self._kinds[name])
                self.state[name][...] = kept

    @property
    def values(self) -> NDArray[Any]:
        """The values, live."""
        if self._view is None:
            raise AttributeError("a parameter has no values until its layer stands in a network")
        return self._view

    @property
    def gradient(self) -> NDArray[Any] | None:
        """The kept gradient, live; None before there was one."""
        return self._gradient

    def room(self) -> NDArray[Any]:
        """Memory for a gradient, flat and padded with what does not matter."""
        if self._room is None:
            self._room = _core.aligned_zeros(padded(self.size), self.dtype)
            self._gradient = self._room[: self.size].reshape(self._shape)
        return self._room

    # --- values -------------------------------------------------------------------------

    def _live(self, field: str) -> NDArray[Any]:
        found = self.values if field == "weight" else self.state.get(field)
        if field == GRADIENT:
            found = self.gradient
        if found is None:
            raise KeyError(f"{self.name} has no {field!r}")
        return found

    def read(self, field: str = "weight") -> NDArray[Any]:
        return self._live(field).reshape(-1).copy()

    def write(self, values: NDArray[Any], field: str = "weight") -> None:
        values = detached(values, "values")
        if field == GRADIENT:
            self.room()
        target = self._live(field).reshape(-1)
        if np.shape(values) != target.shape:
            raise ValueError(f"values must have shape {target.shape}, got {np.shape(values)}")
        target[...] = values
        self.touch()

    def to_arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
        rows, cols = (np.arange(n, dtype=np.int32) for n in self._shape)
        return np.repeat(rows, cols.size), np.tile(cols, rows.size), self.values.reshape(-1).copy()

    def times(self, x: NDArray[np.float64], field: str = "weight") -> NDArray[np.float64]:
        """W x in float64, for a matrix W of connections or a field of it."""
        return np.einsum("ij,j->i", self._live(field), x)  # not by BLAS: its sums may depend on its threads

    def magnitudes_in(self) -> NDArray[np.float64]:
        """Sum of |w| over the incoming connections of every neuron."""
        found: NDArray[np.float64] = np.abs(self.values, dtype=np.float64).sum(axis=1)
        return found

    # --- fields -------------------------------------------------------------------------

    @property
    def fields(self) -> dict[str, Field]:
        return self._kinds

    def fits(self, name: str, field: Field) -> bool:
        if field.per_slot:
            return True
        kept = self.state.get(name)
        return kept is not None and kept.dtype == field.of(self.dtype) and kept.shape == self._shape

    def storage(self) -> tuple[object, ...]:
        return (*self.state, *map(weakref.ref, self.state.values()))

    def add_field(self, name: str, field: Field) -> None:
        field.check(name)
        if field.per_slot:
            return
        kept = _core.aligned_zeros(self._shape or (1,), field.of(self.dtype))
        self.state[name] = kept.reshape(self._shape)
        if field.birth:
            self.state[name].fill(field.birth)
        self._kinds[name] = field

    def drop_field(self, name: str) -> None:
        self.state.pop(name, None)
        self._kinds.pop(name, None)

    def field_bytes(self, field: Field) -> int:
        return 0 if field.per_slot else self.size * np.dtype(field.of(self.dtype)).itemsize

    def copy_bytes(self, fields: Collection[Field]) -> int:
        return self.field_bytes(Field()) + sum(self.field_bytes(field) for field in fields)

    def gradient_bytes(self) -> int:
        return 0 if self._room is None else self._room.nbytes

    def values_of(self, field: str) -> NDArray[Any]:
        return self._live(field)

    # --- gradients that are kept ----------------------------------------------------------

    def hold_gradient(self, hold: bool) -> None:
        if hold:
            self.room()

    def gradient_sumsq(self) -> float:
        return 0.0 if self.gradient is None else sum_of_squares(self.gradient)

    def scale_gradient(self, factor: float) -> None:
        if self.gradient is not None:
            self.gradient[...] *= factor

    def apply(self, update: _core.Update, threads: int) -> None:
        if self._view is not None and self._gradient is not None:
            _core.update_array(self._view, self._gradient, update, *map(self.state.get, update.state))
            self.version += 1

    def stepped_in_numpy(
        self,
        fields: Collection[str],
        step: Callable[[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]], None],
    ) -> Callable[[], None]:
        values, kept = self.values.copy(), {n: self.state[n].copy() for n in fields if n in self.state}
        if self.gradient is not None:
            step(values, self.gradient, kept)
        return partial(self._take_over, values, kept)

    def _take_over(self, values: NDArray[Any], kept: Mapping[str, NDArray[Any]]) -> None:
        self.values[...] = values
        for name, changed in kept.items():
            self.state[name][...] = changed
        self.touch()

    # --- values as they lie ---------------------------------------------------------------------

    def packed_size(self) -> int:
        return self._size

    def pack(self, field: str, out: NDArray[Any]) -> None:
        out[...] = self._live(field).reshape(-1)

    def unpack(self, field: str, values: NDArray[Any]) -> None:
        if field == GRADIENT:
            self.room()
        self._live(field).reshape(-1)[...] = values
        self.touch()

    def add_gradient(self, values: NDArray[Any]) -> None:
        found = self._live(GRADIENT).reshape(-1)
        found += values

    # --- other units, fewer neurons ---------------------------------------------------------

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]]:
        calls: list[Callable[[], Any]] = []
        if by.rows is None and by.cols is None and by.slope is None:
            return calls
        for name, values, power in [
            ("weight", self.values, 0), *((n, a, self.fields[n].power) for n, a in self.state.items()),
        ]:  # fmt: skip
            changed = values
            for axis, factors in zip(("out", "in"), by.factors(power), strict=True):
                if factors is not None and self.axes is not None and axis in self.axes:
                    at = self.axes.index(axis)
                    if factors.ndim:  # else it is one for all
                        factors = np.expand_dims(factors, [i for i in range(changed.ndim) if i != at])
                    changed = changed * factors
            if changed is not values:
                calls.append(partial(np.copyto, values, changed, casting="same_kind"))
                calls += [self.touch] * (name == "weight")
        return calls

    def kept(self, inputs: Mask, outputs: Mask) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        arrays = {name: cut(a, self.axes, inputs, outputs) for name, a in self.arrays().items()}
        return {**self.config(), "shape": list(arrays["values"].shape)}, arrays

    # --- saving -----------------------------------------------------------------------------

    def check_savable(self) -> None:
        INITIALIZERS.saved_as(self.init)

    def layout(self) -> dict[str, Any]:
        return {"kind": "dense", "dtype": self.dtype, "shape": list(self._shape)}

    def arrays(self, fields: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
        found = {"values": self.values.copy()}
        for name, kept in self.state.items():
            if fields is None or name in fields:
                found[f"field.{name}"] = kept.copy()
        return found

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        _fill(self.values, fitting(arrays, "values", self._shape, self.dtype, self.name))
        self.state, self._kinds = {}, {}
        for name, described in config["fields"].items():
            field = Field.from_config(name, described)
            if field.per_slot:
                raise ValueError(f"{self.name}: field {name!r} is for links, and this has none")
            self.add_field(name, field)
            kind = field.of(self.dtype)
            _fill(self.state[name], fitting(arrays, f"field.{name}", self._shape, kind, self.name))
        self.touch()

    def check_layout(self, config: Any, arrays: Mapping[str, Array]) -> None:
        super().check_layout(config, arrays)
        entries(f"{self.name}: fields", config["fields"], config["fields"])
        fitting(arrays, "values", self._shape, self.dtype, self.name)

    # --- numbers ----------------------------------------------------------------------------

    @property
    def nbytes(self) -> int:
        held = 0 if self.padded is None else self.padded.nbytes
        for a in self.state.values():
            held += a.nbytes
        return held if self._room is None else held + self._room.nbytes

    def finite(self) -> bool:
        return self._view is None or all_finite(self._view)

    def finite_field(self, name: str) -> bool:
        kept = self.state.get(name)
        return kept is None or all_finite(kept)

    def __repr__(self) -> str:
        return f"DenseParameter({self._shape})"


def _blocks(a: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The values in blocks of a fixed size, so that what is made of them needs little memory."""
    flat = a.reshape(-1)
    return (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))


def _fill(out: NDArray[Any], array: Array) -> None:
    """Write an array of its size into ``out``, block by block."""
    flat, end = out.reshape(-1), 0
    for block in blocks(array):
        begin, end = end, end + block.size
        flat[begin:end] = block


def all_finite(a: NDArray[Any]) -> bool:
    """Whether all values are finite."""
    return a.dtype.kind != "f" or _core.largest(a.ravel("K")) < math.inf


def sum_of_squares(a: NDArray[Any]) -> float:
    """Sum of squares in float64, in an order that depends on the size alone."""
    total = 0.0
    for block in _blocks(a):
        part = block.astype(np.float64)
        total += float(np.square(part, out=part).sum())
    return total
