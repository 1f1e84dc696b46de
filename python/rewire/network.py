"""Layers in a row: building, forward, backward, predicting.

A network owns its layers and the seed all their random numbers come from. It
does no arithmetic of its own: it hands tiles from one layer to the next.
"""

from __future__ import annotations

import operator
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _checks, _core, _saving
from rewire._format import percent
from rewire._gate import Gate
from rewire._geometry import item_bytes
from rewire._inputs import Source, as_source
from rewire._saving import Contents
from rewire.activations import Softmax
from rewire.layers import Dense, Layer, Sparse, Updates, WeightLayer, layer_from_config
from rewire.layers.base import Rescale, refuse_incomplete, take
from rewire.link_counts import readable, refuse_if_too_large
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
        self._assemble(layers, draw=True)

    def _assemble(self, layers: Sequence[Layer], draw: bool) -> None:
        self.layers = _checked(layers)
        self._kinds: tuple[list[Layer], list[WeightLayer], list[Sparse]] = ([], [], [])
        weighted = self.weight_layers
        self.n_in, self.n_out = weighted[0].n_in, weighted[-1].n_out
        self.standardizer: Standardizer | None = None
        self.gate = Gate()
        self._spares: list[Workspace] = []
        # Whose optimizer state the layers hold; a trainer that finds another's starts afresh.
        self.trained_by: object | None = None
        refuse_if_too_large(sum(layer.needed_bytes(self.dtype) for layer in self.layers), "the network")
        depths = {id(layer): k for k, layer in enumerate(weighted[:-1], start=1)}
        for weight_layer in weighted:  # before any layer is built, so that a refusal leaves them all free
            weight_layer.activation.bind(depths.get(id(weight_layer)))
        for index, layer in enumerate(self.layers):
            layer.build(
                seed=self.seed, index=index, depth=depths.get(id(layer)), dtype=self.dtype, draw=draw
            )
        self._first_weighted = weighted[0].index

    # --- numbers ------------------------------------------------------------------------

    @property
    def weight_layers(self) -> list[WeightLayer]:
        """Layers with weights, in order."""
        return list(self._by_kind()[1])

    @property
    def sparse_layers(self) -> list[Sparse]:
        """Sparse layers, in order."""
        return list(self._by_kind()[2])

    def _by_kind(self) -> tuple[list[Layer], list[WeightLayer], list[Sparse]]:
        """All layers, those with weights and the sparse ones; found anew when the first are others."""
        if self._kinds[0] != self.layers:
            weighted = [layer for layer in self.layers if isinstance(layer, WeightLayer)]
            sparse = [layer for layer in self.layers if isinstance(layer, Sparse)]
            self._kinds = list(self.layers), weighted, sparse
        return self._kinds

    @property
    def width(self) -> int:
        """The widest layer or input; decides the tile."""
        return max(self.n_in, *(layer.n_out for layer in self.layers))

    @property
    def nnz(self) -> int:
        """Connections."""
        return sum(layer.nnz for layer in self.layers)

    @property
    def size(self) -> int:
        """Connections the same network would have if every layer were full."""
        return sum(layer.n_in * layer.n_out for layer in self.weight_layers)

    @property
    def density(self) -> float:
        """Connections over those of a dense network."""
        return self.nnz / self.size

    @property
    def n_params(self) -> int:
        """Connections and biases."""
        return sum(layer.n_params for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Bytes of weights, structure and optimizer state."""
        return sum(layer.nbytes for layer in self.layers)

    # --- new units ----------------------------------------------------------------------

    def learn_inputs(self, source: Source, weight: NDArray[np.float64] | None) -> None:
        """Let the standardiser learn from a training set; the first layer is rescaled, so that nothing else
        changes. Without biases there it keeps the mean that it subtracts.
        """
        old, first = self.standardizer, self.weight_layers[0]
        if old is None:
            self.standardizer = Standardizer.fit(source, weight)
            return
        new = old.learn(source, weight, center=first.has_bias)
        if new is not old:
            gain, offset = old.change_to(new)
            calls = first.rescaled(Rescale(cols=gain, offset=offset))
            self._at_once([*calls, partial(self.__dict__.update, standardizer=new)])

    def change_outputs(self, gain: NDArray[np.float64] | None, shift: NDArray[np.float64]) -> None:
        """Let outputs be ``outputs * gain + shift``: targets have other units. The last layer is linear.

        What optimizers keep follows the gradients: errors go with ``gain``, and those of layers before the
        last one with its square.
        """
        layers = self.weight_layers
        if gain is None:
            self._at_once(layers[-1].rescaled(Rescale(shift=shift)))
            return
        gain = np.clip(gain, 2.0**-20, 2.0**20)  # so that the state stays a number
        calls = layers[-1].rescaled(Rescale(rows=gain, shift=shift, slope=gain))
        for layer in layers[:-1]:
            slope = np.full(layer.n_out, float(np.mean(gain * gain)))
            calls += layer.rescaled(Rescale(slope=slope))
        self._at_once(calls)

    @staticmethod
    def _at_once(calls: list[Callable[[], Any]]) -> None:
        """One step for the interpreter: Ctrl-C waits."""
        deque(map(operator.call, calls), maxlen=0)

    # --- forward, backward (for the trainer) --------------------------------------------

    def workspace(self) -> Workspace:
        """Memory for batches, empty until used."""
        return Workspace(self.dtype)

    def load_batch(
        self, ws: Workspace, source: Source, rows: NDArray[np.int64], threads: int
    ) -> _core.Tiles:
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
        for layer in self.layers:
            if not layer.finite():
                raise ValueError(f"{layer.label} has weights that are not finite: there is no prediction")
        row = rows[finite.all(axis=1).argmin() : ][:1]
        column = int(np.abs(self._inputs(source, row)[0]).argmax())
        raise ValueError(
            f"{source.name} makes outputs overflow {self.dtype} in row {row[0]}, "
            f"whose largest value is {source.rows(row)[0, column]:g} in column {column}"
        )

    def forward(
        self, x: _core.Tiles, ws: Workspace, training: bool, step: int, threads: int, *, logits: bool = False
    ) -> list[_core.Tiles]:
        """Inputs of every layer, and the outputs of the last one at the end.

        With ``logits`` the last activation is left out; softmax always is. Unless training, inner results
        share their memory and only the last one is valid.
        """
        flow = [x]
        last = self.layers[-1]
        for layer in self.layers:
            x = layer.forward(x, ws, training, step, threads, linear=logits and layer is last)
            flow.append(x)
        return flow

    def backward(
        self,
        dy: _core.Tiles,
        flow: Sequence[_core.Tiles],
        ws: Workspace,
        updates: Updates | None,
        step: int,
        threads: int,
        *,
        logits: bool = False,
    ) -> None:
        """Gradients from ``dy`` (overwritten) for the outputs; ``flow`` is what forward gave.

        With ``updates`` weights take their step at once, without gradients are kept in the layers.
        """
        last = self.layers[-1]
        gradient: _core.Tiles | None = dy
        for layer in reversed(self.layers):
            if gradient is None:
                break
            gradient = layer.backward(
                gradient,
                flow[layer.index],
                ws,
                layer.index > self._first_weighted,
                updates,
                step,
                threads,
                linear=logits and layer is last,
            )

    def refuse_views(self, what: str) -> None:
        """BufferError naming the first layer whose store is viewed; ``what`` says what cannot be done."""
        for layer in self.sparse_layers:
            if layer.core.pins:
                why = layer.core.viewed()
                raise BufferError(f"{layer.label} cannot be {what} while a view of its store is alive: {why}")

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
        softmax = isinstance(self.weight_layers[-1].activation, Softmax)
        ws = self._take_spare()
        size = self.batch_for(len(rows), batch_size)
        for start in range(0, len(rows), size):
            some = rows[start : start + size]
            y = self.forward(self.load_batch(ws, source, some, threads), ws, False, 0, threads)[-1]
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
        found = resolve(threads)
        return found if batch * self.size >= ALONE else 1

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
        rows = [("layer", "shape", "activation", "connections", "bytes")]
        for layer in self.layers:
            if isinstance(layer, WeightLayer):
                name, full = layer.activation.name, layer.n_in * layer.n_out
                count = f"{layer.nnz:,}/{full:,} ({percent(layer.density, 3)})"
                kind = type(layer).__name__
                if isinstance(layer, Sparse) and layer.group > 1:
                    kind += f" x{layer.group}"
                shape = f"{layer.n_in} -> {layer.n_out}"
                rows.append((f"{layer.index} {kind}", shape, name, count, readable(layer.nbytes)))
            else:
                rows.append((f"{layer.index} {layer!r}", "", "", "", ""))
        total = f"{self.nnz:,}/{self.size:,} ({percent(self.density, 3)})"
        rows.append(("all", f"{self.n_in} -> {self.n_out}", "", total, readable(self.nbytes)))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = []
        for row in rows:
            cells = [c.ljust(w) for c, w in zip(row[:3], widths[:3], strict=True)]
            cells += [c.rjust(w) for c, w in zip(row[3:], widths[3:], strict=True)]
            lines.append("  ".join(cells).rstrip())
        rule = "-" * max(len(line) for line in lines)
        return "\n".join([lines[0], rule, *lines[1:-1], rule, lines[-1]])

    def __repr__(self) -> str:
        return f"Sequential([{', '.join(map(repr, self.layers))}], seed={self.seed}, dtype={self.dtype!r})"

    def validate(self) -> None:
        """Verify every invariant of every store; RuntimeError naming layer and invariant."""
        for layer in self.sparse_layers:
            try:
                layer.core.check()
            except RuntimeError as error:
                raise RuntimeError(f"{layer.label}: {error}") from error

    def resembles(self, config: Mapping[str, Any]) -> bool:
        """Whether a ``config()`` describes these layers; hidden ones may have other widths."""
        kept = [_kind(layer.config(state=False)) for layer in self.layers]
        found = [_kind(layer) for layer in config["layers"]]
        ends = [(n[0], n[-1]) for n in (_widths(self.config()), _widths(config))]
        return kept == found and ends[0] == ends[1] and self.dtype == config["dtype"]

    # --- saving -------------------------------------------------------------------------

    def check_savable(self) -> None:
        """NotImplementedError if a file would bring back a layer, or a part of one, of another class."""
        for layer in self.layers:
            layer.check_savable()

    def config(self, state: bool = False) -> dict[str, Any]:
        """JSON-able description; with ``state`` also what optimizers keep."""
        return {
            "seed": self.seed,
            "dtype": self.dtype,
            "layers": [layer.config(state) for layer in self.layers],
            "standardizer": None if self.standardizer is None else self.standardizer.config(),
        }

    def arrays(self, state: bool = False) -> dict[str, NDArray[Any]]:
        """Copies of all arrays, by names such as ``layers.0.weights``; with ``state`` the optimizer's too."""
        found = {
            f"layers.{layer.index}.{name}": a
            for layer in self.layers
            for name, a in layer.arrays(state).items()
        }
        if self.standardizer is not None:
            found.update({f"standardizer.{name}": a for name, a in self.standardizer.arrays().items()})
        return found

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over ``config()`` and ``arrays()`` of a network with the same layers.

        Raises
        ------
        ValueError, RuntimeError
            If an array is missing, has another shape or dtype, or breaks an invariant. The network is then
            in an unspecified state.

        Notes
        -----
        Widths may differ: neurons that were removed since are restored.
        """
        if any(
            (layer.n_in, layer.n_out) != (layer_config["n_in"], layer_config["n_out"])
            for layer, layer_config in zip(self.layers, config["layers"], strict=True)
            if isinstance(layer, WeightLayer)
        ):
            self.take_over(self.remade(config, arrays))
            return
        rest = set(arrays)
        for layer, layer_config in zip(self.layers, config["layers"], strict=True):
            prefix = f"layers.{layer.index}."
            own = _Taken(arrays, prefix)
            layer.restore(layer_config, own)
            rest -= {prefix + name for name in own.taken}
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
        """Take over all arrays of ``other``, a network with the same kinds of layers, of any width.

        ``other`` cannot be used afterwards. The layers stay the same objects, and a trainer of them goes on
        with the optimizer's state of ``other``.
        """
        for mine, theirs in zip(self.sparse_layers, other.sparse_layers, strict=True):
            if mine.holds_gradients:
                theirs.hold_gradients(True)
        news: dict[str, Any] = {
            "n_in": other.n_in, "n_out": other.n_out, "standardizer": other.standardizer, "_spares": [],
        }  # fmt: skip
        old = [self.__dict__, *(layer.__dict__ for layer in self.layers)]
        new = [news, *(layer.__dict__ for layer in other.layers)]
        deque(map(dict.update, old, new), maxlen=0)  # one step for the interpreter: Ctrl-C waits

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
        net._assemble([make(c) for c in layers], draw=False)
        net.restore(config, arrays)
        return net

    def remade(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Sequential:
        """:meth:`from_config` with layers of the classes that stand here, registered or not."""
        kinds = iter([type(layer) for layer in self.layers])
        return self._made(config, arrays, lambda layer: next(kinds).from_config(layer))

    def __getstate__(self) -> dict[str, Any]:
        with self.gate.reading("pickle"):
            self.check_savable()
            return {"config": self.config(state=True), "arrays": self.arrays(state=True)}

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
    sizes = ("n_in", "n_out", "epsilon", "density", "fan_in", "links", "fields")
    return {name: value for name, value in layer.items() if name not in sizes}


def _widths(config: Mapping[str, Any]) -> list[int]:
    """Widths of the input and of all layers with weights."""
    pairs = [(layer["n_in"], layer["n_out"]) for layer in config["layers"] if "n_in" in layer]
    return [pairs[0][0], *(n_out for _, n_out in pairs)]


class _Taken(Mapping[str, NDArray[Any]]):
    """The arrays under a prefix, and the names that somebody has asked for."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], prefix: str) -> None:
        self._own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
        self.taken: set[str] = set()

    def __getitem__(self, name: str) -> NDArray[Any]:
        found = self._own[name]
        self.taken.add(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._own

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)


def _checked(layers: Sequence[Layer]) -> list[Layer]:
    """Layers that fit each other; those without weights get their width."""
    if isinstance(layers, Layer) or not isinstance(layers, Sequence):
        raise TypeError(f"layers must be a list of layers, got {_checks.describe(layers)}")
    found = list(layers)
    for i, layer in enumerate(found):
        if not isinstance(layer, Layer):
            raise TypeError(f"layers[{i}] must be a Sparse, Dense or Dropout, got {_checks.describe(layer)}")
        refuse_incomplete(f"layers[{i}]", type(layer))
        if isinstance(layer, WeightLayer) and not isinstance(layer, (Sparse, Dense)):
            raise TypeError(
                f"layers[{i}] ({type(layer).__name__}) has weights, but is neither a Sparse nor a Dense"
            )
        if layer.built:
            raise ValueError(f"layers[{i}] already belongs to a network; make a new layer for another one")
        if any(layer is other for other in found[:i]):
            raise ValueError(f"layers[{i}] stands twice in the list; every layer needs an object of its own")
    if not any(isinstance(layer, WeightLayer) for layer in found):
        raise ValueError("layers must hold at least one Sparse or Dense layer, got none")
    if not isinstance(found[-1], WeightLayer):
        raise ValueError(f"the last layer must be Sparse or Dense, got {found[-1]!r}")
    width, giver = None, ""
    for i, layer in enumerate(found):
        if isinstance(layer, WeightLayer):
            if width is not None and width != layer.n_in:
                raise ValueError(
                    f"layer {i} ({layer!r}) takes {layer.n_in} inputs, but {giver} gives {width} outputs"
                )
            width, giver = layer.n_out, f"layer {i} ({layer!r})"
        else:
            following = next(other for other in found[i:] if isinstance(other, WeightLayer))
            wanted = following.n_in if width is None else width
            layer.connect(wanted)
            if (layer.n_in, layer.n_out) != (wanted, wanted):
                raise ValueError(
                    f"layers[{i}] ({type(layer).__name__}) must take {wanted} values and give as many, "
                    f"got {layer.n_in} and {layer.n_out}: its connect() changes the width"
                )
    return found
