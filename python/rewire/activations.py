"""Activation functions: what a layer asks for, and what the core computes.

An activation is a small value object. A network *binds* it to a layer's depth,
which turns it into the core's terms (:class:`Bound`): All-ReLU is a leaky ReLU
whose slope alternates in sign, softmax is left to the loss.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from rewire._checks import number
from rewire._registry import Registry

__all__ = [
    "Activation", "AllReLU", "Bound", "LeakyReLU", "Linear", "ReLU", "Sigmoid", "Softmax", "Tanh",
    "activation",
]


@dataclass(frozen=True)
class Bound:
    """An activation in the core's terms.

    ``needs_input`` has no default: where the derivative cannot be told from the output and this says False,
    a layer keeps no input for backward and learns from wrong gradients without a word.
    """

    code: str  # "linear" | "relu" | "leaky" | "sigmoid" | "tanh"
    slope: float = 0.0
    needs_input: bool = field(kw_only=True)  # whether `activate_back` reads f's input z, not its output y


@dataclass(frozen=True)
class Activation:
    """Base of all activations: ``name`` for files, ``gain`` for initialisers.

    Kinds without fields need not be decorated: they are equal if their classes are the same.
    """

    name: ClassVar[str] = ""

    def bind(self, depth: int | None) -> Bound:
        """The core's terms for the ``depth``-th hidden weight layer (1 first), or the output (None)."""
        raise NotImplementedError

    @property
    def gain(self) -> float:
        """Factor that keeps the variance of signals through the layer (as torch's ``calculate_gain``)."""
        return 1.0

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`activation` reads it back."""
        return {"name": self.name, **asdict(self)}


def _leaky(slope: float) -> Bound:
    """With a slope <= 0 the sign of the output does not tell the side of 0 that the input was on."""
    return Bound("leaky", slope, needs_input=slope <= 0.0)


class Linear(Activation):
    """f(x) = x."""

    name: ClassVar[str] = "linear"

    def bind(self, depth: int | None) -> Bound:
        return Bound("linear", needs_input=False)


class ReLU(Activation):
    """f(x) = max(x, 0)."""

    name: ClassVar[str] = "relu"

    def bind(self, depth: int | None) -> Bound:
        return Bound("relu", needs_input=False)

    @property
    def gain(self) -> float:
        return math.sqrt(2.0)


@dataclass(frozen=True)
class LeakyReLU(Activation):
    """f(x) = x for x > 0, slope * x otherwise.

    Parameters
    ----------
    slope : float
        Taken literally; may be negative.
    """

    slope: float = 0.01
    name: ClassVar[str] = "leaky-relu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", number("slope", self.slope))

    def bind(self, depth: int | None) -> Bound:
        return _leaky(self.slope)

    @property
    def gain(self) -> float:
        return math.sqrt(2.0 / (1.0 + self.slope**2))


@dataclass(frozen=True)
class AllReLU(Activation):
    """Alternated left ReLU: a leaky ReLU whose left side changes sign from one hidden layer to the next.

    For the k-th hidden weight layer (k = 1 first; dropout is not counted), f(x) = x for x > 0 and, for
    x < 0, -slope * x when k is odd, +slope * x when k is even.

    Parameters
    ----------
    slope : float
        At least 0, not trained. The authors use 0.6 on Fashion-MNIST and 0.75 on CIFAR-10.

    Notes
    -----
    Curci, Mocanu, Pechenizkiy, *Truly Sparse Neural Networks at Scale*, arXiv:2102.01732.
    """

    slope: float = 0.6
    name: ClassVar[str] = "all-relu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "slope", number("slope", self.slope, low=0.0))

    def bind(self, depth: int | None) -> Bound:
        if depth is None:
            raise ValueError(
                "activation must not be AllReLU on the output layer: it alternates over hidden layers; "
                "use 'linear', 'softmax', 'sigmoid' or LeakyReLU(slope)"
            )
        return _leaky(-self.slope if depth % 2 else self.slope)

    @property
    def gain(self) -> float:
        return math.sqrt(2.0 / (1.0 + self.slope**2))


class Sigmoid(Activation):
    """f(x) = 1 / (1 + exp(-x))."""

    name: ClassVar[str] = "sigmoid"

    def bind(self, depth: int | None) -> Bound:
        return Bound("sigmoid", needs_input=False)


class Tanh(Activation):
    """f(x) = tanh(x)."""

    name: ClassVar[str] = "tanh"

    def bind(self, depth: int | None) -> Bound:
        return Bound("tanh", needs_input=False)

    @property
    def gain(self) -> float:
        return 5.0 / 3.0


class Softmax(Activation):
    """f(x)_i = exp(x_i) / sum_j exp(x_j); on the output layer only, fused with cross entropy in training."""

    name: ClassVar[str] = "softmax"

    def bind(self, depth: int | None) -> Bound:
        if depth is not None:
            raise ValueError(f"activation must not be softmax on a hidden layer (hidden layer {depth})")
        return Bound("linear", needs_input=False)  # the loss or the network applies softmax


KINDS = Registry("activation", Activation, "a dict or an Activation")
for _kind in (Linear, ReLU, LeakyReLU, AllReLU, Sigmoid, Tanh, Softmax):
    KINDS.register(_kind)
KINDS.alias({"leaky": LeakyReLU, "identity": Linear, "logistic": Sigmoid})


def activation(what: str | Activation | dict[str, Any]) -> Activation:
    """The activation that ``what`` names: an object, a name (``"relu"``, ``"all-relu"``), or a ``config()``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    return KINDS.build(what)
