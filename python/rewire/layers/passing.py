"""What a forward and its backward pass through a network share, and what becomes of gradients.

A layer takes tiles from the pass, and hands the gradients of its parameters to
the pass's *learner*, which is told by the trainer what to do with them: take an
optimizer's step at once, keep them, add them to those that are kept, or only look.
A layer does not know which.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe
from rewire._warn import warn
from rewire.parameters import DenseParameter, Parameter, SparseParameter
from rewire.parameters.base import GRADIENT
from rewire.workspace import Workspace

__all__ = ["Apply", "Back", "Keep", "Learner", "Pass", "Probe", "Report", "Updates"]


class Report(NamedTuple):
    """What a layer has seen of so many samples, by which its buffers follow them."""

    values: NDArray[Any]
    samples: int


class Numbered(Protocol):
    """A layer: its number in the network, and its width."""

    @property
    def index(self) -> int: ...
    @property
    def n_out(self) -> int: ...


class Following(Protocol):
    """A layer whose buffers follow samples."""

    @property
    def index(self) -> int: ...
    def follow(self, reports: Sequence[Report], epoch: int) -> None: ...


Fill = Callable[[NDArray[Any]], object]

#: An activation as the core knows it, its slope, and the tiles that its derivative is taken from.
Back = tuple[str, float, _core.Tiles]

#: Dropout as `_core` names it: p, seed, stream, step and the first sample's number.
Drop = tuple[float, int, int, int, int]

#: What x and dy of a gradient have been rounded to before, if at all.
Operands = tuple[_core.Rounded | None, _core.Rounded | None]
AS_THEY_ARE: Operands = (None, None)


class Updates(dict[tuple[bool, float], _core.Update]):
    """An optimizer's constants in the core's terms, for every kind of parameter.

    ``updates[parameter.decays, parameter.rate]`` is made when it is first asked for.

    Parameters
    ----------
    make : callable
        Gives fresh constants.
    constants : mapping
        By which it makes them, as `Optimizer.constants` gives them.
    """

    def __init__(self, make: Callable[[], _core.Update], constants: Mapping[str, Any]) -> None:
        super().__init__()
        self._make, self.constants = make, dict(constants)  # whoever gave them may change them
        self._now = 0.0, 0.0, 1

    def renew(self, constants: Mapping[str, Any]) -> None:
        """Forget what was made by other constants than these."""
        self.clear()
        self.constants = dict(constants)

    def place(self, rate: float, decay: float, count: int) -> None:
        """Set what changes from step to step: learning rate, weight decay, and ``count`` (first step: 1)."""
        self._now = rate, decay, count
        for (decays, factor), update in self.items():
            update.lr, update.decay, update.step = rate * factor, decay if decays else 0.0, count

    def __missing__(self, kind: tuple[bool, float]) -> _core.Update:
        found = self[kind] = self._make()
        self.place(*self._now)
        return found


class Learner(Protocol):
    """What is done with the gradients of parameters in a backward pass."""

    def sparse(
        self, parameter: SparseParameter, x: _core.Tiles, dy: _core.Tiles, p: Pass,
        rounded: Operands = AS_THEY_ARE,
    ) -> None:  # fmt: skip
        """The gradient of W is that of y = W x, dy being the gradient for y; ``rounded`` is of x and dy."""

    def dense(self, parameter: DenseParameter, fill: Fill, p: Pass) -> None:
        """The gradient is what ``fill`` writes into memory of the parameter's size, flat and padded."""

    def bias(
        self, parameter: DenseParameter, dy: _core.Tiles, p: Pass, back: Back | None = None,
        drop: Drop | None = None,
    ) -> None:  # fmt: skip
        """The gradient is the sum of ``dy`` over the samples.

        Of what ``dy`` becomes by dropout, where ``drop`` says which, and then by an activation's derivative,
        where ``back`` does: all in one pass.
        """


class Apply:
    """The optimizer's step is taken at once, after the old values have been used: fused with the gradient.

    A parameter that several layers share waits in :attr:`shared`, with its gradients added up.
    """

    def __init__(self, updates: Updates) -> None:
        self._updates = updates
        self.shared = Keep()

    def sparse(
        self, parameter: SparseParameter, x: _core.Tiles, dy: _core.Tiles, p: Pass,
        rounded: Operands = AS_THEY_ARE,
    ) -> None:  # fmt: skip
        if parameter.uses > 1:
            self.shared.sparse(parameter, x, dy, p, rounded)
            return
        update = self._updates[parameter.decays, parameter.rate]
        update.target = parameter.master
        core, scratch, rounds = parameter.core, p.ws.scratch, parameter.rounds
        _core.backward_update(core, x, dy, update, scratch, p.threads, rounds, rounded)
        parameter.version += 1

    def dense(self, parameter: DenseParameter, fill: Fill, p: Pass) -> None:
        if parameter.uses > 1:
            self.shared.dense(parameter, fill, p)
            return
        fill(parameter.room())
        parameter.apply(self._updates[parameter.decays, parameter.rate], p.threads)

    def bias(
        self, parameter: DenseParameter, dy: _core.Tiles, p: Pass, back: Back | None = None,
        drop: Drop | None = None,
    ) -> None:  # fmt: skip
        if parameter.uses > 1:
            self.shared.bias(parameter, dy, p, back, drop)
            return
        room = parameter.room()
        _core.activate_back_sums(*(back or ("linear", 0.0, dy)), dy, room, p.threads, False, drop)
        parameter.apply(self._updates[parameter.decays, parameter.rate], p.threads)

    def finish(self, threads: int) -> None:
        """The step of parameters that are shared."""
        if self.shared.there:
            self.shared.apply(self._updates, threads)


class Keep:
    """Gradients are kept with their parameters, and added up until :meth:`clear`.

    Attributes
    ----------
    there : dict of str to Parameter
        Those that have a gradient, by name.
    """

    def __init__(self) -> None:
        self.there: dict[str, Parameter] = {}

    def clear(self) -> None:
        """Begin anew: the next gradient of a parameter replaces the one that is there."""
        self.there.clear()

    def in_order(self, names: Iterable[str]) -> list[Parameter]:
        """Those that have a gradient, in this order."""
        return [self.there[name] for name in names if name in self.there]

    def sparse(
        self, parameter: SparseParameter, x: _core.Tiles, dy: _core.Tiles, p: Pass,
        rounded: Operands = AS_THEY_ARE,
    ) -> None:  # fmt: skip
        add = parameter.name in self.there
        if not add:
            parameter.hold_gradient(True)
        rounds, scratch = parameter.rounds, p.ws.scratch
        _core.backward_weights(parameter.core, x, dy, GRADIENT, p.threads, add, scratch, rounds, rounded)
        self.there[parameter.name] = parameter

    def dense(self, parameter: DenseParameter, fill: Fill, p: Pass) -> None:
        room = parameter.room()
        if parameter.name not in self.there:
            fill(room)
            self.there[parameter.name] = parameter
        else:
            more = p.ws.array(("gradient", parameter.name), room.shape)
            fill(more)
            room += more

    def bias(
        self, parameter: DenseParameter, dy: _core.Tiles, p: Pass, back: Back | None = None,
        drop: Drop | None = None,
    ) -> None:  # fmt: skip
        add, room = parameter.name in self.there, parameter.room()
        _core.activate_back_sums(*(back or ("linear", 0.0, dy)), dy, room, p.threads, add, drop)
        self.there[parameter.name] = parameter

    def apply(self, updates: Updates, threads: int) -> None:
        """One optimizer step from the gradients there are, which are then done with."""
        for parameter in self.there.values():
            parameter.apply(updates[parameter.decays, parameter.rate], threads)
        self.clear()


class Probe:
    """Gradients are not taken at all: what they would be made of is kept, for rules that look at them.

    Attributes
    ----------
    kept : dict of str to (Tiles, Tiles)
        By the parameter's name: inputs, and a copy of the gradient for the sums. Where layers share a
        parameter, the samples of one follow those of the other.
    """

    def __init__(self) -> None:
        self.kept: dict[str, tuple[_core.Tiles, _core.Tiles]] = {}

    def sparse(
        self, parameter: SparseParameter, x: _core.Tiles, dy: _core.Tiles, p: Pass,
        rounded: Operands = AS_THEY_ARE,
    ) -> None:  # fmt: skip
        if parameter.uses > 1:
            before = self.kept.get(parameter.name, (None, None))
            self.kept[parameter.name] = _joined(before[0], x), _joined(before[1], dy)
        else:
            self.kept[parameter.name] = x, p.copy((parameter.name, "probed"), dy)

    def dense(self, parameter: DenseParameter, fill: Fill, p: Pass) -> None:
        pass

    def bias(
        self, parameter: DenseParameter, dy: _core.Tiles, p: Pass, back: Back | None = None,
        drop: Drop | None = None,
    ) -> None:  # fmt: skip
        if drop is not None:
            p.drop(dy, drop)
        if back is not None:
            _core.activate_back(*back, dy, p.threads)


def _joined(first: _core.Tiles | None, second: _core.Tiles) -> _core.Tiles:
    """A copy, after that of other samples. Those that fill up a tile are zero: they change no sum."""
    before = 0 if first is None else first.n_tiles
    found = _core.Tiles(second.n, (before + second.n_tiles) * second.tile, second.tile, second.dtype)
    if first is not None:
        found.array()[:before] = first.array()
    found.array()[before:] = second.array()
    return found


class Pass:
    """Memory and circumstances of one batch on its way through a network and back.

    Attributes
    ----------
    ws : Workspace
        Whose tiles these are; as many samples as it is shaped for.
    training : bool
        Whether layers act as in training: dropout drops, and norms look at the batch.
    step : int
        The step that is being made, 1 for the first: names random numbers.
    epoch : int
        Epochs of training before this one.
    threads : int
    first_sample : int
        The number, in its step, of the batch's first sample: a batch that is cut into shards gets the same
        random numbers as the whole.
    linear : Layer or None
        The layer that leaves its activation out, because the loss has it fused.
    learner : Learner or None
        What becomes of gradients, in a backward pass.
    probing : bool
        Whether this is a look ahead, in training: another pass with the same samples follows.
    keeping : bool
        Whether what backward wants is kept: in training, and in evaluation where a backward pass follows.
    reports : list of (int, Report) or None
        What layers have reported, by their numbers, where the batch is cut into shards: they follow when all
        shards are through. None: they follow at once.
    watched : bool
        Whether what layers give that are no activation of another one is to last, for somebody who looks on.
    rounds_once : bool
        Whether inputs that a product has rounded to bfloat16 serve the gradient of its weights too. Not where
        a layer may write into tiles that another one has taken, as one of somebody's may.
    layer : Layer or None
        The one that runs, as far as layers in a row and branches say so.
    onward : (Layer, Layer) or None
        The one that runs, and the one before it in a row: forward it has given what the first one gets, and
        nobody else has it; backward it gets the first one's gradient as it is. Where layers in a row are run
        by rewire itself: whoever runs them on his own may look at what is handed on, and change it.
    to_drop : Drop or None
        What the layer that gets the gradient next has to put it through, with what it does itself.
    """

    __slots__ = (
        "_handed", "_learner", "_rounded", "_saved", "_users", "epoch", "first_sample", "keeping", "layer",
        "linear", "onward", "probing", "reports", "rounds_once", "step", "threads", "to_drop", "training",
        "watched", "ws",
    )  # fmt: skip

    def __init__(
        self,
        ws: Workspace,
        *,
        training: bool = False,
        step: int = 0,
        threads: int = 1,
        first_sample: int = 0,
        linear: Numbered | None = None,
        learner: Learner | None = None,
        probing: bool = False,
        rounds_once: bool = False,
    ) -> None:
        self.ws, self.training, self.step, self.threads = ws, training, step, threads
        self.first_sample, self.linear, self.probing = first_sample, linear, probing
        self.learner, self.rounds_once = learner, rounds_once
        self.epoch, self.watched, self.keeping = 0, False, training
        self.reports: list[tuple[int, Report]] | None = None
        self.layer: Numbered | None = None
        self._saved: dict[int, Any] = {}
        self._rounded: dict[int, _core.Rounded] = {}  # inputs, by layer
        self._users: dict[Hashable, int] = {}  # by key, which layer's tiles these are

    @property
    def learner(self) -> Learner | None:
        """What becomes of gradients; a new one begins a backward pass."""
        return self._learner

    @learner.setter
    def learner(self, learner: Learner | None) -> None:
        self._learner = learner
        self._handed: dict[str, int] = {}  # how often each parameter's gradient was handed over
        self.onward: tuple[Numbered, Numbered] | None = None
        self.to_drop: Drop | None = None

    @property
    def handed(self) -> set[str]:
        """The parameters whose gradients were handed over in the present backward pass, by name."""
        return set(self._handed)

    @property
    def batch(self) -> int:
        """Samples."""
        return self.ws.batch

    @property
    def learning(self) -> bool:
        """Whether buffers are to follow the samples: in training, but not in a look ahead."""
        return self.training and not self.probing

    def report(self, layer: Following, values: NDArray[Any]) -> None:
        """Tell what a layer has seen of these samples, in a forward pass that is :attr:`learning`.

        Its ``follow`` gets it, at once, or together with that of the other shards of the batch. So buffers
        move once in a step, and as far wherever the shards are computed.

        Parameters
        ----------
        layer : Layer
        values : ndarray
            Kept as it is: not memory that the next pass writes into.
        """
        found = Report(values, self.batch)
        if self.reports is None:
            layer.follow([found], self.epoch)
        else:
            self.reports.append((layer.index, found))

    # --- memory -------------------------------------------------------------------------

    def tiles(self, key: Hashable, n: int) -> _core.Tiles:
        """Tiles of ``n`` features that last until the next batch, with unspecified contents.

        ``key`` names them in the whole network: ``(self.index, "y")``, say. Samples beyond the batch must be
        zero in what a layer gives: :meth:`pack`, kernels and whatever maps 0 to 0 keep that.

        Raises
        ------
        RuntimeError
            For the key of another layer's tiles: one would overwrite what the other's backward pass needs.
        """
        layer = self.layer
        if layer is not None and self._users.setdefault(key, layer.index) != layer.index:
            raise RuntimeError(
                f"tiles {key!r} of layer {layer.index} are those of layer {self._users[key]} too: a key "
                "names tiles in the whole network, so begin it with the layer's number, "
                f"(self.index, {key!r})"
            )
        return self.ws.tiles(key, n)

    def output(self, layer: Numbered) -> _core.Tiles:
        """Tiles for what a layer gives."""
        return self.ws.tiles((layer.index, "y"), layer.n_out)

    def numbers(self, tiles: _core.Tiles) -> NDArray[Any]:
        """A copy of tiles as an array (samples, features), for layers in NumPy."""
        return tiles.unpack(None, self.threads)

    def pack(self, key: Hashable, values: NDArray[Any]) -> _core.Tiles:
        """An array (samples, features) as tiles, which ``key`` names."""
        if np.ndim(values) != 2 or len(values) != self.batch:
            raise ValueError(f"values must have shape ({self.batch}, features), got {np.shape(values)}")
        tiles = self.tiles(key, values.shape[1])
        tiles.pack(np.ascontiguousarray(values, self.ws.dtype), None, None, None, self.threads)
        return tiles

    def save(self, layer: Numbered, *values: Any) -> None:
        """Keep what the layer's backward pass wants of its forward pass, if one may follow."""
        if self.keeping:
            self._saved[layer.index] = values

    def saved(self, layer: Numbered) -> Any:
        """What the layer has saved: a tuple."""
        return self._saved[layer.index]

    def drop(self, dy: _core.Tiles, drop: Drop) -> None:
        """The gradient for what dropout took, from ``dy`` (overwritten) for what it gave."""
        rate, seed, stream, step, first_sample = drop
        _core.dropout(dy, dy, rate, seed, stream, step, self.threads, first_sample)

    # --- operands of bfloat16 -------------------------------------------------------------

    def round_inputs(self, layer: Numbered, x: _core.Tiles) -> _core.Rounded | None:
        """Inputs rounded to bfloat16: for the layer's product now, and for its gradient in this pass.

        None where that is left to the products, each for itself.
        """
        if not (self.keeping and self.rounds_once):
            return None
        found = self._rounded[layer.index] = self.ws.rounded((layer.index, "x"), x, self.threads)
        return found

    def round_gradient(self, layer: Numbered, dy: _core.Tiles) -> Operands:
        """What :meth:`round_inputs` gave, once, and ``dy``, rounded until the next layer asks."""
        return self._rounded.pop(layer.index, None), self.ws.rounded("dy", dy, self.threads)

    # --- tiles from tiles -----------------------------------------------------------------

    def map(
        self, key: Hashable, function: Callable[..., NDArray[Any]], first: _core.Tiles, *others: _core.Tiles
    ) -> _core.Tiles:
        """Tiles, which ``key`` names, of a function value by value, of arrays of equal shape.

        Samples beyond the batch become zero, whatever the function makes of them.
        """
        if any(tiles.n != first.n for tiles in others):
            widths = ", ".join(str(tiles.n) for tiles in (first, *others))
            raise ValueError(f"map needs tiles of equal width, got {widths}")
        found = self.tiles(key, first.n)
        values = found.array()
        given = function(first.array(), *(tiles.array() for tiles in others))
        if np.shape(given) != values.shape:
            raise ValueError(f"map needs a function value by value: {values.shape} became {np.shape(given)}")
        values[...] = given
        rest = self.batch % found.tile
        if rest:
            values[-1, :, rest:] = 0
        return found

    def copy(self, key: Hashable, tiles: _core.Tiles) -> _core.Tiles:
        """A copy, which ``key`` names: it lasts, whatever other layers do."""
        found = self.tiles(key, tiles.n)
        found.array()[...] = tiles.array()
        return found

    def product(
        self, key: Hashable, weight: SparseParameter, x: _core.Tiles, bias: DenseParameter | None = None
    ) -> _core.Tiles:
        """W x + bias, as tiles that ``key`` names."""
        self._alike(weight, x)
        found = self.tiles(key, weight.n_out)
        given = None if bias is None else bias.padded
        weight.forward(x, found, self.threads, bias=given, scratch=self.ws.scratch)
        return found

    def product_back(self, key: Hashable, weight: SparseParameter, dy: _core.Tiles) -> _core.Tiles:
        """W' dy, as tiles that ``key`` names; W' is W with rows and columns exchanged."""
        self._alike(weight, dy)
        found = self.tiles(key, weight.n_in)
        weight.backward_input(dy, found, self.batch, self.threads, self.ws.scratch)
        return found

    def _alike(self, weight: SparseParameter, tiles: _core.Tiles) -> None:
        if weight.dtype != tiles.dtype:
            raise TypeError(
                f"{weight.name} must have the dtype of the network, {tiles.dtype}, to multiply its tiles, "
                f"got {weight.dtype}"
            )

    # --- gradients ------------------------------------------------------------------------

    def learn(self, parameter: Parameter, gradient: NDArray[Any]) -> None:
        """Hand over the gradient of a `DenseParameter`: an array of its shape.

        Once in a pass; of one that several layers have, once by each of them.
        """
        if not isinstance(parameter, DenseParameter):
            raise TypeError(f"the gradient of {parameter.name} is handed over by learn_links")
        found = np.asarray(gradient)
        if found.shape != parameter.shape:
            raise ValueError(
                f"gradient of {parameter.name} must have shape {parameter.shape}, got {found.shape}"
            )
        if found.dtype.kind not in "fiu":
            raise TypeError(f"gradient of {parameter.name} must be real numbers, got {describe(found)}")
        flat = found.reshape(-1)
        self.taker(parameter).dense(parameter, lambda room: room.__setitem__(slice(flat.size), flat), self)

    def learn_links(self, parameter: SparseParameter, x: _core.Tiles, dy: _core.Tiles) -> None:
        """Hand over what the gradient of a `SparseParameter` is made of, after its last use.

        Once in a pass, as :meth:`learn`.

        Parameters
        ----------
        parameter : SparseParameter
        x : Tiles
            Inputs of y = W x; they must last until the pass is over.
        dy : Tiles
            The gradient for y.
        """
        self.taker(parameter).sparse(parameter, x, dy, self)

    def taker(self, parameter: Parameter) -> Learner:
        """Who takes this parameter's gradient; a step would be taken twice for what is handed over twice."""
        learner, handed, name = self._learner, self._handed, parameter.name
        times = handed[name] = handed.get(name, 0) + 1
        if learner is None or times > parameter.uses:
            self._check_handed(parameter, times)
        assert learner is not None
        return learner

    def warn_of_missing(self, uses: Mapping[str, int], parameters: Mapping[str, Parameter]) -> None:
        """After a backward pass, UserWarning for a parameter that has never had its gradient; it is named.

        Once for each, and for none that says ``trained = False``: a layer that is frozen, or that a sample
        passes by, hands over nothing, and may have to learn later. ``uses`` says how many layers have each.
        """
        handed = self._handed
        for name, parameter in parameters.items():
            if parameter.learnt:
                continue
            parameter.learnt = True  # or somebody knows
            times, given = uses[name], handed.get(name, 0)
            if given >= times or not parameter.trained:
                continue
            short = name.rpartition(".")[2]
            sparse = isinstance(parameter, SparseParameter)
            call = f"learn_links(self.{short}, x, dy)" if sparse else f"learn(self.{short}, gradient)"
            who = name if parameter.owner is None else parameter.owner.label
            what = "no gradient" if not given else f"{given} of {times} gradients"
            warn(
                f"{who}: backward handed over {what} of {short!r}: it is not trained"
                f"{' by all' if given else ''}; call p.{call} in each layer that has it if it should be, or "
                "say trained = False of it",
                UserWarning,
            )

    def _check_handed(self, parameter: Parameter, times: int) -> None:
        if self._learner is None:
            raise RuntimeError("gradients are handed over in a backward pass, not before")
        if not parameter.built:
            raise RuntimeError(
                f"{parameter!r} is no parameter of the network: parameters() must give it, and the same "
                "object every time"
            )
        if times > max(1, parameter.uses):
            raise RuntimeError(
                f"the gradient of {parameter.name} was handed over {times} times in one pass: add them up, "
                "or let parameters() name it once for each time"
            )
