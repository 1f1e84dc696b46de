"""Layers in a row: making, showing, saving and loading a network.

What a network is made of stands in `_assembled.py`, what it does with batches in
`_computing.py`. It owns its layers and the seed that all their random numbers come from.
"""

from __future__ import annotations

import contextlib
import copy
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Self, cast

from numpy.typing import NDArray

from rewire import _checks, _saving
from rewire._assembled import Assembled
from rewire._computing import Computing
from rewire._container import Array
from rewire._foreign import ForeignAttributes, hinted
from rewire._gate import Gate
from rewire._pickling import WRITTEN, copied, given_away, of_version
from rewire._precision import DTYPES
from rewire._saving import Contents
from rewire._signals import of_handler
from rewire.layers import Layer, layer_from_config
from rewire.layers.summary import table
from rewire.layers.tree import Tree
from rewire.parameters import Parameter
from rewire.parameters.base import take
from rewire.predictor import Predictor
from rewire.standardizer import Standardizer

__all__ = ["Sequential"]


class Sequential(ForeignAttributes, Computing):
    """A network of layers in a row.

    Parameters
    ----------
    layers : sequence of Layer
        New ones: a layer belongs to one network. The last one has weights.
    seed : int or None
        Where all random numbers come from: structure, weights, dropout, rewiring. None draws one.
    dtype : {"float32", "float64", "bfloat16"}
        bfloat16: the operands of all products with sparse weights, which are weights, activations and
        gradients, are rounded to bfloat16, and their sums are of float32. All that is kept is of float32:
        weights, the optimizer's state, biases, outputs, files. `Dense` layers and those without weights
        compute in float32, and so do rules that look at the gradients of links that are not there.
        A sparse X is unpacked, to the time and memory of a dense one: leave it at float32 where X is wide.

    Attributes
    ----------
    layers : list of Layer
    n_in, n_out : int
    seed : int
    dtype : str
    variable_dtype : {"float32", "float64"}
        Of weights and outputs.
    standardizer : Standardizer or None
        Applied to every input; set by ``Trainer(..., standardize=True)``.
    target_standardizer : Standardizer or None
        Applied to targets before a loss sees them, and undone in what ``predict`` gives; set by
        ``Trainer(..., standardize_targets=True)``.

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
        self.dtype = _checks.choice("dtype", dtype, DTYPES)
        self._assemble(layers)
        with self._free_again():
            self._build(draw=True)
            for layer in self.tree.layers.values():
                layer.start()

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

    # --- serving ------------------------------------------------------------------------

    @hinted
    def compile(self) -> Predictor:
        """A frozen copy that only predicts: for a few samples :meth:`predict` is mostly overhead.

        Returns
        -------
        Predictor
            With weights and standardisers of now. What becomes of this network changes nothing there.

        Raises
        ------
        ValueError
            For weights that are not finite, or a buffer out of its range.
        RuntimeError
            If another thread trains this network.
        TypeError
            For a layer that no file can hold and `copy.deepcopy` cannot copy.

        Notes
        -----
        Attributes of a subclass, and those that somebody has set, are copied as `copy.deepcopy` does; what
        cannot be copied, such as a lock, is shared.
        """
        return Predictor(self)

    def copy_to_predict(self) -> Self:
        """A checked copy that nobody else has, without optimizer state."""
        twin = type(self).__new__(type(self))
        memo: dict[int, Any] = {id(self): twin}
        with self.gate.reading("compile"):
            self.tree.refuse_faults()
            try:
                self.check_savable()
                vars(twin).update(vars(Sequential.from_config(self.config(), self.parts())))
            except (NotImplementedError, TypeError, ValueError):  # of a layer that no file holds
                self._copy_into(twin, memo)
                for parameter in twin.tree.parameters.values():
                    parameter.hold_gradient(False)
                    for name in list(parameter.fields):
                        parameter.drop_field(name)
            self._copy_extras(twin, memo)
        return twin

    def _copy_extras(self, twin: Sequential, memo: dict[int, Any]) -> None:
        """Give a copy what a network does not set itself; a part of this one becomes the same of that one."""
        extras = self.extras
        if not extras:
            return
        for mine, its in (
            (self.tree.layers, twin.tree.layers),
            (self.tree.parameters, twin.tree.parameters),
            (self.tree.buffers, twin.tree.buffers),
        ):
            memo.update((id(part), its[name]) for name, part in mine.items())
        memo[id(self.layers)] = twin.layers
        for name, value in extras.items():
            try:
                vars(twin)[name] = copy.deepcopy(value, memo)
            except MemoryError:
                raise
            except Exception as error:  # of somebody's class: a lock, an open file
                if of_handler(error):
                    raise
                vars(twin)[name] = value

    # --- saving -------------------------------------------------------------------------

    def check_savable(self) -> None:
        """NotImplementedError if a file would bring back a layer, or a part of one, of another class.

        ValueError if it would bring back none, or one that is made of other things.
        """
        self._refuse_torn_ties()
        for layer in self.layers:
            layer.check_savable()
        self.tree.refuse_changes()
        self._refuse_unlike()

    def _refuse_torn_ties(self) -> None:
        """ValueError for a parameter of two layers of the row: each would come back with one of its own."""
        owner: dict[int, int] = {}
        for i, layer in enumerate(self.layers):
            for parameter in layer.all_parameters():
                first = owner.setdefault(id(parameter), i)
                if first != i:
                    raise _torn(parameter, [f"layers[{first}]", f"layers[{i}]"])

    def _refuse_torn_inside(self, twin: Tree) -> None:
        """ValueError for a parameter of layers that are described one by one, as those of a `Row` are."""
        for name, parameter in self.tree.parameters.items():
            if twin.uses.get(name, 0) < self.tree.uses[name]:
                has = [
                    where
                    for where, layer in self.tree.layers.items()
                    if any(q is parameter for q in layer.parameters().values())
                ]
                if len(has) > 1:
                    raise _torn(parameter, has)

    def _refuse_unlike(self) -> None:
        """ValueError for a layer that its own description does not give back."""
        described = [layer.config() for layer in self.layers]
        made: list[Layer] = []
        for i, (layer, config) in enumerate(zip(self.layers, described, strict=True)):
            with _savable(f"layers[{i}] ({type(layer).__name__})", "it"):
                made.append(layer_from_config(config))
        twin = Assembled()
        with _savable("layers", "they"):
            twin._assemble(made)
        self._refuse_torn_inside(twin.tree)
        with _savable("layers", "they"):
            for i, layer in enumerate(made):
                _saving.check_same(described[i], layer.config(), f"layers[{i}]")
            _saving.check_same(_sizes(self.tree), _sizes(twin.tree), "network")

    def config(self, fields: Collection[str] | None = ()) -> dict[str, Any]:
        """JSON-able description, with the kinds of these fields of parameters; of all, with None."""
        described = [layer.config() for layer in self.layers]
        return {**self._config_without_layers(fields), "layers": described}

    def _config_without_layers(self, fields: Collection[str] | None) -> dict[str, Any]:
        return {
            "seed": self.seed,
            "dtype": self.dtype,
            "layers": [],
            **self.tree.config(fields),
            "standardizer": None if self.standardizer is None else self.standardizer.config(),
            # Only where there is one, so that files from before there were any still read.
            **({} if (of := self.target_standardizer) is None else {"target_standardizer": of.config()}),
        }

    def restorable_config(self, fields: Collection[str]) -> dict[str, Any]:
        """:meth:`config` for :meth:`restore` in this network; a layer that no file can hold says nothing."""
        described: list[dict[str, Any]] = []
        for layer in self.layers:
            try:
                described.append(layer.config())
            except NotImplementedError:
                described.append({})
        return {**self._config_without_layers(fields), "layers": described}

    def arrays(self, fields: Collection[str] | None = ()) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that belong to :meth:`config`, by names such as ``layers.0.weight.values``."""
        return self.tree.arrays(fields) | self._standardizer_arrays()

    def parts(self, fields: Collection[str] | None = ()) -> dict[str, Array]:
        """:meth:`arrays` for a file, of which no copies are made."""
        return self.tree.parts(fields) | self._standardizer_arrays()

    def _standardizer_arrays(self) -> dict[str, NDArray[Any]]:
        """Those of both standardisers, by names such as ``standardizer.mean``."""
        both = {"standardizer": self.standardizer, "target_standardizer": self.target_standardizer}
        return {f"{of}.{name}": a for of, one in both.items() if one for name, a in one.arrays().items()}

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        """Take over ``config()``, and ``arrays()`` or ``parts()``, of a network with the same layers.

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
        self.standardizer = _standardizer(config["standardizer"], arrays, "standardizer", self.n_in, rest)
        of_targets = config.get("target_standardizer")
        self.target_standardizer = _standardizer(of_targets, arrays, "target_standardizer", self.n_out, rest)
        if rest:
            raise ValueError(f"array {min(rest)!r} is unknown")

    def take_over(self, other: Sequential) -> None:
        """Take over all that ``other``, a network with the same kinds of layers, of any width, is made of.

        ``other`` cannot be used afterwards. Layers and parameters stay the same objects, and a trainer of
        them goes on with the optimizer's state of ``other``.
        """
        own: dict[str, Any] = {"n_in": other.n_in, "n_out": other.n_out, "_spares": []}
        own["standardizer"], own["target_standardizer"] = other.standardizer, other.target_standardizer
        self.tree.take_over(other.tree, (self.__dict__, own))

    @classmethod
    def from_config(cls, config: Mapping[str, Any], arrays: Mapping[str, Array]) -> Sequential:
        """A network from ``config()``, and ``arrays()`` or ``parts()``; everything is checked.

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
        arrays: Mapping[str, Array],
        make: Callable[[Mapping[str, Any]], Layer],
    ) -> Sequential:
        net = cls.__new__(cls)
        net.seed = _checks.seed("seed", config["seed"])
        layers = config["layers"]
        if not isinstance(layers, Sequence) or not all(isinstance(layer, Mapping) for layer in layers):
            raise TypeError(f"layers must be a list of dicts, got {_checks.describe(layers)}")
        net.dtype = _checks.choice("dtype", config["dtype"], DTYPES)
        net._assemble([make(c) for c in layers])
        net.tree.check(config, arrays, net.variable_dtype)
        net._build(draw=False)
        net.restore(config, arrays)
        return net

    def remade(self, config: Mapping[str, Any], arrays: Mapping[str, Array]) -> Sequential:
        """:meth:`from_config` with layers of the classes that stand here, registered or not."""
        kinds = iter([type(layer) for layer in self.layers])
        return self._made(config, arrays, lambda layer: next(kinds).from_config(layer))

    def __deepcopy__(self, memo: dict[int, Any]) -> Sequential:
        twin = memo[id(self)] = type(self).__new__(type(self))
        with self.gate.reading("copy"):
            try:  # as a file would: a layer may hold what cannot be copied, such as a lock
                twin.__setstate__(self._state_to_copy())
            except (NotImplementedError, TypeError, ValueError):  # of a layer that no file holds
                self._copy_into(twin, memo)
            self._copy_extras(twin, memo)
        return twin

    def _state_to_copy(self) -> dict[str, Any]:
        """`__getstate__` for a copy that is made before anybody may train: stores need no digests then."""
        if type(self).__getstate__ is not Sequential.__getstate__:
            return self.__getstate__()
        self.check_savable()
        return {"config": self.config(None), "arrays": self.parts(None)}

    def __copy__(self) -> Sequential:
        with self.gate.reading("copy"):
            return cast(Sequential, copied(self))

    def _copy_into(self, twin: Sequential, memo: dict[int, Any]) -> None:
        """Let ``twin`` be a copy, with copies of the layers as they are."""
        twin.layers = [_copied(f"layers[{i}]", layer, memo) for i, layer in enumerate(self.layers)]
        twin.standardizer = copy.deepcopy(self.standardizer, memo)
        twin.seed, twin.dtype, twin.n_in, twin.n_out = self.seed, self.dtype, self.n_in, self.n_out
        twin.target_standardizer = copy.deepcopy(self.target_standardizer, memo)
        twin._tree, twin._first_learning = Tree(twin.layers), self._first_learning
        twin.gate, twin._spares, twin.trained_by, twin.gradients_of = Gate(), [], None, None

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        reduced = cast(tuple[Any, ...], super().__reduce_ex__(protocol))
        return given_away(reduced) if type(self).__setstate__ is Sequential.__setstate__ else reduced

    def __getstate__(self) -> dict[str, Any]:
        with self.gate.reading("pickle"):
            self.check_savable()
            return {"config": self.config(None), "arrays": self.pickled_arrays(None), **WRITTEN}

    def pickled_arrays(self, fields: Collection[str] | None) -> dict[str, Any]:
        """:meth:`arrays` for a pickle, of which no copies are made of stores."""
        return self.tree.pickled(fields, self.gate) | self._standardizer_arrays()

    def __setstate__(self, state: dict[str, Any]) -> None:
        with of_version(state):
            self.__dict__.update(Sequential.from_config(state["config"], state["arrays"]).__dict__)

    def save(self, path: str | os.PathLike[str], *, notes: Mapping[str, Any] | None = None) -> None:
        """Write structure, weights, biases and standardisers to a safetensors file; no optimizer state.

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
        ValueError
            If it would bring back none: for a layer that its constructor does not make again from what
            ``config()`` says; for weights or buffers that are not finite, or a buffer out of its range.
        """
        with self.gate.reading("save"):
            self.check_savable()
            self.tree.refuse_faults()
            _saving.write(path, "network", self.config(), self.parts(), notes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Sequential:
        """The network in a file that `Sequential.save` or `Trainer.save` wrote.

        Parameters
        ----------
        path : path-like

        Returns
        -------
        Sequential
            With structure, weights and standardisers. Optimizer state is left behind: see `Trainer.resume`.

        Raises
        ------
        FileNotFoundError
        FileError
            (a ValueError) If the file is damaged, was not written by rewire, or does not hold a valid
            network. The message names the file and what is wrong.
        MemoryError
            If the network does not fit into this machine.
        """
        with _saving.opened(path) as contents:
            return cls.from_contents(contents)

    @classmethod
    def from_contents(cls, contents: Contents) -> Sequential:
        """The network of what `rewire.files.read` or `opened` gave. Errors as for :meth:`load`."""
        with _saving.refusing(contents.path):
            config, arrays = _saving.network_parts(contents)
            network = cls.from_config(config, arrays)
            _saving.check_same(config, network.config(), "network")
            network.tree.refuse_faults()
            return network


@contextlib.contextmanager
def _savable(what: str, pronoun: str) -> Iterator[None]:
    """ValueError for what somebody's constructor raises where layers are made as a file would make them."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        if of_handler(error):
            raise
        raise ValueError(f"{what} cannot be saved, {pronoun} could not be read again: {error}") from error


def _sizes(tree: Tree) -> dict[str, Any]:
    """Shapes of all parameters and buffers, by name."""
    found = {name: list(parameter.shape) for name, parameter in tree.parameters.items()}
    return found | {name: list(buffer.shape) for name, buffer in tree.buffers.items()}


def _standardizer(
    config: Any, arrays: Mapping[str, Array], who: str, width: int, rest: set[str]
) -> Standardizer | None:
    """One of the two standardisers by its description, None for None; its arrays leave ``rest``."""
    if config is None:
        return None
    names = [name for name in arrays if name.startswith(f"{who}.")]
    rest.difference_update(names)
    its = {
        name.removeprefix(f"{who}."): take(arrays, name, (width,), "float64", who).copy() for name in names
    }
    return Standardizer.from_config(config, its)


def _kind(layer: Mapping[str, Any]) -> dict[str, Any]:
    """A layer's description without sizes, which removals change, and without its initial connectivity."""
    sizes = ("n_in", "n_out", "epsilon", "density", "fan_in", "links")
    return {name: value for name, value in layer.items() if name not in sizes}


def _widths(config: Mapping[str, Any]) -> list[int]:
    """Widths of the input and of all layers with weights."""
    matrices = [part["shape"] for part in config["parameters"].values() if len(part["shape"]) == 2]
    return [matrices[0][1], *(n_out for n_out, _ in matrices)]


def _copied(where: str, layer: Layer, memo: dict[int, Any]) -> Layer:
    try:
        return copy.deepcopy(layer, memo)
    except TypeError as error:
        raise TypeError(
            f"{where} ({type(layer).__name__}) cannot be copied: {error}; register its class "
            "(rewire.layers.register_layer), so that it is made again from its config(), or give it a "
            "__deepcopy__"
        ) from error


def _torn(parameter: Parameter, owners: Sequence[str]) -> ValueError:
    return ValueError(
        f"{parameter.name} cannot be saved: it is one parameter in {' and '.join(owners)}, and a file would "
        "bring back one for each; put both into one layer that makes the parameter and them in its "
        "constructor, such as a subclass of rewire.layers.Row"
    )
