"""Weights of which only those exist that belong to a connection: a store, and what grows links in it."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import MAX_NEURONS, choice, detached, entries, integer, number
from rewire._container import Array, Parts
from rewire._geometry import Geometry
from rewire._pickling import StreamedStore
from rewire._positions import decode
from rewire._precision import KEPT, bf16_rounded
from rewire._streaming import filled, slot_blocks, store_parts
from rewire._structure import Mask, Structure
from rewire.connectivity import Connectivity, Random, Request
from rewire.connectivity import connectivity as as_connectivity
from rewire.initializers import KINDS as INITIALIZERS
from rewire.initializers import Initializer, initializer
from rewire.link_counts import plan_bytes, plant, sparse_bytes
from rewire.parameters.base import GRADIENT, Owner, Parameter, fitting
from rewire.parameters.field import Field
from rewire.parameters.initial import GROUPS, Wanted, links_of
from rewire.parameters.units import Rescale
from rewire.store import WeightStore
from rewire.threads import resolve

__all__ = ["SparseParameter", "refuse_views"]

PATIENCE = 4  # steps with one structure, from which on a mirror is built
_STREAM = "store"  # in the place of its arrays, in pickles
LOOKS = 2  # links that are looked at in the time that the mirror takes to find one


class SparseParameter(Parameter):
    """A store of weights, with the random stream, gain and initializer by which links are grown in it.

    Give at most one of ``epsilon``, ``density``, ``fan_in``, ``links``.

    Parameters
    ----------
    n_in, n_out : int
    epsilon, density, fan_in, links : optional
        How many links: see :class:`rewire.Sparse`.
    init : str, float or Initializer
        Initial weights.
    connectivity : str or Connectivity
        Where the links are.
    group : {1, 2, 4, 8}
    gain : float
        The activation's gain, for initializers that ask for it.
    decays : bool
        Whether weight decay applies.
    rate : float > 0
        Factor on the optimizer's learning rate.
    dtype : {None, "float32", "float64"}
        None: that of the network.

    Attributes
    ----------
    store : WeightStore
    core : object
        The core's store under `store`: what plans and kernels take.
    master : str or None
        A field that the optimizer changes instead of the weights; who sets it derives the weights.
    """

    connects = True
    master: str | None = None

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        epsilon: float | None = None,
        density: float | None = None,
        fan_in: int | None = None,
        links: int | None = None,
        init: str | float | Initializer | dict[str, Any] = "he",
        connectivity: str | Connectivity = "random",
        group: int = 1,
        gain: float = 1.0,
        decays: bool = True,
        rate: float = 1.0,
        dtype: str | None = None,
    ) -> None:
        super().__init__(
            decays=decays, rate=rate, dtype=None if dtype is None else choice("dtype", dtype, KEPT)
        )
        self.n_in = integer("n_in", n_in, low=1, high=MAX_NEURONS)
        self.n_out = integer("n_out", n_out, low=1, high=MAX_NEURONS)
        self._connectivity = as_connectivity(connectivity)
        self.group = choice("group", group, GROUPS)
        self.init = initializer(init)
        self.gain = number("gain", gain)
        self.wanted = Wanted.of(
            self.geometry,
            self._connectivity,
            epsilon=epsilon,
            density=density,
            fan_in=fan_in,
            links=links,
        )
        # What gave the number of links ("count" where it gave the exact number), and whether that was said of
        # this layer, not of a whole network or by default.
        self.sized_by = "count" if self.wanted.exact else self.wanted.name
        self.sized_here = self.wanted.given
        self._given: tuple[NDArray[Any], ...] | None = None  # (indptr, sources, weights): from_dense
        self.store: WeightStore
        self.core: _core.Store
        self._declared: dict[str, Field] = {}  # fields that were added here, and not to the store itself
        self._no_mirror_at = -1  # generation for which memory was too short for a mirror
        self._scatters_at = (-1, 0)  # generation and samples for which a mirror would not pay
        self._lived = (-1, 0)  # a generation, and how many steps it has been there

    @classmethod
    def from_dense(
        cls,
        weights: NDArray[Any],
        *,
        threshold: float | None = None,
        density: float | None = None,
        group: int = 1,
        init: str | float | Initializer | dict[str, Any] = "he",
        gain: float = 1.0,
    ) -> SparseParameter:
        """Those of a matrix (n_out, n_in) that are not zero, above a threshold, or largest in magnitude.

        See :meth:`rewire.Sparse.from_dense`, whose arguments these are.
        """
        chosen = links_of(weights, threshold=threshold, density=density, group=group)
        n_in, n_out, group = chosen.geometry
        made = cls(n_in, n_out, links=chosen.links, group=group, init=init, gain=gain)
        made._given = chosen.indptr, chosen.sources, chosen.weights
        return made

    # --- sizes --------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        return "store" in self.__dict__

    @property
    def shape(self) -> tuple[int, ...]:
        return self.n_out, self.n_in

    @property
    def geometry(self) -> Geometry:
        """Groups, positions and what else follows from sizes alone; known before there is a store."""
        return Geometry(self.n_in, self.n_out, self.group)

    @property
    def wanted_slots(self) -> int:
        """Initial slots, exactly."""
        return self.wanted.slots(self.geometry) if self._given is None else len(self._given[1])

    def sizes(self) -> dict[str, Any]:
        """The constructor's argument that says how many links there are."""
        return {self.wanted.name: self.wanted.value}

    def said(self) -> dict[str, Any]:
        """What was said of links, by the constructor's arguments: how many, and where the first ones are."""
        where = "random" if isinstance(self._connectivity, Random) else self._connectivity
        return {self.wanted.name: self.wanted.value if self.wanted.given else None, "connectivity": where}

    # --- life in a network --------------------------------------------------------------

    def needed_bytes(self, dtype: str) -> int:
        slots = self.wanted_slots
        return sparse_bytes(self.n_in, self.n_out, slots, self.group, dtype) + plan_bytes(
            slots, self.group, dtype
        )

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
        self._hold(WeightStore(n_out=self.n_out, n_in=self.n_in, group=self.group, dtype=self.dtype))
        if self._given is not None:
            indptr, sources, weights = self._given
            if draw:
                self.core.load(indptr, sources, weights.astype(self.dtype))
            self._given = None
        elif draw:
            self._draw(seed)
        self._connectivity = Random()  # what another holds, data or lists of links, is no longer needed
        return self

    def _hold(self, store: WeightStore) -> None:
        self.store, self.core = store, store._core

    def __getstate__(self) -> dict[str, Any]:
        own = {name: value for name, value in vars(self).items() if name != "core"}
        of_generations = {"_no_mirror_at": -1, "_scatters_at": (-1, 0), "_lived": (-1, 0)}
        return own | {"_derived": {}} | of_generations

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if self.built:
            self._hold(self.store)

    def _draw(self, seed: int) -> None:
        threads, weights, stream = resolve(None), None, self.stream
        if isinstance(self._connectivity, Random):
            plan = plant(
                self.core,
                slots=self.wanted_slots,
                fan_in=int(self.wanted.value) if self.wanted.name == "fan_in" else None,
                seed=seed,
                stream=stream,
                threads=threads,
            )
        else:
            request = Request(self.core, self.wanted_slots, (seed, stream, 0), threads)
            positions, weights = self._connectivity.draw(request)
            plan = _core.Plan(self.core)
            plan.insert(*decode(positions, self.n_in), weights)
        if weights is None:
            links = plan.n_inserted * self.group
            self.init.draw(plan, links, self.gain, seed=seed, stream=stream, step=0, threads=threads)
        _core.commit([plan], threads)

    # --- products -------------------------------------------------------------------------

    @property
    def rounds(self) -> bool:
        return self.compute_dtype == "bfloat16"

    def forward(
        self, x: _core.Tiles, y: _core.Tiles, threads: int, *, bias: NDArray[Any] | None = None,
        activation: str = "linear", slope: float = 0.0, z: _core.Tiles | None = None,
        scratch: _core.Scratch | None = None,
    ) -> None:  # fmt: skip
        """y = f(W x + bias), by sample; ``z`` receives f' of GELU and SiLU, else what f is taken of.

        Parameters
        ----------
        x, y, z : Tiles
            Of n_in, n_out and n_out features.
        threads : int
        bias : ndarray, optional
            Padded: `DenseParameter.padded`.
        activation : {"linear", "relu", "leaky", "sigmoid", "tanh"}
        slope : float
            Of "leaky".
        scratch : Scratch, optional
            Where operands are rounded, if they are: that of the workspace, or else memory of this call.
        """
        _core.forward(self.core, x, bias, activation, slope, y, z, threads, self.rounds, scratch)

    def backward_input(
        self, dy: _core.Tiles, dx: _core.Tiles, batch: int, threads: int,
        scratch: _core.Scratch | None = None, rounded: _core.Rounded | None = None,
    ) -> None:  # fmt: skip
        """dx = W' dy, by sample: the gradient for the inputs from that for the sums."""
        if self._scatters_at != (self.core.generation, batch):  # else it was asked before
            self.ready_mirror(batch, threads)
        _core.backward_input(self.core, dy, dx, threads, self.rounds, scratch, rounded)

    def ready_mirror(self, batch: int, threads: int) -> None:
        """Build the mirror where gathering through it pays; the bits are the same either way.

        Building takes as long as it saves in two or three steps, so it waits until a structure has lasted.
        """
        self._ready(partial(self._gather_pays, batch), threads)

    def _gather_pays(self, batch: int) -> bool:
        pays = _core.gather_pays(self.core, batch)
        if not pays:
            self._scatters_at = self.core.generation, batch
        return pays

    def ready_for_few(self, x: _core.SparseInputs, threads: int) -> None:
        """The same where the mirror finds the links of few inputs that are not zero."""
        often = x.values * LOOKS >= x.n  # then a look at every link is as fast
        if not x.packed and not often:
            self._ready(lambda: True, threads)

    def _ready(self, pays: Callable[[], bool], threads: int) -> None:
        core = self.core
        if not core.has_mirror and core.generation != self._no_mirror_at:
            generation, steps = self._lived
            self._lived = core.generation, (steps if generation == core.generation else 0) + 1
            if self._lived[1] < PATIENCE or not pays():
                core.drop_mirror()  # an old one
            elif not core.build_mirror(threads):
                self._no_mirror_at = core.generation

    def times(self, x: NDArray[np.float64], field: str = "weight") -> NDArray[np.float64]:
        """W x in float64, shape (n_out,), or the product of a field of one value a link.

        W is rounded where products round it; x is taken as it is.
        """
        if field == "weight" and not self.rounds:
            return _core.weight_times(self.core, np.ascontiguousarray(x, np.float64))
        rows, cols, _ = self.to_arrays()
        values = bf16_rounded(self.read(field)) if self.rounds else self.read(field)
        return np.bincount(rows, values * x[cols], self.n_out).astype(np.float64, copy=False)

    def magnitudes_in(self) -> NDArray[np.float64]:
        """Sum of |w| over the incoming links of every neuron, shape (n_out,)."""
        rows, _, values = self.store.to_arrays()
        return np.bincount(rows, weights=np.abs(values), minlength=self.n_out).astype(np.float64)

    def to_arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[Any]]:
        return self.store.to_arrays()

    # --- values -----------------------------------------------------------------------------

    def read(self, field: str = "weight") -> NDArray[Any]:
        if not self.core.has_field(field):
            raise KeyError(f"{self.name} has no {field!r}")
        if self.group > 1 and self.core.fields[field][1] == 1:  # one a slot
            return self.core.get_field(field).reshape(-1)
        out = np.empty(self.nnz, self.core.fields[field][0])
        _core.read_links(self.core, field, out)
        return out

    def state_of_values(self) -> tuple[int, ...]:
        return self.version, self.core.generation

    def write(self, values: NDArray[Any], field: str = "weight") -> None:
        values = detached(values, "values")
        if field == GRADIENT:
            self.hold_gradient(True)
        if not self.core.has_field(field):
            raise KeyError(f"{self.name} has no {field!r}")
        dtype, width, _ = self.core.fields[field]
        one_a_slot = self.group > 1 and width == 1
        size = self.core.slots if one_a_slot else self.nnz
        if np.shape(values) != (size,):
            raise ValueError(f"values must have shape ({size},), got {np.shape(values)}")
        given = np.ascontiguousarray(values, dtype)
        if one_a_slot:
            self.core.set_field(field, given[:, None])
        else:
            if field == "weight" and self.master is not None:  # weights follow it in the next step
                master, changed = self.read(self.master), given != self.read()
                master[changed] = given[changed]
                _core.write_links(self.core, self.master, master)
            _core.write_links(self.core, field, given)
        self.touch()

    # --- fields -----------------------------------------------------------------------------

    @property
    def fields(self) -> dict[str, Field]:
        found = {}
        for name, (dtype, width, birth) in self.core.fields.items():
            if name in self._declared:
                found[name] = self._declared[name]
            elif name not in ("weight", GRADIENT):  # one that somebody put there
                found[name] = Field(dtype, width == 1 and self.group > 1, birth)
        return found

    def has(self, field: str) -> bool:
        return bool(self.core.has_field(field))

    def fits(self, name: str, field: Field) -> bool:
        return bool(self.core.field_kind(name) == (field.of(self.dtype), 1 if field.per_slot else self.group))

    def storage(self) -> tuple[object, ...]:
        return (self.core.layout,)

    def add_field(self, name: str, field: Field) -> None:
        field.check(name)
        self.drop_field(name)
        self.core.add_field(name, field.of(self.dtype), per_slot=field.per_slot, birth=field.birth)
        self._declared[name] = field

    def drop_field(self, name: str) -> None:
        if self.core.has_field(name):
            self.core.drop_field(name)
        self._declared.pop(name, None)

    def field_bytes(self, field: Field) -> int:
        width = 1 if field.per_slot else self.group
        return int(self.core.slots) * width * np.dtype(field.of(self.dtype)).itemsize

    def copy_bytes(self, fields: Collection[Field]) -> int:
        weights = self.field_bytes(Field()) + 4 * int(self.core.slots) + 8 * (self.geometry.n_groups + 1)
        return weights + sum(self.field_bytes(field) for field in fields)

    def gradient_bytes(self) -> int:
        return self.field_bytes(Field()) if self.core.has_field(GRADIENT) else 0

    def values_of(self, field: str) -> NDArray[Any]:
        return self.core.get_field(field)

    def blocks_of(self, field: str) -> Iterator[NDArray[Any]]:
        return slot_blocks(self.core, field)

    def birth_of(self, field: str) -> float | None:
        there = self.core.fields.get(field)
        return None if there is None else float(there[2])

    def set_birth(self, field: str, value: float) -> None:
        self.core.set_birth(field, value)

    # --- gradients that are kept ------------------------------------------------------------

    def hold_gradient(self, hold: bool) -> None:
        held = self.core.has_field(GRADIENT)
        if hold and not held:
            self.core.add_field(GRADIENT, self.dtype)
        elif not hold and held:
            self.core.drop_field(GRADIENT)

    def gradient_sumsq(self) -> float:
        return _core.field_sumsq(self.core, GRADIENT)

    def scale_gradient(self, factor: float) -> None:
        _core.field_scale(self.core, GRADIENT, factor)

    # --- values as they lie -------------------------------------------------------------------

    def packed_size(self) -> int:
        return int(self.core.slots) * self.group

    def pack(self, field: str, out: NDArray[Any]) -> None:
        self.core.get_field(field, out)

    def unpack(self, field: str, values: NDArray[Any]) -> None:
        if field == GRADIENT:
            self.hold_gradient(True)
        self.core.set_field(field, values)
        self.touch()

    def set_links(self, structure: bytes) -> None:
        """Take other links, as `WeightStore.structure_bytes` has them, in a new store without fields."""
        store = WeightStore(n_out=self.n_out, n_in=self.n_in, group=self.group, dtype=self.dtype)
        _core.structure_load(store._core, structure)
        self._hold(store)
        self.touch()

    def add_gradient(self, values: NDArray[Any]) -> None:
        _core.field_add(self.core, GRADIENT, values)

    # --- the optimizer's step -----------------------------------------------------------------

    def apply(self, update: _core.Update, threads: int) -> None:
        update.target = self.master
        _core.update_from(self.core, GRADIENT, update, threads)
        self.version += 1

    def stepped_in_numpy(
        self,
        fields: Collection[str],
        step: Callable[[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]], None],
    ) -> Callable[[], None]:
        core, target = self.core, self.master or "weight"
        values, gradient = core.get_field(target), core.get_field(GRADIENT)
        kept = {name: core.get_field(name) for name in fields}
        step(values, gradient, kept)
        if self.geometry.missing_rows:  # rows that are not there stay zero, whatever the step did
            last, rows = int(core.indptr()[-2]), self.geometry.last_rows
            for changed in (values, *kept.values()):
                if changed.shape[1] == self.group:
                    changed[last:, rows:] = 0
        return partial(self._take_over, {target: values, **kept})

    def _take_over(self, values: Mapping[str, NDArray[Any]]) -> None:
        for name, changed in values.items():
            self.core.set_field(name, changed)
        self.touch()

    # --- other units, fewer neurons ---------------------------------------------------------

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]]:
        calls: list[Callable[[], Any]] = []
        core, kinds = self.core, self._declared  # of what somebody else put there nobody knows the unit
        if by.rows is None and by.cols is None and by.slope is None:
            return calls
        for name in core.fields:
            power = 0 if name == "weight" else kinds[name].power if name in kinds else None
            rows, cols = by.factors(power)
            if rows is not None:
                rows = np.ascontiguousarray(np.broadcast_to(rows, (self.n_out,)), np.float64)
            if rows is not None or cols is not None:
                calls.append(partial(_core.field_rescale, core, name, rows, cols))
        return [*calls, self.touch]

    def kept(self, inputs: Mask, outputs: Mask) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        arrays = self.arrays()
        begins = np.arange(0, self.n_out, self.group)
        groups = outputs[begins]
        group_of = np.repeat(np.arange(groups.size), np.diff(arrays["indptr"]))
        slots = groups[group_of] & inputs[arrays["sources"]]
        counts = np.bincount(group_of[slots], minlength=groups.size)
        for name in arrays:
            if name == "values" or name.startswith("field."):
                arrays[name] = arrays[name][slots]
        number_of = np.cumsum(inputs) - 1
        arrays["sources"] = number_of[arrays["sources"][slots]].astype(np.int32)
        arrays["indptr"] = np.concatenate([[0], np.cumsum(counts[groups])]).astype(np.int64)
        return {**self.config(), "shape": [int(outputs.sum()), int(inputs.sum())]}, arrays

    def links_kept(self, indptr: NDArray[np.int64], outputs: Mask) -> int:
        """The links of these outputs, from the ``indptr`` of what :meth:`kept` gave."""
        begins = np.arange(0, self.n_out, self.group)
        sizes = np.minimum(self.group, self.n_out - begins)[outputs[begins]]
        return int(np.diff(indptr) @ sizes)

    # --- saving -----------------------------------------------------------------------------

    def check_savable(self) -> None:
        INITIALIZERS.saved_as(self.init)

    def layout(self) -> dict[str, Any]:
        return {"kind": "sparse", "dtype": self.dtype, "shape": [self.n_out, self.n_in], "group": self.group}

    def arrays(self, fields: Collection[str] | None = None) -> dict[str, NDArray[Any]]:
        core = self.core
        found: dict[str, NDArray[Any]] = {
            "indptr": core.indptr(), "sources": core.sources(), "values": core.get_field("weight"),
        }  # fmt: skip
        for name in self.fields:
            if fields is None or name in fields:
                found[f"field.{name}"] = core.get_field(name)
        return found

    def parts(self, fields: Collection[str] | None = None) -> Mapping[str, Array]:
        return store_parts(self.core, [name for name in self.fields if fields is None or name in fields])

    def pickled(self, fields: Collection[str] | None, guard: Callable[[], None]) -> Mapping[str, Any]:
        names = [name for name in self.fields if fields is None or name in fields]
        return {_STREAM: StreamedStore(self.core, names, guard)}

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
        kinds = {name: Field.from_config(name, described) for name, described in config["fields"].items()}
        if _STREAM in arrays:
            core = arrays[_STREAM].taken()
            self._refuse_unlike(core, kinds)
        else:
            core = self._store_of(arrays, kinds)
        self._hold(WeightStore._around(core))
        self._declared, self.sized_by = kinds, "count"
        self.touch()

    def _refuse_unlike(self, core: _core.Store, kinds: Mapping[str, Field]) -> None:
        """ValueError unless a store is of this shape and has these fields."""
        found = {"shape": (core.n_out, core.n_in, core.group), "fields": core.fields}
        wanted = {
            name: (kind.of(self.dtype), 1 if kind.per_slot else self.group, kind.birth)
            for name, kind in kinds.items()
        }
        weight = {"weight": (self.dtype, self.group, core.fields["weight"][2])}
        if found != {"shape": (self.n_out, self.n_in, self.group), "fields": weight | wanted}:
            raise ValueError(f"{self.name}: the store is not what its description says, got {found}")

    def _store_of(self, arrays: Mapping[str, Array], kinds: Mapping[str, Field]) -> _core.Store:
        """A store of its own: what is wrong with an array may show when half of it has been read."""
        sources = arrays.get("sources", ())
        slots = math.prod(sources.shape if isinstance(sources, Parts) else np.shape(sources))
        shapes: dict[str, tuple[tuple[int, ...], str]] = {
            "indptr": ((self.geometry.n_groups + 1,), "int64"), "sources": ((slots,), "int32"),
            "values": ((slots, self.group), self.dtype),
        }  # fmt: skip
        for name, kind in kinds.items():
            shapes[f"field.{name}"] = (slots, 1 if kind.per_slot else self.group), kind.of(self.dtype)
        found = {key: fitting(arrays, key, *said, self.name) for key, said in shapes.items()}
        loader = _core.Loader(slots, n_out=self.n_out, n_in=self.n_in, group=self.group, dtype=self.dtype)
        for name, kind in kinds.items():
            loader.add_field(name, kind.of(self.dtype), per_slot=kind.per_slot, birth=kind.birth)
        return filled(loader, found, self.label)

    def check_layout(self, config: Any, arrays: Mapping[str, Any]) -> None:
        super().check_layout(config, arrays)
        entries(f"{self.name}: fields", config["fields"], config["fields"])
        if _STREAM not in arrays:
            fitting(arrays, "indptr", (self.geometry.n_groups + 1,), "int64", self.name)

    # --- numbers ----------------------------------------------------------------------------

    @property
    def nnz(self) -> int:
        """Connections; those that are asked for, before there is a store."""
        return self.core.nnz if self.built else math.floor(self.wanted.links(self.geometry) + 0.5)

    @property
    def density(self) -> float:
        """Connections over n_in * n_out."""
        return self.nnz / (self.n_in * self.n_out)

    @property
    def size(self) -> int:
        return self.nnz

    @property
    def nbytes(self) -> int:
        return self.core.nbytes if self.built else 0

    def finite(self) -> bool:
        return _core.field_finite(self.core, "weight")

    def finite_field(self, name: str) -> bool:
        return not self.core.has_field(name) or _core.field_finite(self.core, name)

    def structure(self) -> Structure:
        """Which sources each group has."""
        return Structure.of(self.core)

    def live_outputs(self, inputs: Mask) -> Mask:
        """Outputs with a link from one of these inputs."""
        return self.structure().live_outputs(inputs)

    def live_inputs(self, outputs: Mask) -> Mask:
        """Inputs with a link into one of these outputs, or into another of its group."""
        return self.structure().live_inputs(outputs)

    def __repr__(self) -> str:
        return f"SparseParameter({self.n_in}, {self.n_out}, group={self.group})"


def refuse_views(parameters: Iterable[SparseParameter], what: str) -> None:
    """BufferError naming the first parameter whose store is viewed; ``what`` says what cannot be done."""
    for parameter in parameters:
        if parameter.core.pins:
            why = parameter.core.viewed()
            raise BufferError(f"{parameter.label} cannot be {what} while a view of its store is alive: {why}")
