"""The layers of a network, those inside of others included, and what they declare, by name.

Whoever counts, saves or restores a network asks its tree, and need not know what kinds of layers there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from rewire import _checks
from rewire._container import Array
from rewire._gate import Gate
from rewire.activations import Activation
from rewire.layers.base import Layer
from rewire.parameters import Buffer, Parameter, SparseParameter
from rewire.parameters.base import GRADIENT, take

__all__ = ["Tree"]

PACKAGE = __name__.partition(".")[0]


class Tree:
    """What a row of connected layers is made of.

    Parameters
    ----------
    layers : sequence of Layer

    Attributes
    ----------
    layers : dict of str to Layer
        All of them, by names such as ``"layers.2"`` and ``"layers.2.0"``; a layer comes before its children.
    parameters : dict of str to Parameter
        Each once, under the first of its names, such as ``"layers.2.weight"``.
    buffers : dict of str to Buffer
        By names such as ``"layers.2.buffer.mean"``.
    weighted : list of Layer
        Layers with connections of their own, that is not those of a layer before them.
    connecting : list of list of Parameter
        For each of these, the parameters that make its connections and those of layers inside.
    sparse : list of SparseParameter
    own : bool
        Whether all layers are of this package: none of them writes into tiles that another one has taken.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.row = list(layers)
        self.layers: dict[str, Layer] = {}
        self.parameters: dict[str, Parameter] = {}
        self.buffers: dict[str, Buffer] = {}
        self.declared_by: dict[str, tuple[str, int]] = {}  # a parameter's layer, and its number there
        self.uses: dict[str, int] = {}
        self._names: dict[int, str] = {}
        for i, layer in enumerate(self.row):
            self._add(f"layers.{i}", layer)
        owners = {layer for name, (layer, _) in self.declared_by.items() if self.parameters[name].connects}
        self.weighted = [layer for name, layer in self.layers.items() if name in owners]
        self.connecting = [[q for q in layer.all_parameters() if q.connects] for layer in self.weighted]
        self.sparse = [q for q in self.parameters.values() if isinstance(q, SparseParameter)]
        self.own = all(type(layer).__module__.partition(".")[0] == PACKAGE for layer in self.layers.values())
        self._plain = all(type(layer).fault is Layer.fault for layer in self.row)
        self._refuse_undeclared()

    def _add(self, name: str, layer: Layer) -> None:
        if any(layer is other for other in self.layers.values()):
            raise ValueError(f"{name} stands twice in the network; every layer needs an object of its own")
        _checks.refuse_shadowed(name, layer)
        who = f"{name} ({type(layer).__name__}): activation"
        _checks.one_of_types(
            who, layer.activation, Activation, "an Activation, as rewire.activations.activation('relu') gives"
        )
        self.layers[name] = layer
        for short in (*layer.parameters(), *layer.buffers(), *layer.children()):
            if not isinstance(short, str) or not short or "." in short or short == "buffer":
                raise ValueError(
                    f"{name} ({type(layer).__name__}): its parameters, buffers and layers must have names "
                    f'without a dot that are not "buffer", got {short!r}'
                )
        for number, (short, parameter) in enumerate(layer.parameters().items()):
            first = self._names.setdefault(id(parameter), f"{name}.{short}")
            self.uses[first] = self.uses.get(first, 0) + 1
            if first not in self.parameters:
                self.parameters[first], self.declared_by[first] = parameter, (name, number)
        for short, buffer in layer.buffers().items():
            self.buffers[f"{name}.buffer.{short}"] = buffer
        for short, child in layer.children().items():
            self._add(f"{name}.{short}", child)

    def _refuse_undeclared(self) -> None:
        """TypeError for a parameter, buffer or layer in a list or dict that no layer declares."""
        known = {id(each) for each in self._all()}
        for place, layer in self.layers.items():
            for name, value in vars(layer).items():
                inside = value.values() if isinstance(value, dict) else value
                for each in inside if isinstance(value, dict | list | tuple) else ():
                    if isinstance(each, Parameter | Buffer | Layer) and id(each) not in known:
                        method = "parameters" if isinstance(each, Parameter) else "buffers"
                        method = "children" if isinstance(each, Layer) else method
                        raise TypeError(
                            f"{place} ({type(layer).__name__}): its attribute {name!r} holds {each!r}, "
                            f"which would be neither trained nor saved: what is no attribute of its own must "
                            f"be named by {method}()"
                        )

    def refuse_changes(self) -> None:
        """ValueError for a parameter, buffer or layer that has come, gone or been replaced since."""
        now = Tree(self.row)
        for mine, its in zip(self._named(), now._named(), strict=True):
            for name in {**mine, **its}:
                if mine.get(name) is not its.get(name):
                    raise ValueError(
                        f"{name} is not what it was when the network was made: parameters, buffers and "
                        "layers are made by a layer's constructor or connect(), and stay the same objects"
                    )

    def _named(self) -> tuple[Mapping[str, Any], ...]:
        return self.layers, self.parameters, self.buffers

    def fault(self) -> tuple[str, str] | None:
        """What nobody can compute with, as `Layer.fault` says of each layer; None if there is nothing."""
        if self._plain and not any(buffer.fault() for buffer in self.buffers.values()):
            if all(parameter.finite() for parameter in self.parameters.values()):
                return None  # a look at all at once; where there is something, the layers say what
        return next((found for layer in self.row if (found := layer.fault()) is not None), None)

    def refuse_faults(self) -> None:
        """ValueError for values that nobody can train or predict with; the layer is named."""
        if (found := self.fault()) is not None:
            raise ValueError(f"{found[0]} has {found[1]}")

    # --- saving -------------------------------------------------------------------------

    def config(self, fields: Collection[str] | None) -> dict[str, dict[str, Any]]:
        """``{"parameters": ..., "buffers": ...}`` with the kinds of these fields; None: of all. JSON-able."""
        return {
            "parameters": {name: q.config(fields) for name, q in self.parameters.items()},
            "buffers": {name: buffer.config() for name, buffer in self.buffers.items()},
        }

    def arrays(self, fields: Collection[str] | None) -> dict[str, NDArray[Any]]:
        """Copies of all arrays that belong to :meth:`config`, by names such as ``layers.0.weight.values``."""
        own = {name: q.arrays(fields) for name, q in self.parameters.items()}
        found = {f"{name}.{key}": a for name, arrays in own.items() for key, a in arrays.items()}
        found.update({name: buffer.values.copy() for name, buffer in self.buffers.items()})
        return found

    def parts(self, fields: Collection[str] | None) -> dict[str, Array]:
        """:meth:`arrays` for a file, of which no copies are made."""
        own = {name: q.parts(fields) for name, q in self.parameters.items()}
        found = {f"{name}.{key}": a for name, arrays in own.items() for key, a in arrays.items()}
        found.update({name: buffer.values for name, buffer in self.buffers.items()})
        return found

    def pickled(self, fields: Collection[str] | None, gate: Gate) -> dict[str, Any]:
        """:meth:`arrays` for a pickle, of which no copies are made of stores."""
        own = {name: q.pickled(fields, _guard(gate, q)) for name, q in self.parameters.items()}
        found = {f"{name}.{key}": a for name, arrays in own.items() for key, a in arrays.items()}
        found.update({name: buffer.values.copy() for name, buffer in self.buffers.items()})
        return found

    def check(self, config: Mapping[str, Any], arrays: Mapping[str, Array], dtype: str) -> None:
        """ValueError unless what a file says of parameters and buffers is what the layers declare.

        Sizes are compared with the arrays before memory is taken for them.
        """
        parts = _checks.entries("parameters", config["parameters"], self.parameters)
        for name, parameter in self.parameters.items():
            parameter.name, parameter.dtype = name, parameter.wanted_dtype or dtype
            parameter.check_layout(parts[name], _Taken(arrays, f"{name}."))
        others = _checks.entries("buffers", config["buffers"], self.buffers)
        for name, buffer in self.buffers.items():
            if others[name] != buffer.config():
                raise ValueError(f"buffer {name!r} must be {buffer.config()}, got {others[name]}")

    def resized(self, config: Mapping[str, Any]) -> bool:
        """Whether a :meth:`config` is of parameters of other shapes."""
        parts = config["parameters"]
        return any(list(q.shape) != parts[name]["shape"] for name, q in self.parameters.items())

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, Array]) -> set[str]:
        """Take over what :meth:`config`, and :meth:`arrays` or :meth:`parts`, gave.

        Returns the names of arrays that were used.
        """
        used: set[str] = set()
        for name, parameter in self.parameters.items():
            own = _Taken(arrays, f"{name}.")
            parameter.restore(config["parameters"][name], own)
            used |= {f"{name}.{key}" for key in own.taken}
        for name, buffer in self.buffers.items():
            buffer.values[...] = take(arrays, name, buffer.shape, buffer.dtype, name)
            used.add(name)
        return used

    def take_over(self, other: Tree, *more: tuple[dict[str, Any], dict[str, Any]]) -> None:
        """Take over all that ``other``, of equal kinds and any widths, is made of.

        Layers, parameters and buffers stay the same objects. ``more`` are dicts to be updated by others in
        the same step: Ctrl-C comes before or after all of it.
        """
        for a, b in zip(self.sparse, other.sparse, strict=True):
            b.hold_gradient(a.has(GRADIENT))
        stay = {id(b): a for a, b in zip(self._all(), other._all(), strict=True)}
        changes = [(vars(stay[id(b)]), _with(vars(b), stay)) for b in other._all()] + list(more)
        deque(map(dict.update, *zip(*changes, strict=True)), maxlen=0)

    def _all(self) -> list[Any]:
        return [*self.layers.values(), *self.parameters.values(), *self.buffers.values()]


def _with(values: Mapping[str, Any], stay: Mapping[int, Any]) -> dict[str, Any]:
    """Attributes of an object in which layers, parameters and buffers are those that stay."""
    return {name: _staying(value, stay) for name, value in values.items()}


def _staying(value: Any, stay: Mapping[int, Any]) -> Any:
    """What stays in the place of a value; lists, tuples and dicts are looked into, to any depth."""
    kind = type(value)
    if kind is list or kind is tuple:
        return kind(_staying(each, stay) for each in value)
    if kind is dict:
        return {key: _staying(each, stay) for key, each in value.items()}
    return stay.get(id(value), value)


def _guard(gate: Gate, parameter: Parameter) -> Callable[[], None]:
    """Raises RuntimeError if a parameter has changed since now, or is about to."""
    then = parameter.state_of_values()

    def check() -> None:
        with gate.reading("pickle"):
            if parameter.state_of_values() != then:
                raise RuntimeError(f"{parameter.label} has changed while it was pickled or copied")

    return check


class _Taken(Mapping[str, Array]):
    """The arrays under a prefix, and the names that somebody has asked for."""

    def __init__(self, arrays: Mapping[str, Array], prefix: str) -> None:
        self._own = {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
        self.taken: set[str] = set()

    def __getitem__(self, name: str) -> Array:
        found = self._own[name]
        self.taken.add(name)
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._own

    def __iter__(self) -> Iterator[str]:
        return iter(self._own)

    def __len__(self) -> int:
        return len(self._own)
