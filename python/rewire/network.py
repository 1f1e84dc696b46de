"""Layers in a row: building, forward, backward, predicting.

A network owns its layers and the seed all their random numbers come from. It
does no arithmetic of its own: it hands tiles from one layer to the next.
"""

from __future__ import annotations

import operator
import os
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _checks, _core, _saving
from rewire._gate import Gate
from rewire._geometry import item_bytes
from rewire._inputs import Source, as_source
from rewire._moments import quiet
from rewire._saving import Contents
from rewire.activations import Activation, Softmax
from rewire.layers import Layer, Pass, layer_from_config
from rewire.layers.composite import checked
from rewire.layers.passing import Learner
from rewire.layers.row import backward_through, connect_row, first_learning, forward_through, width_of
from rewire.layers.summary import table
from rewire.layers.tree import Tree
from rewire.link_counts import refuse_if_too_large
from rewire.parameters import Parameter, Rescale, SparseParameter
from rewire.parameters.base import GRADIENT, stream_of, take
from rewire.parameters.counting import connections, full_connections, held_bytes, trained_values
from rewire.parameters.sparse import refuse_views
from rewire.standardizer import Standardizer
from rewire.threads import resolve
from rewire.workspace import Workspace

__all__ = ["Sequential"]

ALONE = 1 << 20  # multiplications of a step, had all layers every link, below which one thread does it all
LARGEST = {kind: float(np.finfo(kind).max) for kind in ("float32", "float64")}
PREDICT_BYTES = 32 << 20  # activations of one batch of predict, when the caller does not say
SPARE_BYTES = 64 << 20  # workspaces larger than this are not kept for the next predict
SPARES = 4


class Sequential:
    """A network of layers in a row.

    Parameters
    ----------
    layers : sequence of Layer
        New ones: a layer belongs to one network. The last one has weights.
    seed : int or None
        Where all random numbers come from: structure, weights, dropout, rewiring. None draws one.
    dtype : {"float32", "float64"}

    Attributes
    ----------
    layers : list of Layer
    n_in, n_out : int
    seed : int
    dtype : str
    standardizer : Standardizer or None
        Applied to every input; set by ``Trainer(..., standardize=True)``.

    Raises
    ------
    TypeError, ValueError
        If layers do not fit each other; both are named.
    MemoryError
        Before anything is allocated, if the weights cannot fit.

    Notes
    -----
    A sample's outputs do not depend on the rest of its batch nor on the number of threads (with a
    ``Dense`` layer: as far as BLAS keeps that promise).
    """

    def __init__(self, layers: Sequence[Layer], *, seed: int | None = 0, dtype: str = "float32") -> None:
        self.seed = _checks.seed("seed", seed)
        self.dtype = _checks.choice("dtype", dtype, ("float32", "float64"))
        self._assemble(layers)
        self._build(draw=True)
        for layer in self.tree.layers.values():
            layer.start()

    def _assemble(self, layers: Sequence[Layer]) -> None:
        """Take layers that fit each other; nothing has memory yet."""
        self.layers = checked(layers)
        width = width_of(self.layers)
        if not width:
            raise ValueError("layers must hold at least one Sparse or Dense layer, got none")
        connect_row(self.layers, width)
        self._tree = Tree(self.layers)
        if not self._tree.weighted:
            raise ValueError("layers must hold at least one Sparse or Dense layer, got none")
        if not self.layers[-1].may_end:
            raise ValueError(f"the last layer must be Sparse or Dense, got {self.layers[-1]!r}")
        self.n_in, self.n_out = self.layers[0].n_in, self.layers[-1].n_out
        self.standardizer: Standardizer | None = None
        self.gate = Gate()
        self._spares: list[Workspace] = []
        # Whose optimizer state the layers hold; a trainer that finds another's starts afresh.
        self.trained_by: object | None = None
        # Who keeps gradients in the parameters that no optimizer has used yet.
        self.gradients_of: object | None = None

    def _build(self, draw: bool) -> None:
        """Give parameters their memory and, with ``draw``, their first values."""
        tree = self._tree
        for parameter in tree.parameters.values():
            if parameter.built:
                raise ValueError(
                    f"{parameter!r} already belongs to a network; make a new one for another network"
                )
        needed = sum(parameter.needed_bytes(self.dtype) for parameter in tree.parameters.values())
        refuse_if_too_large(needed, "the network")
        last = self.layers[-1]
        depths = {id(layer): k for k, layer in enumerate(tree.weighted, start=1) if layer is not last}
        for layer in tree.weighted:  # before any layer is built, so that a refusal leaves them all free
            layer.activation.bind(depths.get(id(layer)))
        for index, (name, layer) in enumerate(tree.layers.items()):
            layer.build(seed=self.seed, index=index, name=name, depth=depths.get(id(layer)), dtype=self.dtype)
        for name, parameter in tree.parameters.items():
            of, number = tree.declared_by[name]
            parameter.uses, layer = tree.uses[name], tree.layers[of]
            stream = stream_of(layer.index, number)
            parameter.build(
                name=name, owner=layer, seed=self.seed, stream=stream, dtype=self.dtype, draw=draw
            )
        self._first_learning = first_learning(self.layers)

    # --- what it is made of -----------------------------------------------------------------

    @property
    def tree(self) -> Tree:
        """All layers, parameters and buffers, by name."""
        if self._tree.row != self.layers:
            self._tree = Tree(self.layers)
        return self._tree

    def parameters(self) -> dict[str, Parameter]:
        """All parameters, each once, by names such as ``"layers.0.weight"``."""
        return dict(self.tree.parameters)

    @property
    def weight_layers(self) -> list[Any]:
        """Layers with connections of their own, in order; those inside of others as well."""
        return list(self.tree.weighted)

    @property
    def sparse_parameters(self) -> list[SparseParameter]:
        """All weights that are sparse, in order: what rewiring rules work on."""
        return list(self.tree.sparse)

    @property
    def weight_names(self) -> list[list[str]]:
        """Names of the parameters that make the connections of each of :attr:`weight_layers`.

        Weights that layers share are those of the first one.
        """
        tree = self.tree
        found: dict[str, list[str]] = {}
        for name, (layer, _) in tree.declared_by.items():
            if tree.parameters[name].connects:
                found.setdefault(layer, []).append(name)
        return [found[name] for name in tree.layers if name in found]

    def position_of(self, parameter: Parameter) -> int:
        """Where the layer that has a parameter stands in the row."""
        return int(parameter.name.split(".")[1])

    @property
    def final(self) -> Activation:
        """The activation of the outputs."""
        return self.layers[-1].activation

    def get_vector(self, field: str = "weight") -> NDArray[Any]:
        """Weights, kept gradients or a field of all parameters as one vector; a copy.

        Parameters
        ----------
        field : str
            ``"weight"``, ``"gradient"``, or the name of a field, such as ``"momentum"``.

        Returns
        -------
        ndarray of the widest dtype among the parameters, shape (n_params,)
            No value is rounded: float64 if one parameter of a float32 network is. In the order of
            :meth:`parameters`; of links by row and column, as ``to_arrays`` of a parameter has them. Rewiring
            moves links: a vector from before it is one of other links.

        Raises
        ------
        KeyError
            If a parameter has no such field.
        """
        with self.gate.reading("get_vector"):
            parts = [parameter.read(field) for parameter in self.tree.parameters.values()]
        return np.concatenate(parts)

    def set_vector(self, values: ArrayLike, field: str = "weight") -> None:
        """Write weights, kept gradients or a field of all parameters from one vector.

        Parameters
        ----------
        values : array-like, shape (n_params,)
            In the order of :meth:`get_vector`. Finite, and in the range of the field; rounded to its dtype.
        field : str

        Raises
        ------
        KeyError, TypeError, ValueError
            If a parameter has no such field; for values that do not fit. Nothing has changed then.
        BufferError
            For gradients, while a store is viewed.
        RuntimeError
            While another thread trains this network or predicts. A callback of ``fit`` may call it.
        """
        with self.gate.changing("set_vector"):
            found = _checks.float_vector("values", values, self.n_params)
            parameters = list(self.tree.parameters.values())
            parts = np.split(found, np.cumsum([parameter.size for parameter in parameters])[:-1])
            if field == GRADIENT:
                self.refuse_views("written")
            for parameter, part in zip(parameters, parts, strict=True):  # before anything changes
                parameter.check_values(part, field)
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.write(part, field)

    # --- numbers ----------------------------------------------------------------------------

    @property
    def width(self) -> int:
        """The widest layer or input; decides the tile."""
        return max(self.n_in, *(layer.n_out for layer in self.tree.layers.values()))

    @property
    def nnz(self) -> int:
        """Connections."""
        return connections(self.tree.parameters.values())

    @property
    def size(self) -> int:
        """Connections the same network would have if every layer were full."""
        return full_connections(self.tree.parameters.values())

    @property
    def density(self) -> float:
        """Connections over those of a dense network."""
        return self.nnz / self.size

    @property
    def n_params(self) -> int:
        """Trained values: connections, biases and others."""
        return trained_values(self.tree.parameters.values())

    @property
    def nbytes(self) -> int:
        """Bytes of weights, structure and optimizer state."""
        return held_bytes([*self.tree.parameters.values(), *self.tree.buffers.values()])

    # --- new units ----------------------------------------------------------------------

    def learn_inputs(self, source: Source, weight: NDArray[np.float64] | None) -> None:
        """Let the standardiser learn from a training set; the first layer is rescaled, so that nothing else
        changes. Without biases there it keeps the mean that it subtracts.
        """
        old, first = self.standardizer, self.layers[self._first_learning]
        before = self.layers[: self._first_learning]
        if old is None:
            self.standardizer = Standardizer.fit(source, weight)
            return
        if any(layer.rescaled(Rescale()) is None for layer in (*before, first)):
            return  # they could not follow
        new = old.learn(source, weight, center=first.absorbs is True)
        if new is not old:
            gain, offset = old.change_to(new)
            calls = first.rescaled(Rescale(cols=gain, offset=offset)) or []
            self._at_once([*calls, partial(self.__dict__.update, standardizer=new)])

    def change_outputs(self, gain: NDArray[np.float64] | None, shift: NDArray[np.float64]) -> None:
        """Let outputs be ``outputs * gain + shift``: targets have other units. The last layer is linear.

        What optimizers keep follows the gradients: errors go with ``gain``, and those of layers before the
        last one with its square.
        """
        last = self.layers[-1]
        if gain is None:
            self._at_once(last.rescaled(Rescale(shift=shift)) or [])
            return
        gain = np.clip(gain, 2.0**-20, 2.0**20)  # so that the state stays a number
        calls = last.rescaled(Rescale(rows=gain, shift=shift, slope=gain)) or []
        before = Rescale(slope=np.array(np.mean(gain * gain)))
        for parameter in self.tree.parameters.values():
            if parameter.owner is not last:
                calls += parameter.rescaled(before)
        self._at_once(calls)

    @staticmethod
    def _at_once(calls: list[Callable[[], Any]]) -> None:
        """One step for the interpreter: Ctrl-C waits."""
        deque(map(operator.call, calls), maxlen=0)

    # --- forward, backward (for the trainer) --------------------------------------------

    def workspace(self) -> Workspace:
        """Memory for batches, empty until used."""
        return Workspace(self.dtype)

    def load_batch(self, ws: Workspace, source: Source, rows: NDArray[np.int64], threads: int) -> _core.Tiles:
        """Shape ``ws`` for these rows and pack them, standardised."""
        ws.shape(len(rows))
        x = ws.tiles("input", self.n_in)
        s = self.standardizer
        if self._takes_all(source):
            source.pack(x, rows, s.mean if s else None, s.scale if s else None, threads)
        else:
            x.pack(self._inputs(source, rows), None, None, None, threads)
        return x

    # --- numbers out of range -----------------------------------------------------------

    def _takes_all(self, source: Source) -> bool:
        """Whether no value can be out of range: then nobody has to look."""
        s, limit = self.standardizer, LARGEST[self.dtype]
        return source.largest <= limit if s is None else s.fits(source.largest, limit)

    def _inputs(self, source: Source, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Inputs for these rows, the slow and careful way; ValueError if one is no number in our dtype."""
        x, s, limit = source.rows(rows), self.standardizer, np.finfo(self.dtype).max
        z = x if s is None else s.apply(x)
        bad = ~(np.abs(z) <= limit)
        if bad.any():
            at, column = divmod(int(np.argmax(bad)), self.n_in)
            value, what = x[at, column], "" if s is None else " once it is standardised,"
            cure = "; a network of float64 takes more" if self.dtype == "float32" else ""
            raise ValueError(
                f"{source.name} must lie within {limit:.2g}, the range of {self.dtype},{what} "
                f"got {value:g} in row {rows[at]}, column {column}{cure}"
            )
        return z

    def check_inputs(self, source: Source) -> None:
        """ValueError naming row and column of the first value that is out of the network's range."""
        if not self._takes_all(source):
            step = max(1, 2**20 // self.n_in)
            for start in range(0, source.n_samples, step):
                self._inputs(source, np.arange(start, min(start + step, source.n_samples)))

    def check_outputs(self, source: Source, rows: NDArray[np.int64], outputs: NDArray[Any]) -> None:
        """ValueError for outputs that are not finite: of the first such row, or of weights that are not."""
        finite = np.isfinite(outputs)
        if finite.all():
            return
        for parameter in self.tree.parameters.values():
            if not parameter.finite():
                raise ValueError(f"{parameter.label} has weights that are not finite: there is no prediction")
        row = rows[finite.all(axis=1).argmin() :][:1]
        column = int(np.abs(self._inputs(source, row)[0]).argmax())
        raise ValueError(
            f"{source.name} makes outputs overflow {self.dtype} in row {row[0]}, "
            f"whose largest value is {source.rows(row)[0, column]:g} in column {column}"
        )

    def passing(
        self, ws: Workspace, *, fused: bool = False, training: bool = False, step: int = 0, threads: int = 1
    ) -> Pass:
        """A pass through this network; ``fused``: the last activation is part of the loss."""
        linear = self.layers[-1] if fused else None
        return Pass(ws, training=training, step=step, threads=threads, linear=linear)

    def forward(self, x: _core.Tiles, p: Pass) -> list[_core.Tiles]:
        """Inputs of every layer, and the outputs of the last one at the end; softmax is left out.

        Unless training, inner results share their memory and only the last one is valid. Layers may compute
        with NumPy: whoever calls says by ``np.errstate`` what becomes of numbers that overflow.
        """
        return forward_through(self.layers, x, p)

    def backward(self, dy: _core.Tiles, flow: Sequence[_core.Tiles], p: Pass, learner: Learner) -> None:
        """Gradients from ``dy`` (overwritten) for the outputs; ``flow`` is what forward gave.

        The learner gets those of parameters; gradients for the inputs of the network are not taken.
        """
        p.learner = learner
        backward_through(self.layers, dy, flow, p, self._first_learning, need_dx=False)

    def refuse_views(self, what: str) -> None:
        """BufferError naming the first layer whose store is viewed; ``what`` says what cannot be done."""
        refuse_views(self.tree.sparse, what)

    # --- predicting ---------------------------------------------------------------------

    def predict(self, X: Any, *, batch_size: int | None = None, threads: int | None = None) -> NDArray[Any]:
        """Outputs for X, the final activation applied.

        Parameters
        ----------
        X : array-like or SciPy CSR, shape (m, n_in)
            Real and finite; converted batch by batch.
        batch_size : int, optional
            Samples at a time; changes memory and time, not the outputs.
        threads : int, optional

        Returns
        -------
        ndarray of the network's dtype, shape (m, n_out)

        Raises
        ------
        TypeError, ValueError
            For a wrong X; row and column of a value that is not finite are named, and so are those of one
            that the network's dtype cannot hold once it is standardised. Outputs are always finite.
        RuntimeError
            If another thread trains this network.

        Notes
        -----
        Any number of threads may call this at a time.
        """
        source = as_source(X, self.n_in)
        with self.gate.reading("predict"):
            return self.outputs(source, np.arange(source.n_samples), resolve(threads), batch_size)

    @quiet()
    def outputs(
        self,
        source: Source,
        rows: NDArray[np.int64],
        threads: int,
        batch_size: int | None = None,
        *,
        refuse: bool = True,
    ) -> NDArray[Any]:
        """:meth:`predict` for rows of what has been checked and wrapped; whoever calls is in the gate.

        Without ``refuse`` outputs may have overflowed.
        """
        out = np.empty((len(rows), self.n_out), self.dtype)
        softmax = isinstance(self.final, Softmax)
        ws = self._take_spare()
        p = self.passing(ws, threads=threads)
        size = self.batch_for(len(rows), batch_size)
        with quiet():  # what overflows is refused by name
            for start in range(0, len(rows), size):
                some = rows[start : start + size]
                y = self.forward(self.load_batch(ws, source, some, threads), p)[-1]
                if softmax:
                    _core.softmax(y)
                found = y.unpack(out[start : start + len(some)], threads)
                if refuse:
                    self.check_outputs(source, some, found)
        self._keep_spare(ws)
        return out

    def threads_for(self, batch: int, threads: int | None) -> int:
        """How many threads to use for a step of so many samples when ``threads`` were asked for.

        To wake the others takes longer than so little work takes one; the bits are the same.
        """
        return resolve(threads) if batch * self.size >= ALONE else 1

    def batch_for(self, n_samples: int, batch_size: int | None) -> int:
        """Samples at a time when nothing is learnt: what was asked for, or what keeps memory small."""
        if batch_size is not None:
            return _checks.integer("batch_size", batch_size, low=1)
        item = item_bytes(self.dtype)
        fits = PREDICT_BYTES // (item * (self.n_in + 2 * self.width))
        return min(n_samples, max(32, min(1024, fits // 64 * 64)))

    def _take_spare(self) -> Workspace:
        try:  # one step, because several threads predict at a time
            return self._spares.pop()
        except IndexError:
            return self.workspace()

    def _keep_spare(self, ws: Workspace) -> None:
        if ws.nbytes <= SPARE_BYTES and len(self._spares) < SPARES:
            self._spares.append(ws)

    # --- telling ------------------------------------------------------------------------

    def summary(self) -> None:
        """Print a table of layers with their connections."""
        print(self)

    def __str__(self) -> str:
        return table(self.tree)

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}], seed={self.seed}, dtype={self.dtype!r})"

    def validate(self) -> None:
        """Verify every invariant of every store; RuntimeError naming layer and invariant."""
        for parameter in self.tree.sparse:
            try:
                parameter.core.check()
            except RuntimeError as error:
                raise RuntimeError(f"{parameter.label}: {error}") from error

    def resembles(self, config: Mapping[str, Any]) -> bool:
        """Whether a ``config()`` describes these layers; hidden ones may have other widths."""
        kept = [_kind(layer.config()) for layer in self.layers]
        found = [_kind(layer) for layer in config["layers"]]
        ends = [(n[0], n[-1]) for n in (_widths(self.config()), _widths(config))]
        return kept == found and ends[0] == ends[1] and self.dtype == config["dtype"]

    # --- saving -------------------------------------------------------------------------

    def check_savable(self) -> None:
        """NotImplementedError if a file would bring back a layer, or a part of one, of another class."""
        for layer in self.layers:
            layer.check_savable()

    def config(self, fields: Collection[str] | None = ()) -> dict[str, Any]:
        """JSON-able description, with the kinds of these fields of parameters; of all, with None."""
        return {
            "seed": self.seed,
            "dtype": self.dtype,
            "layers": [layer.config() for layer in self.layers],
            **self.tree.config(fields),
            "standardizer": None if self.standardizer is None else self.standardizer.config(),
        }

    def arrays(self, fields: Collection[str] | None = ()) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that belong to :meth:`config`, by names such as ``layers.0.weight.values``."""
        found = self.tree.arrays(fields)
        if self.standardizer is not None:
            found.update({f"standardizer.{name}": a for name, a in self.standardizer.arrays().items()})
        return found

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over ``config()`` and ``arrays()`` of a network with the same layers.

        Raises
        ------
        KeyError, ValueError, RuntimeError
            If an array is missing, has another shape or dtype, or breaks an invariant. The network is then
            in an unspecified state.

        Notes
        -----
        Widths may differ: neurons that were removed since are restored.
        """
        if self.tree.resized(config):
            self.take_over(self.remade(config, arrays))
            return
        rest = arrays.keys() - self.tree.restore(config, arrays)
        self.standardizer = None
        if config["standardizer"] is not None:
            prefix = "standardizer."
            its = {
                name.removeprefix(prefix): take(arrays, name, (self.n_in,), "float64", "standardizer").copy()
                for name in arrays
                if name.startswith(prefix)
            }
            self.standardizer = Standardizer.from_config(config["standardizer"], its)
            rest -= {prefix + name for name in its}
        if rest:
            raise ValueError(f"array {min(rest)!r} is unknown")

    def take_over(self, other: Sequential) -> None:
        """Take over all that ``other``, a network with the same kinds of layers, of any width, is made of.

        ``other`` cannot be used afterwards. Layers and parameters stay the same objects, and a trainer of
        them goes on with the optimizer's state of ``other``.
        """
        own: dict[str, Any] = {"n_in": other.n_in, "n_out": other.n_out, "_spares": []}
        own["standardizer"] = other.standardizer
        self.tree.take_over(other.tree, (self.__dict__, own))

    @classmethod
    def from_config(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Sequential:
        """A network from ``config()`` and ``arrays()``; everything is checked.

        Raises
        ------
        KeyError, TypeError, ValueError, RuntimeError
            If they do not describe a network.
        """
        _checks.one_of_types("config", config, Mapping, "a dict as config() gives")
        return cls._made(config, arrays, layer_from_config)

    @classmethod
    def _made(
        cls,
        config: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        make: Callable[[Mapping[str, Any]], Layer],
    ) -> Sequential:
        net = cls.__new__(cls)
        net.seed = _checks.seed("seed", config["seed"])
        layers = config["layers"]
        if not isinstance(layers, Sequence) or not all(isinstance(layer, Mapping) for layer in layers):
            raise TypeError(f"layers must be a list of dicts, got {_checks.describe(layers)}")
        net.dtype = _checks.choice("dtype", config["dtype"], ("float32", "float64"))
        net._assemble([make(c) for c in layers])
        net.tree.check(config, arrays, net.dtype)
        net._build(draw=False)
        net.restore(config, arrays)
        return net

    def remade(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Sequential:
        """:meth:`from_config` with layers of the classes that stand here, registered or not."""
        kinds = iter([type(layer) for layer in self.layers])
        return self._made(config, arrays, lambda layer: next(kinds).from_config(layer))

    def __getstate__(self) -> dict[str, Any]:
        with self.gate.reading("pickle"):
            self.check_savable()
            return {"config": self.config(None), "arrays": self.arrays(None)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(Sequential.from_config(state["config"], state["arrays"]).__dict__)

    def save(self, path: str | os.PathLike[str], *, notes: Mapping[str, Any] | None = None) -> None:
        """Write structure, weights, biases and standardiser to a safetensors file; no optimizer state.

        The file is replaced as a whole or not at all, whatever happens meanwhile; its permissions are kept.

        Parameters
        ----------
        path : path-like
        notes : mapping, optional
            JSON-able remarks that are kept beside the network.

        Raises
        ------
        OSError
            If the file cannot be written; an older one is then untouched.
        RuntimeError
            If another thread trains the network.
        NotImplementedError
            If the file would bring back a layer, an activation or an initializer of another class: one that
            is not registered under a name of its own.
        """
        with self.gate.reading("save"):
            self.check_savable()
            _saving.write(path, "network", self.config(), self.arrays(), notes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Sequential:
        """The network in a file that `Sequential.save` or `Trainer.save` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Sequential
            With structure, weights and standardiser. Optimizer state is left behind: see `Trainer.resume`.

        Raises
        ------
        FileNotFoundError
        FileError
            (a ValueError) If the file is damaged, was not written by rewire, or does not hold a valid
            network. The message names the file and what is wrong.
        MemoryError
            If the network does not fit into this machine.
        """
        return cls.from_contents(_saving.read(path))

    @classmethod
    def from_contents(cls, contents: Contents) -> Sequential:
        """The network of what `rewire.files.read` gave. Errors as for :meth:`load`."""
        with _saving.refusing(contents.path):
            config, arrays = _saving.network_parts(contents)
            network = cls.from_config(config, arrays)
            _saving.check_same(config, network.config(), "network")
            return network


def _kind(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's description without sizes, which removals change, and without its initial connectivity."""
    sizes = ("n_in", "n_out", "epsilon", "density", "fan_in", "links")
    return {name: value for name, value in layer.items() if name not in sizes}


def _widths(config: Mapping[str, Any]) -> list[int]:
    """Widths of the input and of all layers with weights."""
    matrices = [part["shape"] for part in config["parameters"].values() if len(part["shape"]) == 2]
    return [matrices[0][1], *(n_out for n_out, _ in matrices)]
