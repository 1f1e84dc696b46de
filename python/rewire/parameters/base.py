"""What every parameter is to optimizers, savers, counters, rules and exporters.

A layer declares its parameters; whoever works on weights asks the network for
all of them and never for the kinds of its layers. A parameter has values, maybe
a gradient that is kept, and *fields*: what its optimizer, a rule or a callback
keeps beside every value.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, choice, entries, integer, number, text
from rewire._container import Array, Parts, whole
from rewire._precision import DTYPES, variable_dtype
from rewire._structure import Mask
from rewire.parameters.field import Field, check_fields
from rewire.parameters.units import Rescale

__all__ = ["GRADIENT", "Owner", "Parameter", "fitting", "stream_of", "take"]

GRADIENT = "gradient"  # the field of gradients that are kept; never saved


class Owner(Protocol):
    """The layer that declares a parameter."""

    @property
    def label(self) -> str:
        """Its name in messages."""


class Parameter:
    """Base of all parameters: trained values that a layer declares.

    Parameters
    ----------
    decays : bool
        Whether weight decay applies.
    rate : float > 0
        Factor on the optimizer's learning rate.
    dtype : {None, "float32", "float64"}
        None: that of the network.

    Attributes
    ----------
    dtype : {"float32", "float64"}
        Of its values.
    compute_dtype : {"float32", "float64", "bfloat16"}
        What products with it are computed in: its dtype, but in a network of bfloat16, where a parameter that
        has not asked for a dtype of its own keeps values of float32.
    name : str
        Its name in the network, such as ``"layers.0.weight"``; "" before it stands in one.
    connects : bool
        Whether its values are weights of connections between neurons, and count as such.
    group : int
        Neighbouring outputs that share their sources.
    uses : int
        How many layers of the network have it; more than one for tied weights.
    stream : int
        Names its random numbers, together with the network's seed.
    version : int
        Grows whenever values change: what is derived from them is as new as this.
    trained : bool
        Whether it is a fault if no gradient of it is handed over. A layer that may be frozen from the start
        sets False, and no warning comes; what is handed over is learnt all the same.
    learnt : bool
        Whether a backward pass has handed over its gradient, or there was a warning that it has not.
    """

    name: str = ""
    connects: bool = False
    group: int = 1
    uses: int = 0
    stream: int = 0
    version: int = 0
    trained: bool = True
    learnt: bool = False

    def __init__(self, *, decays: bool, rate: float, dtype: str | None) -> None:
        self.decays = boolean("decays", decays)
        self.rate = number("rate", rate, low=0.0, open_low=True)
        self.wanted_dtype = dtype
        self.dtype = self.compute_dtype = "float32" if dtype is None else dtype
        self.owner: Owner | None = None
        self._derived: dict[str, tuple[tuple[int, ...], Any]] = {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({"compute_dtype": state["dtype"]} | state)  # older pickles have one dtype for both

    # --- life in a network --------------------------------------------------------------

    @property
    def built(self) -> bool:
        """Whether it has values: whether its layer stands in a network."""
        raise NotImplementedError

    @property
    def rounds(self) -> bool:
        """Whether products round their operands to bfloat16."""
        return False

    @property
    def label(self) -> str:
        """Its name in messages: that of its layer, with its own where that is not the usual one."""
        if self.owner is None:
            return self.name
        short = self.name.rpartition(".")[2]
        return self.owner.label if short in ("weight", "bias") else f"{short} of {self.owner.label}"

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_out, n_in) for connections, whether they are there or not."""
        raise NotImplementedError

    @property
    def full(self) -> int:
        """Connections there were if all were there: what density is a part of."""
        return self.shape[0] * self.shape[1]

    def needed_bytes(self, dtype: str) -> int:
        """Bytes that :meth:`build` will take at its peak."""
        raise NotImplementedError

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
        """Take memory and draw the initial values: what a network does for the parameters of its layers.

        A program without a network does so itself: ``SparseParameter(9, 5).build(name="first", seed=0)``.

        Parameters
        ----------
        name : str
            What rules, files and messages call it; another one for each parameter.
        seed : int
        stream : int, optional
            Names its random numbers, together with the seed; by default a number that follows from the name.
        dtype : {"float32", "float64", "bfloat16"}
            For a parameter that has no dtype of its own.
        owner : Layer, optional
            The layer that declares it.
        draw : bool
            False: it waits for :meth:`restore`.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If it has been built before.
        """
        if self.built:
            raise ValueError(f"{self.label} has been built already; make a new parameter for another place")
        if not text("name", name):
            raise ValueError("name must not be empty")
        integer("seed", seed, low=0, high=2**64 - 1)
        given = choice("dtype", dtype, DTYPES)
        self.compute_dtype = given if self.wanted_dtype is None else self.wanted_dtype
        self.dtype = variable_dtype(self.compute_dtype)
        if stream is None:
            stream = zlib.crc32(name.encode())
        self.stream = integer("stream", stream, low=0, high=2**64 - 1)
        self.name, self.owner = name, owner
        return self

    # --- values ---------------------------------------------------------------------------

    def read(self, field: str = "weight") -> NDArray[Any]:
        """The values, or those of a field or of the kept ``"gradient"``, as one vector; a copy.

        Returns
        -------
        ndarray, shape (size,)
            Of links as :meth:`to_arrays` has them, by row and column, whatever the group. Of a field of one
            value a slot: by group and source.

        Raises
        ------
        KeyError
            For a field that is not there.
        """
        raise NotImplementedError

    def write(self, values: NDArray[Any], field: str = "weight") -> None:
        """Take over a vector as :meth:`read` gives it; rounded to the parameter's dtype.

        Raises
        ------
        KeyError, ValueError
            For a field that is not there, or a vector of another shape.
        """
        raise NotImplementedError

    def check_values(self, values: NDArray[np.float64], field: str) -> None:
        """ValueError unless the field can hold these values; KeyError if there is none such."""
        if field == GRADIENT:
            dtype, low, high = np.dtype(self.dtype), None, None
        else:
            dtype, kind = self.read(field).dtype, self.fields.get(field)
            low, high = (None, None) if kind is None else (kind.low, kind.high)
        info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
        low = float(info.min if low is None else low)
        high = float(info.max if high is None else high)
        bad = ~((values >= low) & (values <= high))
        if dtype.kind != "f":
            bad |= values != np.floor(values)
        if bad.any():
            what = "numbers" if dtype.kind == "f" else "integers"
            raise ValueError(
                f"values must be {what} in [{low:.4g}, {high:.4g}] for {field!r} of {self.name}, "
                f"got {values[bad][0]:g}"
            )

    def to_arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
        """Rows, columns and values of all connections, in row-major order, as copies; of weights alone."""
        raise NotImplementedError

    def magnitudes_in(self) -> NDArray[np.float64]:
        """Sum of |w| over the incoming connections of every neuron; of weights alone."""
        raise NotImplementedError

    def derived(self, name: str, make: Callable[[], Any]) -> Any:
        """What ``make`` gives, kept until values change: a copy of another dtype, say.

        Who writes into live arrays says so by :meth:`touch`.
        """
        now, kept = self.state_of_values(), self._derived.get(name)
        if kept is None or kept[0] != now:
            kept = self._derived[name] = now, make()
        return kept[1]

    def state_of_values(self) -> tuple[int, ...]:
        """Another one whenever values or links have changed."""
        return (self.version,)

    def touch(self) -> None:
        """Values have changed."""
        self.version += 1

    def forget_derived(self) -> None:
        """Make anew what is derived: values, and the version with them, are those of an earlier time."""
        self._derived.clear()

    # --- fields ---------------------------------------------------------------------------

    @property
    def fields(self) -> dict[str, Field]:
        """The fields there are, but for that of gradients."""
        raise NotImplementedError

    def has(self, field: str) -> bool:
        """Whether the field is there, of whatever kind."""
        return field in self.fields

    def field_of_power(self, power: int) -> str | None:
        """The first field that changes as that power of a gradient: momentum (1), or mean squares (2)."""
        return next((name for name, kind in self.fields.items() if kind.power == power), None)

    def fits(self, name: str, field: Field) -> bool:
        """Whether the field is there, with values of this kind, or has no place here."""
        raise NotImplementedError

    def storage(self) -> tuple[object, ...]:
        """Objects of which one is another one whenever a field has come, gone or been replaced since.

        Whoever keeps them keeps no field alive.
        """
        return (object(),)  # in doubt always

    def add_field(self, name: str, field: Field) -> None:
        """Make a field, with ``birth`` everywhere; in the place of one of this name."""
        raise NotImplementedError

    def drop_field(self, name: str) -> None:
        """Give a field up, if it is there."""
        raise NotImplementedError

    def prepare(self, fields: Mapping[str, Field]) -> None:
        """Fresh fields: the state of an optimizer, before its first step, in the place of another one's."""
        check_fields(fields)
        for name, kind in list(self.fields.items()):
            if kind.state:
                self.drop_field(name)
        for name, field in fields.items():
            self.add_field(name, field._replace(state=True))

    def lacks(self, fields: Mapping[str, Field]) -> str | None:
        """The first of these fields that is not there, or not of its kind; None if all are."""
        for name, field in fields.items():
            if not self.fits(name, field):
                return f"the field {name!r} of {field.of(self.dtype)} in {self.name}"
        return None

    def blocks_of(self, field: str) -> Iterator[NDArray[Any]]:
        """:meth:`values_of`, a little at a time where they may be many."""
        yield self.values_of(field)

    def check_field(
        self, name: str, field: Field, *, high: float | None = None, birth: tuple[float, float] | None = None
    ) -> None:
        """ValueError unless a field, if it is there, is of this kind and its values are in its range.

        Parameters
        ----------
        name : str
        field : Field
        high : float, optional
            Instead of the field's own.
        birth : pair of float, optional
            Where the birth value must lie.
        """
        if not self.has(name):
            return
        if not self.fits(name, field):
            raise ValueError(f"{self.label}: field {name!r} must be {field.config(field.birth)}")
        if name in (kinds := self.fields) and kinds[name].power != field.power:
            raise ValueError(
                f"{self.label}: field {name!r} must have power {field.power}, got {kinds[name].power}"
            )
        low, high = field.low, field.high if high is None else high
        for values in self.blocks_of(name):
            if (low is not None and (values < low).any()) or (high is not None and (values > high).any()):
                raise ValueError(f"{self.label}: field {name!r} must lie in [{low}, {high}]")
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ValueError(f"{self.label}: field {name!r} must be finite")
        now = self.birth_of(name)
        if birth is not None and now is not None and not birth[0] <= now <= birth[1]:
            raise ValueError(f"{self.label}: new links have {name!r} = {now:g}, not in {birth}")

    def values_of(self, field: str) -> NDArray[Any]:
        """The values of a field as they are kept; a copy, or not."""
        raise NotImplementedError

    def birth_of(self, field: str) -> float | None:
        """What new links have; None where no link is born."""
        return None

    def set_birth(self, field: str, value: float) -> None:
        """Set what links have that are born from now on."""

    def field_bytes(self, field: Field) -> int:
        """Bytes of the values of a field of this kind, whether it is there or not."""
        raise NotImplementedError

    def copy_bytes(self, fields: Collection[Field]) -> int:
        """Bytes of :meth:`arrays` with fields of these kinds."""
        raise NotImplementedError

    def gradient_bytes(self) -> int:
        """Bytes held for a gradient."""
        raise NotImplementedError

    # --- gradients that are kept ------------------------------------------------------------

    def hold_gradient(self, hold: bool) -> None:
        """Take, or give back, the memory for a gradient that is kept."""
        raise NotImplementedError

    def gradient_sumsq(self) -> float:
        """Sum of squares of the kept gradient in float64, in a fixed order."""
        raise NotImplementedError

    def scale_gradient(self, factor: float) -> None:
        """Multiply the kept gradient."""
        raise NotImplementedError

    def apply(self, update: _core.Update, threads: int) -> None:
        """One optimizer step from the kept gradient."""
        raise NotImplementedError

    def stepped_in_numpy(
        self,
        fields: Collection[str],
        step: Callable[[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]], None],
    ) -> Callable[[], None]:
        """One step by ``step(values, gradient, fields)``, which changes copies of values and fields.

        They are taken over when what is given is called.
        """
        raise NotImplementedError

    # --- values as they lie, as a part of one vector ------------------------------------------

    def packed_size(self) -> int:
        """Values of :meth:`pack`: one for each weight, and for what fills up the last group."""
        raise NotImplementedError

    def pack(self, field: str, out: NDArray[Any]) -> None:
        """Copy the values, or those of a field or of the kept ``"gradient"``, into ``out``.

        ``out`` has shape (packed_size(),) and the parameter's dtype. Links are in the order of their slots,
        by group and source: nothing is put in another order, which :meth:`read` does.
        """
        raise NotImplementedError

    def unpack(self, field: str, values: NDArray[Any]) -> None:
        """Take over what :meth:`pack` gave of a parameter with the same links."""
        raise NotImplementedError

    def add_gradient(self, values: NDArray[Any]) -> None:
        """Add to the kept gradient, value by value, what :meth:`pack` gave."""
        raise NotImplementedError

    # --- other units, fewer neurons -----------------------------------------------------------

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]]:
        """What to call for a change of units: all is computed here, each call is one step for Python."""
        raise NotImplementedError

    def kept(self, inputs: Mask, outputs: Mask) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """:meth:`config` and :meth:`arrays` of it with these inputs and outputs of its layer alone."""
        raise NotImplementedError

    # --- saving -------------------------------------------------------------------------------

    def check_savable(self) -> None:
        """NotImplementedError if a file would bring back a part of another class."""

    def layout(self) -> dict[str, Any]:
        """JSON-able: kind, dtype and sizes, by which arrays are checked before memory is taken for them."""
        raise NotImplementedError

    def config(self, fields: Collection[str] | None = None) -> dict[str, Any]:
        """:meth:`layout`, and the kinds of its fields; of those named, where some are."""
        kinds = {
            name: kind.config(kind.birth if (now := self.birth_of(name)) is None else now)
            for name, kind in self.fields.items()
            if fields is None or name in fields
        }
        return {**self.layout(), "fields": kinds}

    def arrays(self, fields: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that belong to :meth:`config`."""
        raise NotImplementedError

    def parts(self, fields: Collection[str] | None = None) -> Mapping[str, Array]:
        """:meth:`arrays` for a file, which may be what they come from piece by piece."""
        return self.arrays(fields)

    def pickled(self, fields: Collection[str] | None, guard: Callable[[], None]) -> Mapping[str, Any]:
        """:meth:`arrays` for a pickle, which may be what it writes piece by piece.

        ``guard`` raises if values or links have changed since, or may be changing.
        """
        return self.arrays(fields)

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        """Take over :meth:`config`, and :meth:`arrays`, :meth:`parts` or :meth:`pickled`, of an equal one.

        ValueError if they do not fit.
        """
        raise NotImplementedError

    def check_layout(self, config: Any, arrays: Mapping[str, Array]) -> None:
        """ValueError unless a description, and the arrays' sizes, are of a parameter like this one.

        Nothing has been built yet, and no memory is taken.
        """
        mine = {**self.layout(), "fields": {}}
        for key in entries(self.name or "parameter", config, mine):
            if key != "fields" and config[key] != mine[key]:
                raise ValueError(
                    f"parameter {self.name!r} must have {key} {mine[key]!r}, got {config[key]!r}"
                )

    # --- numbers ------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Values that are trained; connections, for weights that are sparse."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Bytes of values, structure, gradient and fields."""
        raise NotImplementedError

    def finite(self) -> bool:
        """Whether all values are finite."""
        raise NotImplementedError

    def finite_field(self, name: str) -> bool:
        """Whether all values of a field are, or there is none."""
        raise NotImplementedError


def stream_of(layer: int, number: int) -> int:
    """The number, below 2**32, of the random stream of a layer's n-th parameter: see ``rng.h``.

    The first one's is that of the layer itself.
    """
    return layer | number << 20


def fitting(arrays: Mapping[str, Array], key: str, shape: tuple[int, ...], dtype: str, where: str) -> Array:
    """``arrays[key]`` as it is, of which nothing is read; ValueError unless it has this shape and dtype."""
    if key not in arrays:
        raise ValueError(f"{where}: array {key!r} is missing")
    found = arrays[key]
    a = found if isinstance(found, Parts) else np.asarray(found)
    if a.shape != shape or np.dtype(a.dtype) != np.dtype(dtype):
        raise ValueError(
            f"{where}: array {key!r} must have shape {shape} and dtype {dtype}, got {a.shape} and {a.dtype}"
        )
    return a


def take(
    arrays: Mapping[str, Array], key: str, shape: tuple[int, ...], dtype: str, where: str
) -> NDArray[Any]:
    """``arrays[key]``, all of it, which must have this shape and dtype."""
    return np.ascontiguousarray(whole(fitting(arrays, key, shape, dtype, where)))
