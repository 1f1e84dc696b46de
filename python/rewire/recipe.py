"""From options by name to layers and a trainer: what a comparison builds its networks by.

The names are those of ``rewire train``, with a dot before an option of an option, such as
``rewiring.fraction``. Which values there are is asked of the registries and of the signatures of what is
built: a new activation, rule, optimizer, loss or layer can be named without a change here.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from rewire import losses, optim, presets
from rewire._checks import (
    boolean,
    describe,
    integer,
    named,
    number,
    one_of_types,
    standardizing,
    unknown_argument,
)
from rewire._class_weight import class_weights
from rewire._registry import Registry
from rewire.activations import Abs, Activation, AllReLU, LeakyReLU, Linear, ReLU, activation
from rewire.callbacks import callback_from_config, weight_average
from rewire.datasets import Dataset
from rewire.initializers import WITHIN_FAN_IN, He, Xavier
from rewire.layers import Layer
from rewire.layers.base import KINDS as LAYERS
from rewire.losses import MSE, BinaryCrossEntropy, CrossEntropy, Huber, Loss, Poisson
from rewire.network import Sequential
from rewire.optim import Optimizer
from rewire.presets import Preset, mlp_layers
from rewire.rewiring import SET, Rule, rewiring
from rewire.rewiring.base import KINDS as RULES
from rewire.schedules import KINDS as SCHEDULES
from rewire.schedules import Cosine, Schedule, Step, Warmup
from rewire.schedules import schedule as as_schedule
from rewire.trainer import Trainer

__all__ = [
    "COUNTS", "EPOCHS", "HIDDEN", "Recipe", "beside", "dotted", "given_layers", "option_names", "outputs_of",
]  # fmt: skip

HIDDEN = (1000, 1000, 1000)
EPOCHS = 20
COUNTS = ("links", "density", "epsilon")  # what says how many links a perceptron has, one at a time
NUMBERS = MSE | Huber | Poisson  # losses of numbers, which those of classes refuse
RECTIFIERS = ReLU | LeakyReLU | AllReLU | Abs  # f(a z) = a f(z) for a > 0: smaller weights scale signals only
SMALLER = 3  # hidden layers of the smallest first weights; deeper networks shrink signals as much in all
FINAL = ("softmax", "sigmoid", "linear")  # activations of the outputs, as far as a loss has them built in

# Options of a perceptron, those of a network that is given layer by layer, and of its training. Beside these
# there are the parameters of the optimizer's class.
_MLP = (
    *(name for name in inspect.signature(mlp_layers).parameters if name not in ("sizes", "output", "X")),
    "activation", "slope",
)  # fmt: skip
_PARTS = ("activation", "average", "connectivity", "init", "loss", "optimizer", "rewiring", "schedule")
_TRAINING = (
    "preset", "layers", "dtype", "output", "loss", "optimizer", "schedule", "warmup", "warmup_to",
    "rewiring", "horizon", "standardize", "standardize_targets", "average", "callbacks", "epochs",
    "batch_size", "shuffle", "shards",
)  # fmt: skip
_DENSE_LACKS = (*COUNTS, "distribution", "connectivity", "group", "rewiring")


def _optimizer_options() -> list[str]:
    """Parameters of all optimizers that have a name."""
    kinds = [optim.KINDS.named(name) for name in optim.KINDS.names()]
    return list(dict.fromkeys(name for kind in kinds for name in inspect.signature(kind).parameters))


def option_names() -> list[str]:
    """Every name of an option, without those that have a dot."""
    return list(dict.fromkeys((*_MLP, *_TRAINING, *_optimizer_options())))


def dotted(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their names with dots: ``rewiring__fraction`` is ``rewiring.fraction``, as in scikit-learn.

    Raises
    ------
    TypeError
        For a name that is none; one that is near is named.
    """
    found: dict[str, Any] = {}
    known = option_names()
    for word, value in options.items():
        name = word.replace("__", ".") if isinstance(word, str) else word
        part = str(name).partition(".")[0]
        if not isinstance(name, str) or part not in known:
            raise unknown_argument("a network", str(word), known, {})
        if "." in name and part not in _PARTS:
            raise TypeError(f"{name} must be an option of one of {', '.join(_PARTS)}, which {part} is not")
        if name in found:
            raise TypeError(f"{name} is given twice, as {name} and as {word}")
        found[name] = value
    return found


def beside(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Options of one network: its own, and of those that it has in common with others what means something.

    A network that is dense has no use for a common density, one with an optimizer of its own none for what
    that optimizer does not take. Its own options are never left out.
    """
    drop: set[str] = set()
    if own.get("dense"):
        drop |= {*_DENSE_LACKS}
        if common.get("dtype") == "bfloat16":
            drop.add("dtype")
    if own.get("layers") is not None:
        drop |= {*_MLP}
    elif any(name in own for name in _MLP):
        drop.add("layers")
    if any(name in own for name in COUNTS):
        drop |= {*COUNTS}
    if "optimizer" in own:
        drop |= {*_optimizer_options(), "schedule"} - _taken(optim.KINDS, own["optimizer"])
    for name in common:
        part, dot, inner = name.partition(".")
        if dot and part in drop | {*own}:
            kinds: Registry[Any] | None = _NAMED.get(part)
            if part in drop or kinds is None or inner not in _taken(kinds, own[part]):
                drop.add(name)
    if "activation" in own:
        drop.add("slope")
    return {**{name: value for name, value in common.items() if name not in drop}, **own}


def _taken(kinds: Registry[Any], what: Any) -> set[str]:
    """What the constructor of something takes that is given by its name; nothing for objects."""
    return {*inspect.signature(kinds.find(what)).parameters} if isinstance(what, str) else set()


# What may be given by its name, with options of its own.
_NAMED: dict[str, Registry[Any]] = {"rewiring": RULES, "optimizer": optim.KINDS}


class Recipe:
    """Options, and what is built by them.

    Parameters
    ----------
    options : mapping of str to object
        By names such as ``"density"`` and ``"rewiring.fraction"``; values are names, numbers, descriptions
        (``config()``) or objects, as their constructors take them. ``"layers"`` is a list of descriptions in
        the place of a perceptron, each with a ``"type"``; widths that are left out follow. It may be a
        function of the numbers of inputs and outputs that gives layers. None is what is not given; of a name
        with a dot it is a value.

    Raises
    ------
    TypeError, ValueError
        For an option that is unknown, or would do nothing beside the others.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = dotted(options)
        self.preset: Preset = presets.preset(self._get("preset", "default"))
        self.dense = boolean("dense", self._get("dense", False))
        self._refuse_contradictions()

    def _get(self, name: str, default: Any = None) -> Any:
        value = self.options.get(name)
        return default if value is None else value

    def _given(self, names: Iterable[str]) -> dict[str, Any]:
        return {name: self.options[name] for name in names if self.options.get(name) is not None}

    def _part(self, name: str, default: Any = None) -> Any:
        """What stands for a part, with the options that have its name before their dot in it.

        Raises
        ------
        TypeError
            For such options beside an object, which has its own.
        """
        what = self._get(name, default)
        inner = {
            key.partition(".")[2]: value for key, value in self.options.items() if key.startswith(f"{name}.")
        }
        if "name" in inner:
            raise TypeError(f"{name}.name is {name} itself")
        if not inner:
            return what
        if isinstance(what, str):
            return {"name": what, **inner}
        if isinstance(what, Mapping):
            return {**what, **inner}
        if what is None:
            raise TypeError(f"{name}.{next(iter(inner))} does nothing without {name}")
        raise TypeError(f"{name}.{next(iter(inner))} is an option of the object that {name} is: set it there")

    def _refuse_contradictions(self) -> None:
        """Options that would silently do nothing."""
        if self._get("layers") is not None:
            inside = [name for name in self.options if "." in name and name.partition(".")[0] in _MLP]
            for name in (*self._given(_MLP), *inside):
                raise TypeError(f"{name} does nothing beside layers, which say all about the network")
        if self.dense:
            for name in self._given(_DENSE_LACKS):
                if not (name == "rewiring" and self.options[name] == "static"):
                    raise TypeError(f"{name} does nothing with dense: there are no sparse layers")
            if self._get("dtype") == "bfloat16":
                raise TypeError("dtype='bfloat16' does nothing with dense, whose products are of float32")
        counts = {*self._given(COUNTS)} or {name for name in COUNTS if getattr(self.preset, name) is not None}
        if self._get("distribution") is not None and counts <= {"epsilon"}:
            raise TypeError("distribution does nothing without density or links: say how many to divide")
        inner = [key for key in self.options if key.startswith("rewiring.")]
        if inner and (self.dense or self._get("rewiring") == "static"):
            raise TypeError(f"{inner[0]} does nothing without rewiring")

    # --- parts --------------------------------------------------------------------------

    def loss(self, data: Dataset) -> Loss:
        """By default cross entropy for classes, of a yes or no for labels, squared errors for numbers."""
        labels = "binary_cross_entropy" if data.has_labels else "mse"
        what = self._part("loss", labels if data.classes is None else "cross_entropy")
        if isinstance(what, Mapping) and isinstance(what.get("class_weight"), str):
            what = {**what, "class_weight": _counted(what["class_weight"], what["name"], data)}
        found = losses.loss(what)
        if data.classes is not None:
            _refuse_classes(found, data)
        elif isinstance(found, CrossEntropy) and data.y.ndim == 1:
            raise ValueError(
                f"loss {found.name!r} is one of classes, and {data.name} has numbers: store class labels as "
                "integers or words, or use 'mse', 'huber' or 'poisson'"
            )
        return found

    def layers(self, data: Dataset) -> list[Layer]:
        """New layers for these data."""
        loss = self.loss(data)
        n_in, n_out = int(data.X.shape[1]), outputs_of(data, loss)
        final = self._get("output") or final_for(loss)
        given = self._get("layers")
        if given is None:
            return self._perceptron([n_in, *self.hidden, n_out], final, data)
        return given_layers(given, n_in, n_out, final)

    @property
    def hidden(self) -> list[int]:
        """Widths of a perceptron's hidden layers."""
        given = self._get("hidden", HIDDEN)
        widths = [given] if isinstance(given, int | np.integer) else given
        one_of_types("hidden", widths, (list, tuple), "a list of integers")
        return [integer(f"hidden[{i}]", n, low=1) for i, n in enumerate(widths)]

    def _perceptron(self, sizes: Sequence[int], final: Any, data: Dataset) -> list[Layer]:
        own = [
            name for name in _MLP if name not in ("hidden", "activation", "slope", "dense", "connectivity")
        ]
        changes: dict[str, Any] = {**self._given(own), "hidden": self.activation, "dense": self.dense}
        counts = [f"{name}={changes[name]}" for name in COUNTS if name in changes]
        if len(counts) > 1:
            raise ValueError(f"give one of {', '.join(COUNTS)}, got {' and '.join(counts)}")
        if counts:
            changes = {"epsilon": None, **changes}  # the preset's
        if self.preset is presets.PRESETS["default"]:
            numbers = isinstance(self.loss(data), NUMBERS)
            if numbers:
                changes = {"dropout": 0.0, **changes}
            if self._rectifiers_tell(data) or (numbers and isinstance(self.activation, RECTIFIERS)):
                first = small_init if numbers else even_init
                changes["init"] = first(self.activation.gain, len(self.hidden))
        if (init := self._part("init")) is not None:
            changes["init"] = init
        if (connectivity := self._part("connectivity")) is not None:
            changes.update(connectivity=connectivity, X=data.X)
        return self.preset.layers(sizes, final, **changes)

    def _rectifiers_tell(self, data: Dataset) -> bool:
        """Whether the default preset tells classes or labels, by a loss of these, behind rectifiers.

        Only there the defaults of classes were studied: first weights by `even_init`, and smaller batches of
        few samples. A loss of numbers makes numbers of labels.
        """
        return (
            self.preset is presets.PRESETS["default"]
            and (data.classes is not None or data.has_labels)
            and isinstance(self.activation, RECTIFIERS)
            and not isinstance(self.loss(data), NUMBERS)
        )

    @property
    def activation(self) -> Activation:
        """That of hidden layers; the preset's own, with its slope, where that has the same name."""
        what, preset = self._part("activation", self.preset.hidden.name), self.preset.hidden
        if (slope := self._get("slope")) is not None:
            what = {**(what if isinstance(what, Mapping) else {"name": what}), "slope": slope}
        found = activation(what)
        return preset if isinstance(what, str) and found.name == preset.name else found

    def optimizer(self, epochs: int, steps: int) -> Optimizer:
        """A new optimizer for a run of so many epochs of so many steps."""
        what = self._part("optimizer", "sgd")
        given = self._given(name for name in _optimizer_options() if name != "schedule")
        if isinstance(what, Optimizer):
            for name in (*given, *self._given(("schedule",))):
                raise TypeError(f"{name} is an option of the object that optimizer is: set it there")
            return copy.deepcopy(what)
        given["schedule"] = self._schedule(epochs, steps)
        if isinstance(what, str):
            what = {"name": what}
        elif isinstance(self._get("optimizer"), Mapping):
            return optim.optimizer({**given, **what})  # a description of one, without what a preset says
        options = {**given, **{name: value for name, value in what.items() if name != "name"}}
        if optim.KINDS.find(what["name"]) is optim.SGD:
            return self.preset.optimizer(**options)
        return optim.optimizer({"name": what["name"], **options})

    def _schedule(self, epochs: int, steps: int) -> Schedule | dict[str, Any] | None:
        """By name: ``"cosine"``, down to 0 over the run; ``"step"``, to a tenth after each third of it.

        With ``warmup`` the rate rises over so many epochs, and the cosine takes those that are left; with
        ``warmup_to`` it rises from ``lr`` to so many times as much, by a little in every step as Goyal et al.
        have it (arXiv:1706.02677, section 2.2), whatever the schedule multiplies it with.
        """
        what = self._part("schedule", self.preset.schedule)
        to = self._get("warmup_to")
        if self.warmup >= epochs:
            raise ValueError(f"warmup must be less than the {epochs} epochs of the run, got {self.warmup}")
        if to is not None:
            to = number("warmup_to", to, low=1.0)
            if not self.warmup:
                raise TypeError(
                    "warmup_to needs warmup, the epochs over which the rate rises to so many times lr"
                )
            decay = self._decay(what, epochs)
            decay = None if decay is None else as_schedule(decay)
            return Warmup(to=to, length=self.warmup * steps, unit="step", decay=decay)
        if not self.warmup:
            return self._decay(what, epochs)
        if what != "cosine":
            raise TypeError(
                f"warmup belongs to the cosine schedule, not to {describe(what)}, unless warmup_to is given"
            )
        return Cosine(length=epochs - self.warmup, warmup=self.warmup)

    @staticmethod
    def _decay(what: Any, epochs: int) -> Schedule | dict[str, Any] | None:
        """What the rate is multiplied with over a run of so many epochs."""
        third = max(1, epochs // 3)
        if what == "cosine":
            return Cosine(length=epochs)
        if what == "step":
            return Step(every=third)
        if isinstance(what, Mapping):  # with options of its own, and the same length unless that is one
            kind: Any = SCHEDULES.find(named("schedule", what)[0])
            lengths: dict[Any, dict[str, int]] = {Cosine: {"length": epochs}, Step: {"every": third}}
            if what.get("unit") == "step":  # how many there are is not known here
                lengths = {}
            return as_schedule({**lengths.get(kind, {}), **what})
        return None if what == "constant" else what

    def rewiring(self) -> Rule:
        """A new rule; SET's options are those of the preset where nothing else is said."""
        what = self._part("rewiring", "static" if self.dense else "set")
        if isinstance(what, Rule):
            return copy.deepcopy(what)
        name = what.get("name") if isinstance(what, Mapping) else what
        if isinstance(name, str) and RULES.find(name) is SET:
            given = what if isinstance(what, Mapping) else {}
            what = {**self.preset.rewiring().config(), **given}
        return rewiring(what)

    def callbacks(self) -> list[Any]:
        """New callbacks: descriptions are built, objects are copied; with an average of weights."""
        given = self._get("callbacks", [])
        one_of_types("callbacks", given, (list, tuple), "a list")
        average = weight_average(copy.deepcopy(self._part("average")))
        return [
            *(callback_from_config(c) if isinstance(c, Mapping) else copy.deepcopy(c) for c in given),
            *([] if average is None else [average]),
        ]

    # --- the whole ----------------------------------------------------------------------

    @property
    def epochs(self) -> int:
        """How long a run is, where nobody says otherwise."""
        return integer("epochs", self._get("epochs", EPOCHS), low=1)

    @property
    def warmup(self) -> int:
        """Epochs over which the learning rate rises."""
        return integer("warmup", self._get("warmup", 0), low=0)

    def fit_options(self, data: Dataset, samples: int | None = None) -> dict[str, Any]:
        """Arguments of ``Trainer.fit`` beside the data and epochs.

        Batches of classes are smaller where there are few samples, of all by default, or only so many to
        learn from. Of numbers, behind GELU from He's scale, and behind more hidden layers than `SMALLER`
        that was worse: all of these keep theirs, as do first weights and layers that are given.
        """
        few = data.X.shape[0] if samples is None else samples
        own = self._get("init") is not None or self._get("layers") is not None
        smaller = not own and len(self.hidden) <= SMALLER and self._rectifiers_tell(data)
        usual = self.preset.batch_for(few) if smaller else self.preset.batch_size
        return {
            "batch_size": integer("batch_size", self._get("batch_size", usual), low=1),
            "shuffle": boolean("shuffle", self._get("shuffle", True)),
        }

    def trainer(
        self,
        data: Dataset,
        *,
        seed: int,
        epochs: int | None = None,
        threads: int | None = None,
        network: Sequential | Sequence[Layer] | None = None,
        steps: int | None = None,
    ) -> Trainer:
        """A new network and its trainer.

        Parameters
        ----------
        data : Dataset
            That it is to be trained on: its widths, its classes, and samples for correlated connectivity.
        seed : int
        epochs : int, optional
            Length of the run, which schedules go by; that of the options by default.
        threads : int, optional
        network : Sequential or sequence of Layer, optional
            Instead of the one that the options describe.
        steps : int, optional
            Of an epoch, which ``warmup_to`` goes by; by default those of all samples in whole batches.
        """
        if steps is None:
            steps = -(-data.X.shape[0] // self.fit_options(data)["batch_size"])
        epochs, loss = self.epochs if epochs is None else epochs, self.loss(data)
        if not isinstance(network, Sequential):
            layers = self.layers(data) if network is None else network
            network = Sequential(layers, seed=seed, dtype=self._get("dtype", "float32"))
        return Trainer(
            network,
            loss=loss,
            optimizer=self.optimizer(epochs, steps),
            rewiring=self.rewiring(),
            callbacks=self.callbacks(),
            threads=threads,
            standardize=standardizing("standardize", self._get("standardize", True)),
            standardize_targets=self._get(
                "standardize_targets", loss.of_numbers and isinstance(network.final, Linear)
            ),
            horizon=self._get("horizon"),
            shards=self._get("shards"),
        )


# --- pieces


def _counted(given: str, name: Any, data: Dataset) -> Any:
    """Weights by which all classes of these data count alike.

    Raises
    ------
    TypeError, ValueError
        For another word than "balanced"; where there are no classes, or the loss does not take their weights.
    """
    if given != "balanced":
        raise TypeError(
            "class_weight must be a list of numbers, one for each class in their order, or 'balanced', got "
            f"{describe(given)}"
        )
    if data.classes is None:
        raise ValueError(
            f"class_weight='balanced' counts classes, an integer or a word a sample, and {data.name} has "
            f"{data.kind}: of classes in columns of 0 and 1 give y.argmax(axis=1)"
        )
    if losses.base.KINDS.find(name) is not CrossEntropy:
        raise ValueError(
            f"class_weight='balanced' is an option of the loss 'cross_entropy', got {describe(name)}: use "
            "that, or sample_weight of fit"
        )
    return class_weights(given, np.arange(len(data.classes)), np.asarray(data.y), None)


def _refuse_classes(loss: Loss, data: Dataset) -> None:
    """ValueError for a loss of numbers, or of yes or no, where there are classes."""
    several = isinstance(loss, BinaryCrossEntropy) and len(data.classes or ()) > 2
    if several or isinstance(loss, NUMBERS):
        what = "two classes, or of a yes or no for each output" if several else "numbers"
        raise ValueError(
            f"loss {loss.name!r} is one of {what}, and {data.name} has {len(data.classes or ())} classes: "
            "use 'cross_entropy' or 'squared_hinge'"
            + ("" if several else ", or give y as floating point, y.astype(float), to predict numbers")
        )


def outputs_of(data: Dataset, loss: Loss) -> int:
    """How many outputs a network for these data has: one for each class, of two of them with a yes or no."""
    if isinstance(loss, BinaryCrossEntropy) and data.classes is not None:
        return 1
    return len(data.classes) if data.classes is not None else int(np.prod(data.y.shape[1:], dtype=int))


def small_init(gain: float, depth: int) -> He:
    """First weights of a network of so many hidden layers of rectifiers that predicts numbers.

    Outputs of He's scale begin far outside of targets of deviation 1. Within 1 / sqrt(fan-in) every layer
    shrinks signals, to ``WITHIN_FAN_IN / gain`` of what they would be. Where there are more than three hidden
    layers, all of them shrink signals as much as three would: else nothing would be left of them after ten.
    Other activations keep He's scale: of smaller sums a sigmoid or a tanh is nearly linear.
    """
    shrinking = _shrinking(depth)
    return He("uniform", gain=WITHIN_FAN_IN**shrinking * gain ** (1.0 - shrinking))


def even_init(gain: float, depth: int) -> Xavier:
    """The same for classes.

    He's scale looks at the fan-in alone: behind few features it makes a wide layer so loud that the first
    steps go far astray, and small samples leave no time to come back. Xavier's evens out fan-in and fan-out.
    Made for activations of gain 1, it shrinks signals of rectifiers, and likewise by three layers at most.
    """
    return Xavier(gain=gain ** (1.0 - _shrinking(depth)))


def _shrinking(depth: int) -> float:
    """The power with which each of so many hidden layers shrinks signals: 1 as long as there are few."""
    return min(1.0, SMALLER / max(1, depth))


def final_for(loss: Loss) -> str:
    """The activation of the outputs that a loss has built in; linear if it has none."""
    for name in FINAL:
        try:
            if loss.fused(activation(name)):
                return name
        except ValueError:
            continue
    return "linear"


def given_layers(given: Any, n_in: int, n_out: int, final: Any) -> list[Layer]:
    """Layers by what ``layers`` is: descriptions in a list, or a function of both numbers."""
    if callable(given):
        return list(given(n_in, n_out))
    one_of_types("layers", given, (list, tuple), "a list of descriptions, or a function that gives layers")
    return described_layers(given, n_in, n_out, final)


def described_layers(given: Sequence[Any], n_in: int, n_out: int | None, final: Any) -> list[Layer]:
    """Layers in a row by their descriptions.

    Parameters
    ----------
    given : sequence of dict or Layer
        ``{"type": "Sparse", "n_out": 100, "density": 0.1}``; ``n_in`` is what the layer before gives.
        Arguments that are lists of such dicts, or of lists of these, are layers inside. Objects are copied.
    n_in : int
    n_out : int, optional
        Of the last layer, where its description does not say; None: as many as ``n_in``.
    final : str or Activation
        Of the last layer, likewise.
    """
    made, width = [], n_in
    for i, one in enumerate(given):
        last = i == len(given) - 1
        where = f"layers[{i}]"
        if not isinstance(one, Mapping | Layer):
            raise TypeError(f"{where} must be a dict with a type, or a Layer, got {describe(one)}")
        ends = {"n_out": n_out, "activation": final} if last and n_out is not None else {}

        def build(one: Any = one, where: str = where, ends: Any = ends, width: int = width) -> Layer:
            return copy.deepcopy(one) if isinstance(one, Layer) else _described_layer(one, where, width, ends)

        if not last:
            trial = build()  # connected to learn how wide it is, and not used
            trial.connect(width)
            width = trial.n_out
        made.append(build())
    return made


def _described_layer(one: Mapping[str, Any], where: str, width: int, ends: Mapping[str, Any]) -> Layer:
    LAYERS.find(one.get("type"), f"{where}: type")
    kind = LAYERS.named(one["type"])
    takes = inspect.signature(kind).parameters
    given = {name: _inner(value, width, kind) for name, value in one.items() if name != "type"}
    for name in given:
        if name not in takes:
            raise unknown_argument(f"{where}, a {one['type']},", name, takes, {})
    if (
        "n_out" in takes
        and takes["n_out"].default is inspect.Parameter.empty
        and "n_out" not in {*given, *ends}
    ):
        raise TypeError(f"{where}, a {one['type']}, must say its n_out: only that of the last layer is known")
    beside = {name: value for name, value in {"n_in": width, **ends}.items() if name in takes}
    return kind(**{**beside, **given})


def _inner(value: Any, width: int, kind: type[Layer]) -> Any:
    """An argument of a layer, with layers in the place of descriptions of layers."""
    if not isinstance(value, list | tuple) or not any(map(_describes, value)):
        return value
    if kind.branches:  # beside each other, not in a row
        rows = [one if isinstance(one, list | tuple) else [one] for one in value]
        made = [described_layers(row, width, None, None) for row in rows]
        return [
            row if isinstance(one, list | tuple) else row[0] for one, row in zip(value, made, strict=True)
        ]
    return described_layers(value, width, None, None)


def _describes(one: Any) -> bool:
    """Whether this describes a layer, or layers in a row."""
    return (
        any(map(_describes, one))
        if isinstance(one, list | tuple)
        else isinstance(one, Mapping) and "type" in one
    )
