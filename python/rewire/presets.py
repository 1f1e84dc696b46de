"""Hyperparameters that belong together: the published ones, and ours for short runs.

``preset("tsnn-2021")`` gives an object that builds layers, optimizer and
rewiring of a multilayer perceptron. Published settings suit 500 epochs; ours
are for twenty or so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import field, replace
from typing import Any

import numpy as np

from rewire._checks import boolean, choice, describe, detached, integer, number
from rewire._record import record
from rewire.activations import Activation, AllReLU, activation
from rewire.connectivity import Connectivity, Correlated, Random
from rewire.connectivity import connectivity as as_connectivity
from rewire.initializers import He, Initializer, Normal, Zeros, initializer
from rewire.layers import Dense, Dropout, Layer, Sparse
from rewire.link_counts import erdos_renyi_links, erk_links
from rewire.optim import SGD, Optimizer
from rewire.rewiring import SET, Rule, Static
from rewire.schedules import Cosine
from rewire.units import SReLUUnit

__all__ = ["PRESETS", "Preset", "mlp_layers", "preset"]

COUNTS = {"epsilon", "density", "links"}  # what says how many links there are, one at a time
SAMPLES = 10_000  # at most so many samples for a correlated connectivity

FEW_STEPS = 30  # of an epoch of few samples, as long as batches need not be smaller than `least_batch` for it

# The SET authors' code draws +-sqrt(6 / n_in) and calls it he_uniform: the dense fan-in, ReLU's gain.
_HE_UNIFORM = He("uniform", "dense", gain=2.0**0.5)


@record
class Preset:
    """One set of hyperparameters.

    Attributes are those of :func:`mlp_layers`, :class:`~rewire.SGD` and :class:`~rewire.SET`; ``note`` says
    where they come from and what differs from the source. ``dataclasses.replace`` makes variants; of
    ``epsilon``, ``density`` and ``links`` one at a time says how many links there are.
    """

    name: str
    note: str
    epsilon: float | None = 20.0
    density: float | None = None
    links: int | None = None
    distribution: str = "erk"
    hidden: Activation = field(default_factory=AllReLU)
    init: Initializer = field(default_factory=He)
    dropout: float = 0.0
    lr: float = 0.05
    schedule: str = "constant"  # or "cosine", down to a hundredth over the run
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay: str = "l2"
    clip_norm: float | None = None
    batch_size: int = 128
    drop_fraction: float = 0.3
    drop_decay: str = "constant"  # what SET calls `decay`
    drop_end: int | float | None = None  # what SET calls `end`
    new_init: Initializer = field(default_factory=Zeros)
    rewired_layers: str | None = None  # what SET calls `layers`
    last_epoch: str = "skip"
    group: int = 1
    least_batch: int | None = None  # down to which batches of few samples go, see `batch_for`

    def layers(
        self, sizes: Sequence[int], output: str | Activation = "softmax", **changes: Any
    ) -> list[Layer]:
        """Layers of a perceptron with these sizes, see :func:`mlp_layers`.

        One of ``epsilon``, ``density``, ``links`` takes the place of the preset's.
        """
        options: dict[str, Any] = {
            **{name: None if COUNTS & changes.keys() else getattr(self, name) for name in COUNTS},
            "distribution": self.distribution,
            "hidden": self.hidden,
            "init": self.init,
            "dropout": self.dropout,
            "group": self.group,
        }
        return mlp_layers(sizes, output=output, **{**options, **changes})

    def batch_for(self, samples: int) -> int:
        """Samples of a step where an epoch has so many.

        Where ``least_batch`` is given, that is the largest power of two by which an epoch has `FEW_STEPS`
        steps, within ``least_batch`` and ``batch_size``: twenty epochs of two steps each learn little.
        """
        if self.least_batch is None:
            return self.batch_size
        enough = max(1, samples // FEW_STEPS)
        return min(self.batch_size, max(self.least_batch, 1 << (enough.bit_length() - 1)))

    def optimizer(self, epochs: int | None = None, **changes: Any) -> Optimizer:
        """The optimizer; a cosine needs to know how many ``epochs`` it has, else lr stays constant."""
        cosine = self.schedule == "cosine" and epochs is not None
        options: dict[str, Any] = {
            "lr": self.lr,
            "schedule": Cosine(length=integer("epochs", epochs, low=1), floor=0.01) if cosine else None,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            "decay": self.decay,
            "clip_norm": self.clip_norm,
        }
        return SGD(**{**options, **changes})

    def rewiring(self, name: str = "set") -> Rule:
        """The rewiring: SET, or ``"static"``."""
        if choice("name", name, ("set", "static")) == "static":
            return Static()
        return SET(
            self.drop_fraction, decay=self.drop_decay, end=self.drop_end, init=self.new_init,
            layers=self.rewired_layers, last_epoch=self.last_epoch,
        )  # fmt: skip

    def replace(self, **changes: Any) -> Preset:
        """A variant; one of ``epsilon``, ``density``, ``links`` takes the place of the others."""
        if COUNTS & changes.keys():
            changes = {**dict.fromkeys(COUNTS), **changes}
        return replace(self, **changes)


PRESETS = {
    p.name: p
    for p in (
        Preset(
            "default",
            "Ours, for twenty epochs or so: neurons in groups of four that share their sources, which makes "
            "an epoch quicker; weights start at the scale of the fan-in a neuron really has, a larger "
            "learning rate that falls along a cosine, gradients of a norm of at most 5, dropout 0.2, "
            "no decay; new links start at zero, and the fraction that SET drops falls along a cosine to 0 at "
            "three quarters of the run, so that all links have time to learn. `rewire train` and `rewire "
            "compare` begin ReLUs with smaller weights, use no dropout for numbers, and behind up to three "
            "hidden layers for fewer than 3,840 samples of classes batches of 64, 32 or 16, so that an epoch "
            "has steps enough.",
            group=4,
            dropout=0.2,
            lr=0.1,
            clip_norm=5.0,
            schedule="cosine",
            drop_decay="cosine",
            drop_end=0.75,
            least_batch=16,
        ),
        Preset(
            "set-2018",
            "Mocanu et al., Nature Communications 9:2383 (2018): SGD 0.01, momentum 0.9, w -= 2e-4 w every "
            "step, dropout 0.3, SReLU starting as in the published code, epsilon 20, zeta 0.3, weights and "
            "new links N(0, 0.1^2), all layers rewired, removal only after the last epoch.",
            hidden=SReLUUnit("published"),
            init=Normal(0.1),
            dropout=0.3,
            lr=0.01,
            weight_decay=2e-4,
            decay="per_step",
            new_init=Normal(0.1),
            last_epoch="remove",
        ),
        Preset(
            "tsnn-2021",
            "Curci, Mocanu, Pechenizkiy, arXiv:2102.01732, as their code runs: All-ReLU 0.6, SGD 0.01, "
            "momentum 0.9, w -= 2e-4 w every step, dropout 0.3, epsilon 20, zeta 0.3, batch 128, weights and "
            "new links +-sqrt(6 / n_in) over the dense fan-in, output layer not rewired, nothing after the "
            "last epoch.",
            init=_HE_UNIFORM,
            dropout=0.3,
            lr=0.01,
            weight_decay=2e-4,
            decay="per_step",
            new_init=_HE_UNIFORM,
            rewired_layers="hidden",
        ),
    )
}


def preset(name: str | Preset) -> Preset:
    """A preset by name: ``"default"``, ``"set-2018"``, ``"tsnn-2021"``.

    Raises
    ------
    TypeError, ValueError
        If there is none.
    """
    return name if isinstance(name, Preset) else PRESETS[choice("preset", name, PRESETS)]


def mlp_layers(
    sizes: Sequence[int],
    *,
    output: str | Activation = "softmax",
    hidden: str | Activation = "all-relu",
    epsilon: float | None = None,
    density: float | None = None,
    links: int | None = None,
    distribution: str = "erk",
    dropout: float = 0.0,
    init: str | float | Initializer = "he",
    bias_init: str | float | Initializer = "zeros",
    connectivity: str | dict[str, Any] | Connectivity = "random",
    X: Any = None,
    group: int = 1,
    dense: bool = False,
) -> list[Layer]:
    """Layers of a multilayer perceptron.

    Parameters
    ----------
    sizes : sequence of int
        Inputs, hidden layers, outputs: at least two numbers.
    output, hidden : str or Activation
        Hidden ones may also be ``"srelu"``, ``"prelu"``, ``"k-winners"``, ``"two-sided"`` and
        ``"two-sided-winners"``, layers that follow those with the weights (`rewire.units`). After the
        two-sided ones the next layer has twice as many inputs, and counts as so large. ``"switchnet4"``
        stands for all hidden layers, which are then equally wide and have no matrices: links are those of
        the last layer.
    epsilon : float, optional
        Erdos-Renyi links of every layer; 20 by default.
    density : float, optional
        Instead: of the whole network, divided by ``distribution``. 0.01 is a hundredth of the weights that
        dense layers would have, exactly.
    links : int, optional
        Instead: links of the whole network, divided by ``distribution``.
    distribution : {"erk", "uniform"}
        With ``density`` or ``links``: Erdos-Renyi over the network, denser where layers are small (see
        :func:`rewire.link_counts.erk_links`), or the same density everywhere.
    dropout : float
        After every hidden layer.
    init : str, float or Initializer
    bias_init : str, float or Initializer
        Initial biases of hidden layers; those of the last are 0.
    connectivity : str, dict or Connectivity
        Initial connectivity of all layers: see :func:`rewire.connectivity.connectivity`. ``"correlated"`` is
        for the first layer; the others are then random (Zhang et al., CHT).
    X : array-like or SciPy CSR, shape (m, sizes[0]), optional
        Samples for ``connectivity="correlated"``. Of more than 10,000, every k-th is looked at.
    group : {1, 2, 4, 8}
    dense : bool
        Dense layers instead: the baseline.

    Returns
    -------
    list of Layer
    """
    if not isinstance(sizes, Iterable):
        raise TypeError(f"sizes must be a list of integers, got {describe(sizes)}")
    sizes = [integer(f"sizes[{i}]", n, low=1) for i, n in enumerate(sizes)]
    if len(sizes) < 2:
        raise ValueError(f"sizes must hold at least inputs and outputs, got {sizes}")
    choice("distribution", distribution, ("erk", "uniform"))
    dropout = number("dropout", dropout, low=0.0, high=1.0, open_high=True)
    given = {"epsilon": epsilon, "density": density, "links": links}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) > 1:
        words = " and ".join(f"{name}={value}" for name, value in given.items())
        raise ValueError(f"give one of epsilon, density and links, got {words}")
    boolean("dense", dense)
    between = activation(hidden)
    each, own_layer = between.outputs_a_neuron, between.layer() is not None
    body = between.body(sizes[:-1], dropout)
    if body:
        sizes = sizes[-2:]
    shapes = [(n * each if i else n, m) for i, (n, m) in enumerate(zip(sizes, sizes[1:], strict=False))]
    if density is None and links is None:
        counts = [erdos_renyi_links(n, m, 20.0 if epsilon is None else epsilon) for n, m in shapes]
    else:
        power = 0.0 if distribution == "uniform" else 1.0
        counts = [float(k) for k in erk_links(shapes, density, power, links=links, group=group)]
    chosen = _connectivity(connectivity, X)
    layers: list[Layer] = [*body]
    for i, (n, m) in enumerate(shapes):
        last = i == len(shapes) - 1
        unit = between.layer() if own_layer and not last else None
        f = activation(output if last else "linear" if own_layer else between)
        begin: dict[str, Any] = {"init": initializer(init), "bias_init": 0.0 if last else bias_init}
        if dense:
            layers.append(Dense(n, m, activation=f, **begin))
        else:
            count = int(counts[i] + 0.5)
            own = Random() if (i or body) and isinstance(chosen, Correlated) else chosen
            layer = Sparse(n, m, links=count, activation=f, connectivity=own, group=group, **begin)
            if density != 1.0 and links is None:
                layer.weight.sized_by = "epsilon" if density is None else "density"
                layer.weight.sized_here = False
            layers.append(layer)
        if unit is not None:
            layers.append(unit)
        if dropout > 0.0 and not last:
            layers.append(Dropout(dropout))
    return layers


def _connectivity(what: str | dict[str, Any] | Connectivity, X: Any) -> Connectivity:
    """The connectivity, with samples if it needs some."""
    named = what.get("name") if isinstance(what, dict) else what
    if named != Correlated.name or X is None:
        return as_connectivity(what)
    X = X if hasattr(X, "toarray") else np.asarray(detached(X, "X"))
    some = X[:: max(1, -(-X.shape[0] // SAMPLES))]
    return as_connectivity(what, some.toarray() if hasattr(some, "toarray") else some)
