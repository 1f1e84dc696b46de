"""Averages of weights over steps, by which a network is evaluated and predicts."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _checks, _core
from rewire._training import TrainerLike
from rewire.callbacks.base import Callback, State, register_callback
from rewire.network import Sequential
from rewire.parameters import Field, Parameter, SparseParameter
from rewire.threads import resolve

__all__ = ["WeightAverage", "weight_average"]

MEAN, COUNT = "average", "averaged"  # the fields: the mean, and of how many steps it is
# A count for every link would take as much memory as the weights: the links of a slot are of one age.
LINKS = {MEAN: Field(power=0), COUNT: Field("int32", per_slot=True, low=0)}
VALUES = {MEAN: Field(power=0), COUNT: Field("int32", low=0)}

WORDS: dict[str, dict[str, Any]] = {"ema": {}, "swa": {"decay": None, "begin": 0.75}}


@register_callback
class WeightAverage(Callback):
    """Keep an average of every weight and bias over the steps of training.

    Validation and :meth:`Trainer.evaluate` are by these averages, and :meth:`Trainer.evaluated_network` is
    the network that has them; training itself, and what is saved to go on from, is not touched. With a rate
    that falls to 0 weights hardly move in the end and averages bring little; they bring more with a rate that
    stays up.

    Parameters
    ----------
    decay : float in [0, 1) or None
        Exponential moving average (EMA): with every step an average keeps this much of what it was and takes
        the rest from the weight. Early on it is the mean of all steps so far, as long as that forgets faster.
        None: the mean of all steps (stochastic weight averaging, SWA).
    begin : int or float in [0, 1]
        The epoch after which averages begin; a float is a fraction of the run. Before, there are none, and
        weights stand for them.
    every : int
        Steps between two that count.

    Notes
    -----
    A link's average begins with the link: one that is grown has the mean of the steps since then, and one
    that is dropped leaves none. Averages take the memory of the weights, and four bytes a slot. Where
    rewiring removes neurons the averages of biases begin anew. A link whose weight is 0, as those outside of
    the forward set of :class:`~rewire.TopKAST`, is 0 whatever its average. Buffers, which are not trained,
    are those of the last step.

    A loop of one's own (:meth:`Trainer.train_step`) tells no callbacks: call :meth:`update` after each step
    and :meth:`evaluated_network` for the averages; ``trainer.callbacks`` gets it before they are saved.

    References
    ----------
    Polyak, Juditsky, *Acceleration of Stochastic Approximation by Averaging*, SIAM Journal on Control and
    Optimization 30 (1992). Izmailov, Podoprikhin, Garipov, Vetrov, Wilson, *Averaging Weights Leads to Wider
    Optima and Better Generalization*, UAI 2018 (SWA).

    Examples
    --------
    >>> import rewire as rw
    >>> data = rw.datasets.load("digits")
    >>> net = rw.Sequential([rw.Sparse(64, 10, density=0.3, activation="softmax")])
    >>> trainer = rw.Trainer(net, loss="cross_entropy", callbacks=[rw.WeightAverage(0.99)])
    >>> history = trainer.fit(data.X / 16.0, data.y, epochs=2, verbose=0)
    >>> averaged = trainer.evaluated_network()
    >>> averaged.predict(data.X_test / 16.0).shape
    (398, 10)
    """

    fields = (MEAN, COUNT)

    def __init__(self, decay: float | None = 0.999, *, begin: int | float = 0.0, every: int = 1) -> None:
        if decay is not None:
            decay = _checks.number("decay", decay, low=0.0, high=1.0, open_high=True)
        self.decay = decay
        if isinstance(begin, float):
            self.begin: int | float = _checks.number("begin", begin, low=0.0, high=1.0)
        else:
            self.begin = _checks.integer("begin", begin, low=0)
        self.every = _checks.integer("every", every, low=1)
        self._begun = False  # whether the fields are ours
        self._kept: tuple[Any, Sequential] | None = None  # the averaged network, and of what

    # --- events -------------------------------------------------------------------------

    def on_fit_begin(self, state: State) -> None:
        if sum(isinstance(callback, WeightAverage) for callback in state.trainer.callbacks) > 1:
            raise ValueError(
                "callbacks must hold at most one WeightAverage: they would share fields of the parameters"
            )
        if not self._begun:
            _drop(state.network)  # of an average that came to its end
        self._begun = True
        _prepare(state.network)

    def on_step_end(self, state: State) -> None:
        times = state.multiples(self.every)
        if times and state.epoch >= self._first_epoch(state):
            self._update(state.network, state.trainer.threads, times)

    def on_rewire(self, state: State) -> None:
        if state.rewired is not None and state.rewired.neurons is not None:
            _restart_biases(state.network)

    def _first_epoch(self, state: State) -> float:
        if not isinstance(self.begin, float):
            return self.begin
        horizon = state.trainer.horizon
        return self.begin * (state.trainer.state.run_end if horizon is None else horizon)

    # --- averaging ----------------------------------------------------------------------

    def update(self, network: Sequential, *, threads: int | None = None) -> None:
        """Take the present weights into the averages: what happens after a step of ``fit``.

        Parameters
        ----------
        network : Sequential
        threads : int, optional
            Results do not depend on it.
        """
        self._begun = True
        _prepare(network)
        self._update(network, threads)

    def _update(self, network: Sequential, threads: int | None, times: int = 1) -> None:
        least = 0.0 if self.decay is None else 1.0 - self.decay**times
        n_threads = resolve(threads)
        for parameter in network.tree.parameters.values():
            if isinstance(parameter, SparseParameter):
                of = parameter.master or "weight"
                _core.field_average(parameter.core, of, MEAN, COUNT, least, n_threads)
            else:
                _average(parameter, least)
        self._kept = None

    # --- the averaged network -----------------------------------------------------------

    def evaluated_network(self, network: Sequential) -> Sequential:
        """A network of its own with the averages for weights; made anew when they have changed.

        Values without an average, such as those of links that no step has seen yet, are the weights.
        """
        parameters = network.tree.parameters.values()
        if not (self._begun and all(parameter.has(MEAN) for parameter in parameters)):
            return network
        now = network, [parameter.state_of_values() for parameter in parameters]
        kept = self._kept
        if kept is None or kept[0] != now:
            kept = self._kept = now, _averaged(network)
        return kept[1]

    @property
    def nbytes(self) -> int:
        """Bytes of the averaged network that is kept."""
        return 0 if self._kept is None else self._kept[1].nbytes

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        return {
            "name": "WeightAverage", "decay": self.decay, "begin": self.begin, "every": self.every,
            "state": {"begun": self._begun},
        }  # fmt: skip

    def options(self) -> dict[str, Any]:
        """What it was made with."""
        return {name: value for name, value in self.config().items() if name not in ("name", "state")}

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        _checks.entries("WeightAverage", config, self.config())
        _checks.entries("WeightAverage: arrays", arrays, ())
        WeightAverage(config["decay"], begin=config["begin"], every=config["every"])  # or it raises
        state = _checks.entries("WeightAverage: state", config["state"], ("begun",))
        self._begun, self._kept = _checks.boolean("begun", state["begun"]), None

    def check(self, trainer: TrainerLike, network: Sequential) -> None:
        """Means are numbers, counts are of steps that were taken."""
        for parameter in network.tree.parameters.values():
            for name, field in averaged_fields(parameter).items():
                high = trainer.step if name == COUNT else None
                parameter.check_field(name, field, high=high, birth=(0.0, 0.0))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}

    def __repr__(self) -> str:
        return f"WeightAverage({self.decay}, begin={self.begin}, every={self.every})"


def weight_average(what: str | dict[str, Any] | WeightAverage | None) -> WeightAverage | None:
    """The average that ``what`` names.

    Parameters
    ----------
    what : str, dict, WeightAverage or None
        ``"ema"``: an exponential average that keeps 0.999 a step. ``"swa"``: the mean over the last quarter
        of the run. ``{"name": "ema", "decay": 0.99}`` has options of :class:`WeightAverage`. None: none.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if what is None or isinstance(what, WeightAverage):
        return what
    options: dict[str, Any] = {}
    if isinstance(what, Mapping):
        what, options = _checks.named("average", what)
    word = _checks.choice("average", what, WORDS)
    _checks.options(f"average {word!r}", options, WeightAverage)
    return WeightAverage(**{**WORDS[word], **options})


def averaged_fields(parameter: Parameter) -> dict[str, Field]:
    """The kinds of the fields that an average keeps beside a parameter."""
    return LINKS if isinstance(parameter, SparseParameter) else VALUES


def _prepare(network: Sequential) -> None:
    """Make sure that the fields are there; what they hold stays."""
    for parameter in network.tree.parameters.values():
        for name, field in averaged_fields(parameter).items():
            if not parameter.fits(name, field):
                parameter.add_field(name, field)


def _drop(network: Sequential) -> None:
    for parameter in network.tree.parameters.values():
        for name in (MEAN, COUNT):
            parameter.drop_field(name)


def _restart_biases(network: Sequential) -> None:
    for parameter in network.tree.parameters.values():
        if not parameter.connects and parameter.has(COUNT):
            parameter.values_of(COUNT)[...] = 0


def _average(parameter: Parameter, least: float) -> None:
    """What `_core.field_average` does for links."""
    weight, mean, count = (parameter.values_of(name) for name in ("weight", MEAN, COUNT))
    count += 1
    oldest = int(count.min(initial=2**31 - 1))
    if oldest == int(count.max(initial=0)) and oldest > 1:  # nearly always
        mean += (weight - mean) * weight.dtype.type(max(least, 1.0 / oldest))
        return
    rate = np.maximum(1.0 / count, least).astype(weight.dtype)
    mean[...] = np.where(count == 1, weight, mean + (weight - mean) * rate)


def _averaged(network: Sequential) -> Sequential:
    """A copy of a network with averages for weights."""
    try:
        found = network.remade(network.config(), network.parts())
    except NotImplementedError:  # a layer has an argument that no description holds
        found = copy.deepcopy(network)
        for parameter in found.tree.parameters.values():
            for name in list(parameter.fields):
                parameter.drop_field(name)
    for name, parameter in found.tree.parameters.items():
        own = network.tree.parameters[name]
        count, weight = own.values_of(COUNT), own.values_of("weight")
        values = np.where(count > 0, own.values_of(MEAN), weight)
        if isinstance(parameter, SparseParameter):
            values[weight == 0] = 0  # as links outside of the forward set, or about to be dropped
            parameter.core.set_field("weight", values)
        else:
            parameter.values_of("weight")[...] = values
        parameter.touch()
    return found
