"""The sparse linear layer: truly sparse from its first step to its last."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice, describe, detached, float_vector, integer, number
from rewire._geometry import Geometry
from rewire._positions import decode
from rewire._structure import Mask, Structure, whole_groups
from rewire.activations import Activation
from rewire.connectivity import Connectivity, EdgeList, Random, Request
from rewire.connectivity import connectivity as as_connectivity
from rewire.initializers import KINDS as INITIALIZERS
from rewire.initializers import Initializer, initializer
from rewire.layers.base import KEPT, OptimizerNeeds, Rescale, Updates, WeightLayer, register_layer, take
from rewire.layers.dependence import Passage
from rewire.link_counts import (
    density_links,
    erdos_renyi_links,
    plan_bytes,
    plant,
    slots_for,
    sparse_bytes,
)
from rewire.store import WeightStore
from rewire.threads import resolve
from rewire.workspace import Workspace

__all__ = ["Sparse"]

GRADIENT = "gradient"  # the field of gradients that are kept; never saved
PATIENCE = 4  # steps with one structure, from which on a mirror is built
SQUARES = "adam_v"
OPTIMIZER_FIELDS = ("momentum", "adam_m", "adam_v", "born")


@register_layer
class Sparse(WeightLayer):
    """y = f(W x + b), where W has only the connections that exist.

    Give at most one of ``epsilon``, ``density``, ``fan_in``, ``links``.

    Parameters
    ----------
    n_in, n_out : int
        Reads like torch; the store's shape is (n_out, n_in).
    epsilon : float, optional
        Erdos-Renyi: epsilon * (n_in + n_out) links at random positions (20 by default, as in SET).
        A value that asks for more than n_in * n_out gives a full layer.
    density : float in [0, 1], optional
        Fraction of all n_in * n_out links.
    fan_in : int, optional
        Every neuron gets exactly this many sources.
    links : int, optional
        The number of links itself (see :func:`rewire.link_counts.erk_links`).
    activation : str or Activation
    bias : bool
        Biases start at zero.
    init : str, float or Initializer
        Initial weights; ``"he"`` over the fan-in a neuron really has.
    connectivity : str or Connectivity
        Where the links are: ``"random"``, ``"small-world"``, ``"scale-free"``, or an object of
        ``rewire.connectivity``. An ``EdgeList`` says how many, too. Not with ``fan_in``. The links are
        saved, not the connectivity.
    group : {1, 2, 4, 8}
        Neighbouring outputs that share one list of sources. Links are dropped and grown ``group`` at a time,
        so a wanted number of links is rounded to round(links / group) slots.

    Attributes
    ----------
    store : WeightStore
        The connections, once the layer stands in a network.
    bias : ndarray or None

    Notes
    -----
    The number of links is exact, positions are uniform without replacement, all in O(links) time and memory.
    """

    def __init__(
        self,
        n_in: int,
        n_out: int,
        *,
        epsilon: float | None = None,
        density: float | None = None,
        fan_in: int | None = None,
        links: int | None = None,
        activation: str | Activation | dict[str, Any] = "linear",
        bias: bool = True,
        init: str | float | Initializer | dict[str, Any] = "he",
        connectivity: str | Connectivity = "random",
        group: int = 1,
    ) -> None:
        super().__init__(n_in, n_out, activation, bias)
        self._connectivity = as_connectivity(connectivity)
        self.group = choice("group", group, (1, 2, 4, 8))
        self.init = initializer(init)
        given = {"epsilon": epsilon, "density": density, "fan_in": fan_in, "links": links}
        named = [name for name, value in given.items() if value is not None]
        if len(named) > 1:
            raise ValueError(f"give one of epsilon, density, fan_in and links, got {' and '.join(named)}")
        self.epsilon = self._density = self.fan_in = self.links = None
        if isinstance(self._connectivity, EdgeList):
            if named:
                raise ValueError(f"an EdgeList says how many links there are: leave {named[0]} out")
            links = self._connectivity.count
        if fan_in is not None and not isinstance(self._connectivity, Random):
            raise ValueError(f"fan_in draws at random: leave it out with connectivity={self._connectivity!r}")
        if density is not None:
            self._density = number("density", density, low=0.0, high=1.0)
        elif fan_in is not None:
            self.fan_in = integer("fan_in", fan_in, low=0, high=self.n_in)
        elif links is not None:
            self.links = integer("links", links, low=0, high=self.n_in * self.n_out)
        else:
            self.epsilon = 20.0 if epsilon is None else number("epsilon", epsilon, low=0.0, open_low=True)
        # The argument that gave the number of links ("count" where it gave the exact number), and whether it
        # was given for this layer, not for a whole network or by default.
        exact = density == 1.0 or links is not None or fan_in is not None
        self.sized_by = "count" if exact else "epsilon" if density is None else "density"
        self.sized_here = bool(named)
        self._given: tuple[NDArray[Any], ...] | None = None  # (indptr, sources, weights, bias): from_dense
        self._store: WeightStore | None = None
        self._no_mirror_at = -1  # generation for which memory was too short for a mirror
        self._lived = (-1, 0)  # a generation, and how many steps it has been there

    # --- initial links -------------------------------------------------------------------------

    @classmethod
    def from_dense(
        cls,
        weights: NDArray[Any],
        bias: NDArray[Any] | None = None,
        *,
        threshold: float | None = None,
        density: float | None = None,
        activation: str | Activation = "linear",
        group: int = 1,
        init: str | float | Initializer = "he",
    ) -> Sparse:
        """A layer from a dense or pruned matrix.

        Parameters
        ----------
        weights : array_like, shape (n_out, n_in)
            In torch's order. Not kept.
        bias : array_like, shape (n_out,), optional
            Without it the layer has none.
        threshold : float >= 0, optional
            Keep |w| > threshold; 0, the default, keeps what is not zero.
        density : float in [0, 1], optional
            Instead: keep this fraction, the largest in magnitude; of equals the first.
        activation, group, init
            As for :class:`Sparse`. With groups a slot is judged by the sum of |w| over its rows and kept
            whole.

        Raises
        ------
        TypeError, ValueError
            If an array does not hold finite real numbers of the right shape.
        """
        try:
            w = np.asarray(detached(weights))
        except ValueError:
            raise TypeError(f"weights must be a 2-D array of real numbers, got {describe(weights)}") from None
        if w.dtype.kind not in "fiub":
            raise TypeError(f"weights must hold real numbers, got dtype {w.dtype}")
        if w.ndim != 2 or 0 in w.shape:
            raise ValueError(f"weights must be 2-D (n_out, n_in) and not empty, got shape {w.shape}")
        if not np.isfinite(w).all():
            row, column = divmod(int(np.argmin(np.isfinite(w))), w.shape[1])
            raise ValueError(f"weights must be finite, got {w[row, column]} at ({row}, {column})")
        if threshold is not None and density is not None:
            raise ValueError("give threshold or density, got both")
        n_out, n_in = w.shape
        layer = cls(
            n_in, n_out, density=0.0, activation=activation, bias=bias is not None, group=group, init=init
        )
        b = np.zeros(0) if bias is None else float_vector("bias", bias, n_out)

        groups = Geometry(n_in, n_out, group).n_groups
        padded = np.zeros((groups * group, n_in), dtype=np.result_type(w.dtype, np.float32))
        padded[:n_out] = w
        blocks = padded.reshape(groups, group, n_in)
        score = np.abs(blocks).sum(axis=1, dtype=np.float64)
        if density is None:
            keep = score > (0.0 if threshold is None else number("threshold", threshold, low=0.0))
        else:
            slots = slots_for(n_in, n_out, group, density_links(n_in, n_out, density))
            keep = np.zeros(score.size, dtype=bool)
            keep[np.argsort(-score, axis=None, kind="stable")[:slots]] = True
            keep = keep.reshape(score.shape)
        at, sources = np.nonzero(keep)
        indptr = np.concatenate(([0], np.cumsum(keep.sum(axis=1)))).astype(np.int64)
        layer._given = (indptr, sources.astype(np.int32), np.ascontiguousarray(blocks[at, :, sources]), b)
        kept = np.minimum(group, n_out - at * group).sum()
        layer._density, layer.links, layer.sized_by = None, int(kept), "count"
        return layer

    @property
    def wanted_links(self) -> float:
        """Initial links that are asked for, before rounding to slots."""
        if self.links is not None:
            return float(self.links)
        if self.fan_in is not None:
            return float(self.fan_in * self.n_out)
        if self._density is not None:
            return density_links(self.n_in, self.n_out, self._density)
        return erdos_renyi_links(self.n_in, self.n_out, self.epsilon or 0.0)

    @property
    def wanted_slots(self) -> int:
        """Initial slots, exactly."""
        if self.fan_in is not None:
            return self.fan_in * self.geometry.n_groups
        if self._given is not None:
            return len(self._given[1])
        return slots_for(self.n_in, self.n_out, self.group, self.wanted_links)

    def needed_bytes(self, dtype: str) -> int:
        slots = self.wanted_slots
        return sparse_bytes(self.n_in, self.n_out, slots, self.group, dtype) + plan_bytes(
            slots, self.group, dtype
        )

    def build(self, *, seed: int, index: int, depth: int | None, dtype: str, draw: bool = True) -> None:
        super().build(seed=seed, index=index, depth=depth, dtype=dtype, draw=draw)
        self._store = WeightStore(n_out=self.n_out, n_in=self.n_in, group=self.group, dtype=dtype)
        if self._given is not None:
            indptr, sources, weights, bias = self._given
            if draw:
                self.core.load(indptr, sources, weights.astype(dtype))
                if self.bias is not None:
                    self.bias[...] = bias
            self._given = None
        elif draw:
            threads, weights = resolve(None), None
            if isinstance(self._connectivity, Random):
                plan = plant(
                    self.core,
                    slots=self.wanted_slots,
                    fan_in=self.fan_in,
                    seed=seed,
                    stream=index,
                    threads=threads,
                )
            else:
                request = Request(self.core, self.wanted_slots, (seed, index, 0), threads)
                positions, weights = self._connectivity.draw(request)
                plan = _core.Plan(self.core)
                plan.insert(*decode(positions, self.n_in), weights)
            if weights is None:
                links, gain = plan.n_inserted * self.group, self.activation.gain
                self.init.draw(plan, links, gain, seed=seed, stream=index, step=0, threads=threads)
            _core.commit([plan], threads)
        self._connectivity = Random()  # what another holds, data or lists of links, is no longer needed

    @property
    def store(self) -> WeightStore:
        """The connections."""
        if self._store is None:
            raise AttributeError("a Sparse layer has no store until it stands in a Sequential")
        return self._store

    @property
    def core(self) -> _core.Store:
        """The core's store under `store`: what plans and kernels take, and what rules work on."""
        return self.store._core

    @property
    def geometry(self) -> Geometry:
        """Groups, positions and what else follows from sizes alone; known before there is a store."""
        return Geometry(self.n_in, self.n_out, self.group)

    # --- forward, backward --------------------------------------------------------------

    def forward(
        self, x: _core.Tiles, ws: Workspace, training: bool, step: int, threads: int, *, linear: bool = False
    ) -> _core.Tiles:
        y, z = self._output(x, ws, training, linear)
        code, slope = self._terms(linear)
        _core.forward(self.core, x, self._bias, code, slope, y, z, threads)
        return y

    def backward(
        self,
        dy: _core.Tiles,
        x: _core.Tiles,
        ws: Workspace,
        need_dx: bool,
        updates: Updates | None,
        step: int,
        threads: int,
        *,
        linear: bool = False,
    ) -> _core.Tiles | None:
        self._activate_back(dy, ws, linear, threads)
        self._bias_back(dy, threads)
        store, dx = self.core, None
        if need_dx:
            self._ready_mirror(ws.batch, threads)
            dx = ws.other(self.n_in, dy)
            _core.backward_input(store, dy, dx, threads)
        if ws.probed is not None:
            kept = ws.probed[self.index] = ws.tiles((self.index, "probed"), self.n_out)
            kept.array()[...] = dy.array()
        elif updates is None:
            _core.backward_weights(store, x, dy, GRADIENT, threads)
        else:
            penalty = updates.penalties.get(self.index)
            _core.backward_update(store, x, dy, updates.weights, ws.scratch, threads, penalty)
            self._update_bias(updates)
        return dx

    def _ready_mirror(self, batch: int, threads: int) -> None:
        """Build the mirror where gathering through it pays; the bits are the same either way.

        Building takes as long as it saves in two or three steps, so it waits until a structure has lasted.
        """
        store = self.core
        if store.has_mirror or store.generation == self._no_mirror_at:
            return
        generation, steps = self._lived
        self._lived = store.generation, (steps if generation == store.generation else 0) + 1
        if self._lived[1] < PATIENCE or not _core.gather_pays(store, batch):
            store.drop_mirror()  # an old one
        elif not store.build_mirror(threads):
            self._no_mirror_at = store.generation

    # --- optimizer ----------------------------------------------------------------------

    def prepare(self, optimizer: OptimizerNeeds) -> None:
        super().prepare(optimizer)
        for name in OPTIMIZER_FIELDS:
            if name in self.core.fields:
                self.core.drop_field(name)
        for name in optimizer.state_names:
            self.core.add_field(name, self.dtype)
        if optimizer.needs_age:
            self.core.add_field("born", "int32", per_slot=True, birth=1.0)

    def lacks(self, optimizer: OptimizerNeeds) -> str | None:
        wanted = {name: (self.dtype, self.group) for name in optimizer.state_names}
        if optimizer.needs_age:
            wanted["born"] = ("int32", 1)
        fields = self.core.fields
        for name, kind in wanted.items():
            if name not in fields or fields[name][:2] != kind:
                return f"the field {name!r} of {kind[0]}"
        return super().lacks(optimizer)

    def check_field(
        self,
        name: str,
        dtype: str,
        *,
        per_slot: bool = False,
        low: float | None = None,
        high: float | None = None,
        birth: tuple[float, float] | None = None,
    ) -> None:
        """ValueError unless a field, if it is there, is of this kind and its values are in these ranges."""
        if name not in self.core.fields:
            return
        kind, width, birth_value = self.core.fields[name]
        if (kind, width) != (dtype, 1 if per_slot else self.group):
            raise ValueError(f"{self.label}: field {name!r} must be of {dtype}, got {kind} x {width}")
        values = self.core.get_field(name)
        if (low is not None and (values < low).any()) or (high is not None and (values > high).any()):
            raise ValueError(f"{self.label}: field {name!r} must lie in [{low}, {high}]")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(f"{self.label}: field {name!r} must be finite")
        if birth is not None and not birth[0] <= birth_value <= birth[1]:
            raise ValueError(f"{self.label}: new links have {name!r} = {birth_value:g}, not in {birth}")

    @property
    def holds_gradients(self) -> bool:
        """Whether backward without ``updates`` has its memory."""
        return GRADIENT in self.core.fields

    def hold_gradients(self, hold: bool) -> None:
        if hold and not self.holds_gradients:
            self.core.add_field(GRADIENT, self.dtype)
        elif not hold and self.holds_gradients:
            self.core.drop_field(GRADIENT)

    def apply(self, updates: Updates, threads: int) -> None:
        penalty = updates.penalties.get(self.index)
        _core.update_from(self.core, GRADIENT, updates.weights, threads, penalty)
        self._update_bias(updates)

    def kept_gradients(self) -> list[NDArray[Any]]:
        return [self.core.get_field(GRADIENT), *super().kept_gradients()]

    def grad_sumsq(self) -> float:
        return _core.field_sumsq(self.core, GRADIENT) + super().grad_sumsq()

    def scale_grad(self, factor: float) -> None:
        _core.field_scale(self.core, GRADIENT, factor)
        super().scale_grad(factor)

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]]:
        calls, store = super().rescaled(by), self.core
        if by.rows is None and by.cols is None and by.slope is None:
            return calls
        sources = None if by.cols is None else store.sources()
        for name in store.fields:
            rows, cols = by.factors(KEPT[name]) if name in KEPT else (None, None)
            if rows is None and cols is None:
                continue
            values = store.get_field(name)
            if rows is not None:
                every = np.zeros(self.geometry.n_rows, self.dtype)  # the last group may reach over
                every[: self.n_out] = rows
                values *= every.reshape(-1, store.group)[self._groups()]
            if cols is not None:
                values *= cols.astype(self.dtype)[sources, None]
            calls.append(partial(store.set_field, name, values))
        return calls

    def _groups(self) -> NDArray[np.int64]:
        """The group of every slot."""
        ends = self.core.indptr()
        return np.arange(self.core.n_groups).repeat(ends[1:] - ends[:-1])

    def times(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        store = self.core
        groups = self._groups()
        parts = store.get_field("weight") * x[store.sources(), None]
        if store.group == 1 and len(groups):
            return np.bincount(groups, parts[:, 0], store.n_groups).astype(np.float64, copy=False)
        rows = [np.bincount(groups, weights=part, minlength=store.n_groups) for part in parts.T]
        return np.array(rows, np.float64).T.ravel()[: self.n_out]  # without slots they are integers

    # --- paths, and neurons that are removed ----------------------------------------------

    def live_outputs(self, inputs: Mask) -> Mask:
        return Structure.of(self.core).live_outputs(inputs)

    def live_inputs(self, outputs: Mask) -> Mask:
        return Structure.of(self.core).live_inputs(outputs)

    def sources_of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        return Structure.of(self.core).sources_of(outputs)

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.store.to_arrays()[:2]

    def planned(self, plans: Mapping[_core.Store, _core.Plan]) -> Passage | None:
        plan = plans.get(self.core)
        return None if plan is None else Structure.after(plan)

    def keepable(self, inputs: Mask, outputs: Mask) -> tuple[Mask, Mask]:
        return inputs, whole_groups(outputs, self.group)

    def keep(
        self, inputs: Mask, outputs: Mask, values: NDArray[np.float64]
    ) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        config, arrays = super().keep(inputs, outputs, values)
        begins = np.arange(0, self.n_out, self.group)
        groups = outputs[begins]
        group_of = np.repeat(np.arange(groups.size), np.diff(arrays["indptr"]))
        slots = groups[group_of] & inputs[arrays["sources"]]
        counts = np.bincount(group_of[slots], minlength=groups.size)
        for name in arrays:
            if name == "weights" or name.startswith("field."):
                arrays[name] = arrays[name][slots]
        number = np.cumsum(inputs) - 1
        arrays["sources"] = number[arrays["sources"][slots]].astype(np.int32)
        arrays["indptr"] = np.concatenate([[0], np.cumsum(counts[groups])]).astype(np.int64)
        sizes = np.minimum(self.group, self.n_out - begins)
        # The links there are: what was asked for in the beginning may be more than fits now.
        links = int(counts @ (sizes * groups))
        return {**config, "epsilon": None, "density": None, "fan_in": None, "links": links}, arrays

    def magnitudes_in(self) -> NDArray[np.float64]:
        rows, _, values = self.store.to_arrays()
        return np.bincount(rows, weights=np.abs(values), minlength=self.n_out).astype(np.float64)

    # --- saving -------------------------------------------------------------------------

    def check_savable(self) -> None:
        super().check_savable()
        INITIALIZERS.saved_as(self.init)

    def config(self, state: bool = False) -> dict[str, Any]:
        found: dict[str, Any] = {
            "type": "Sparse",
            "n_in": self.n_in,
            "n_out": self.n_out,
            "activation": self.activation.config(),
            "bias": self.has_bias,
            "init": self.init.config(),
            "group": self.group,
        }
        sizes = {
            "epsilon": self.epsilon, "density": self._density, "fan_in": self.fan_in, "links": self.links,
        }
        found.update({name: value for name, value in sizes.items() if value is not None})
        if state:
            found["fields"] = {
                name: [dtype, int(width), float(birth)]
                for name, (dtype, width, birth) in self.core.fields.items()
                if name not in ("weight", GRADIENT)
            }
        return found

    def arrays(self, state: bool = False) -> dict[str, NDArray[Any]]:
        store = self.core
        found: dict[str, NDArray[Any]] = {
            "indptr": store.indptr(),
            "sources": store.sources(),
            "weights": store.get_field("weight"),
            **super().arrays(state),
        }
        if state:
            for name in store.fields:
                if name not in ("weight", GRADIENT):
                    found[f"field.{name}"] = store.get_field(name)
        return found

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        super().restore(config, arrays)
        # Only an empty store can be loaded, and the one there is may be full (the best epoch comes back).
        fresh = WeightStore(n_out=self.n_out, n_in=self.n_in, group=self.group, dtype=self.dtype)
        store = fresh._core
        indptr = take(arrays, "indptr", (self.geometry.n_groups + 1,), "int64", self.label)
        slots = int(np.size(arrays.get("sources", ())))
        sources = take(arrays, "sources", (slots,), "int32", self.label)
        weights = take(arrays, "weights", (slots, self.group), self.dtype, self.label)
        try:
            store.load(indptr, sources, weights)
        except _core.LinkError as error:
            raise ValueError(f"{self.label}: {error}") from error
        for name, kind in dict(config.get("fields", {})).items():
            if not isinstance(kind, Sequence) or len(kind) != 3:
                raise TypeError(f"{self.label}: field {name!r} must be (dtype, width, birth), got {kind!r}")
            dtype, width, birth = kind
            width = choice("width", width, tuple({1, self.group}))
            # With group 1 both widths are 1 and the distinction is gone with no harm.
            per_slot = width == 1 and self.group > 1
            store.add_field(name, dtype, per_slot=per_slot, birth=number("birth", birth))
            store.set_field(name, take(arrays, f"field.{name}", (slots, width), dtype, self.label))
        try:
            store.check()
        except RuntimeError as error:
            raise ValueError(f"{self.label}: {error}") from error
        self._store = fresh
        self.sized_by = "count"

    # --- numbers ------------------------------------------------------------------------

    @property
    def nnz(self) -> int:
        return self.core.nnz if self.built else math.floor(self.wanted_links + 0.5)

    @property
    def nbytes(self) -> int:
        return (self.core.nbytes if self.built else 0) + self._bias_bytes()

    def finite(self) -> bool:
        return _core.field_finite(self.core, "weight") and super().finite()

    def finite_state(self) -> bool:
        return SQUARES not in self.core.fields or _core.field_finite(self.core, SQUARES)

    def __repr__(self) -> str:
        return f"Sparse({self.n_in}, {self.n_out}, activation={self.activation!r}, group={self.group})"
