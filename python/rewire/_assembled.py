"""What a network is made of: layers, parameters and buffers, their names, their numbers, their values."""

from __future__ import annotations

import contextlib
import operator
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _checks
from rewire._gate import Gate
from rewire._inputs import Source
from rewire._precision import variable_dtype
from rewire.activations import Activation
from rewire.layers import Layer
from rewire.layers.composite import checked
from rewire.layers.row import ASK, connect_row, first_learning, width_of
from rewire.layers.tree import Tree
from rewire.layers.weighted import WeightLayer
from rewire.link_counts import refuse_if_too_large
from rewire.parameters import Parameter, Rescale, SparseParameter
from rewire.parameters.base import GRADIENT, stream_of
from rewire.parameters.counting import connections, full_connections, held_bytes, trained_values
from rewire.parameters.sparse import refuse_views
from rewire.standardizer import Standardizer
from rewire.workspace import Workspace

__all__ = ["Assembled"]

MOST_GAIN = 2.0**20  # of outputs in new units, or 1 / it, so that what optimizers keep stays a number

# All that a network sets; what else there is, a subclass or a user has put there.
MADE_OF = frozenset((
    "seed", "dtype", "layers", "_tree", "_first_learning", "n_in", "n_out", "standardizer",
    "target_standardizer", "gate", "_spares", "trained_by", "gradients_of",
))  # fmt: skip


class Assembled:
    """Base of `rewire.Sequential`: layers in a row that fit each other, and all that they declare."""

    seed: int
    dtype: str

    def _assemble(self, layers: Sequence[Layer]) -> None:
        """Take layers that fit each other; nothing has memory yet."""
        self.layers = checked(layers)
        width = width_of(self.layers)
        if not width:
            raise ValueError("layers must hold at least one Sparse or Dense layer, got none")
        said = self.layers[0].n_in
        try:
            connect_row(self.layers, width)
        except ValueError as error:
            if said:
                raise
            raise ValueError(
                f"{error}; layers[0] ({self.layers[0]!r}) does not say how many inputs the network has, and "
                f"{width} is what a layer after it takes: {ASK}"
            ) from error
        self._tree = Tree(self.layers)
        if not self._tree.weighted:
            raise ValueError("layers must hold at least one Sparse or Dense layer, got none")
        if not self.layers[-1].may_end:
            raise ValueError(f"the last layer must be Sparse or Dense, got {self.layers[-1]!r}")
        self.n_in, self.n_out = self.layers[0].n_in, self.layers[-1].n_out
        self.standardizer: Standardizer | None = None
        self.target_standardizer = None
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
        needed = sum(parameter.needed_bytes(self.variable_dtype) for parameter in tree.parameters.values())
        refuse_if_too_large(needed, "the network")
        last = self.layers[-1]
        depths, k, weighted = {}, 0, {id(layer) for layer in tree.weighted}
        for layer in tree.layers.values():
            k += id(layer) in weighted
            depths[id(layer)] = None if layer is last or k == 0 else k
        for layer in tree.weighted:  # before any layer is built, so that a refusal leaves them all free
            layer.activation.bind(depths[id(layer)])
        for index, (name, layer) in enumerate(tree.layers.items()):
            layer.build(seed=self.seed, index=index, name=name, depth=depths[id(layer)], dtype=self.dtype)
        for name, parameter in tree.parameters.items():
            of, number = tree.declared_by[name]
            parameter.uses, layer = tree.uses[name], tree.layers[of]
            stream = stream_of(layer.index, number)
            parameter.build(
                name=name, owner=layer, seed=self.seed, stream=stream, dtype=self.dtype, draw=draw
            )
        self._first_learning = first_learning(self.layers)

    @contextlib.contextmanager
    def _free_again(self) -> Iterator[None]:
        """If something raises, layers and parameters belong to no network, as before."""
        things = [*self._tree.layers.values(), *self._tree.parameters.values()]
        before = [dict(vars(thing)) for thing in things]
        try:
            yield
        except BaseException:
            for thing, values in zip(things, before, strict=True):
                vars(thing).clear()
                vars(thing).update(values)
            raise

    @property
    def variable_dtype(self) -> str:
        """The dtype that weights, activations and outputs are kept in: float32 in a network of bfloat16."""
        return variable_dtype(self.dtype)

    # --- what it is made of -----------------------------------------------------------------

    @property
    def extras(self) -> dict[str, Any]:
        """Attributes that a subclass or a user has set, beside what every network has."""
        return {name: value for name, value in vars(self).items() if name not in MADE_OF}

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
    def weight_layers(self) -> list[Layer]:
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

    def refuse_views(self, what: str) -> None:
        """BufferError naming the first layer whose store is viewed; ``what`` says what cannot be done."""
        refuse_views(self.tree.sparse, what)

    def get_vector(self, field: str = "weight") -> NDArray[Any]:
        """Weights, kept gradients or a field of all parameters as one vector; a copy.

        Parameters
        ----------
        field : str
            ``"weight"``, ``"gradient"``, or the name of a field, such as ``"momentum"``. Of a field that some
            parameters have and others have not, as what a rule keeps for links and not for biases: of those
            that have it.

        Returns
        -------
        ndarray of the widest dtype among the parameters, shape (n_params,)
            No value is rounded: float64 if one parameter of a float32 network is. In the order of
            :meth:`parameters`; of links by row and column, as ``to_arrays`` of a parameter has them; shorter
            where parameters lack the field, or where links of a group share a value. Rewiring moves links: a
            vector from before it is one of other links.

        Raises
        ------
        KeyError
            If no parameter has such a field; for gradients, if one has none.
        """
        with self.gate.reading("get_vector"):
            return np.concatenate([parameter.read(field) for parameter in self._that_have(field)])

    def _that_have(self, field: str) -> list[Parameter]:
        """The parameters whose values of a field make its vector."""
        found = list(self.tree.parameters.values())
        if field not in ("weight", GRADIENT):
            found = [parameter for parameter in found if parameter.has(field)]
        if not found:
            raise KeyError(f"no parameter has {field!r}")
        return found

    def set_vector(self, values: ArrayLike, field: str = "weight") -> None:
        """Write weights, kept gradients or a field of all parameters from one vector.

        Parameters
        ----------
        values : array-like, shape (n_params,)
            In the order, and of the length, of :meth:`get_vector`. Finite, and in the range of the field;
            rounded to its dtype.
        field : str

        Raises
        ------
        KeyError, TypeError, ValueError
            If no parameter has such a field; for values that do not fit. Nothing has changed then.
        BufferError
            For gradients, while a store is viewed.
        RuntimeError
            While another thread trains this network or predicts. A callback of ``fit`` may call it.
        """
        with self.gate.changing("set_vector"):
            parameters = self._that_have(field)
            sizes = [q.size if field in ("weight", GRADIENT) else q.read(field).size for q in parameters]
            found = _checks.float_vector("values", values, sum(sizes))
            parts = np.split(found, np.cumsum(sizes)[:-1])
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

    @property
    def target_standardizer(self) -> Standardizer | None:
        """What targets are standardised with, for every output; None if they are taken as they are."""
        found: Standardizer | None = self.__dict__["target_standardizer"]
        return found

    @target_standardizer.setter
    def target_standardizer(self, by: Standardizer | None) -> None:
        if by is not None:
            _checks.one_of_types("target_standardizer", by, Standardizer, "a rewire.Standardizer")
            by.check_of_targets(self.n_out)
        self.__dict__["target_standardizer"] = by

    def learn_inputs(
        self, source: Source, weight: NDArray[np.float64] | None, *, center: bool = True
    ) -> None:
        """Let the standardiser learn from a training set; the first layer is rescaled, so that nothing else
        changes. Without biases there it keeps the mean that it subtracts, and so it does without ``center``:
        0, if there is none yet.
        """
        old, first = self.standardizer, self.layers[self._first_learning]
        before = self.layers[: self._first_learning]
        if old is None:
            self.standardizer = Standardizer.fit(source, weight, center=center)
            return
        if any(layer.rescaled(Rescale()) is None for layer in before):
            return  # they could not follow
        learnt = old.learn(source, weight, center=center and first.absorbs is True)
        if learnt is not None:
            new, change = learnt
            calls = first.rescaled(Rescale(cols=change.gain, offset=change.offset))
            if calls is not None:  # it could follow
                self._at_once([*calls, partial(self.__dict__.update, standardizer=new)])

    def learn_targets(self, targets: Source, weight: NDArray[np.float64] | None) -> None:
        """Let outputs be those of standardised targets, by mean and deviation of these, from now on.

        Once is enough: weights that have learnt them would have to be rescaled for others. A last layer that
        has learnt targets as they are is rescaled, so that predictions stay.
        """
        if self.target_standardizer is not None:
            return
        new = Standardizer.of_targets(targets, weight)
        calls: list[Callable[[], Any]] = []
        if self._has_learnt_targets():
            if not 1.0 / MOST_GAIN <= new.scale.min() <= new.scale.max() <= MOST_GAIN:
                raise ValueError(
                    "standardize_targets cannot rescale what the last layer has learnt of targets as they "
                    f"are by less than {1 / MOST_GAIN:.2g} or more than {MOST_GAIN:.2g}, got 1 / deviation "
                    f"{new.scale.min():g} to {new.scale.max():g}: begin with a new network"
                )
            calls = self._calls_for_outputs(new.scale, -new.mean * new.scale)
        self._at_once([*calls, partial(setattr, self, "target_standardizer", new)])

    def _has_learnt_targets(self) -> bool:
        """Whether biases of the last layer began as 0 and are so no more; of other layers nobody can tell."""
        last = self.layers[-1]
        if not isinstance(last, WeightLayer) or last.bias is None:
            return False
        return last.bias_begins_at_zero and bool(last.bias.any())

    def change_outputs(self, gain: NDArray[np.float64] | None, shift: NDArray[np.float64]) -> None:
        """Let outputs be ``outputs * gain + shift``: targets have other units. The last layer is linear.

        What optimizers keep follows the gradients: errors go with ``gain``, and those of layers before the
        last one with its square.
        """
        self._at_once(self._calls_for_outputs(gain, shift))

    def _calls_for_outputs(
        self, gain: NDArray[np.float64] | None, shift: NDArray[np.float64]
    ) -> list[Callable[[], Any]]:
        last = self.layers[-1]
        if gain is None:
            return last.rescaled(Rescale(shift=shift)) or []
        gain = np.clip(gain, 1.0 / MOST_GAIN, MOST_GAIN)
        calls = last.rescaled(Rescale(rows=gain, shift=shift, slope=gain)) or []
        before = Rescale(slope=np.array(np.mean(gain * gain)))
        for parameter in self.tree.parameters.values():
            if parameter.owner is not last:
                calls += parameter.rescaled(before)
        return calls

    @staticmethod
    def _at_once(calls: list[Callable[[], Any]]) -> None:
        """One step for the interpreter: Ctrl-C waits."""
        deque(map(operator.call, calls), maxlen=0)
