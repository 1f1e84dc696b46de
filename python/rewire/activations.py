"""Activation functions: what a layer asks for, and what the core computes.

An activation is a small value object. A network *binds* it to a layer's depth,
which turns it into the core's terms (:class:`Bound`): All-ReLU is a leaky ReLU
whose slope alternates in sign, softmax is left to the loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, field
from typing import Any, ClassVar

from rewire._checks import choice, number
from rewire._record import record
from rewire._registry import Registry

__all__ = [
    "GELU", "Abs", "Activation", "AllReLU", "Bound", "LeakyReLU", "Linear", "ReLU", "SiLU", "Sigmoid",
    "Softmax", "Tanh", "ThresholdedReLU", "activation",
]  # fmt: skip

GAIN_GELU, GAIN_SILU = 1.468011, 1.558760  # see Activation.gain


@record
class Bound:
    """An activation in the core's terms.

    ``needs_z`` has no default: where the derivative cannot be told from the output and this says False,
    a layer keeps no z for backward and learns from wrong gradients without a word.
    """

    code: str  # a key of `_ACTS` in the binding: "linear", "relu", "leaky" and so on
    slope: float = 0.0  # of "leaky"; of "thresholded" the threshold
    needs_z: bool = field(kw_only=True)  # whether `activate_back` reads z of `activate`, not its output y

    @property
    def switch(self) -> tuple[float, float] | None:
        """A point, and a factor: f(z) is z above the one and z times the other elsewhere. Or None."""
        return {
            "relu": (0.0, 0.0),
            "leaky": (0.0, self.slope),
            "thresholded": (self.slope, 0.0),
        }.get(self.code)


@record
class Activation:
    """Base of all activations: ``name`` for files, ``gain`` for initialisers.

    Kinds without fields need not be decorated: they are equal if their classes are the same.
    """

    name: ClassVar[str] = ""
    hidden: ClassVar[bool] = True  # whether hidden layers may have it
    outputs_a_neuron: ClassVar[int] = 1

    def bind(self, depth: int | None) -> Bound:
        """The core's terms for the ``depth``-th hidden weight layer (1 first), or the output (None)."""
        raise NotImplementedError

    def layer(self) -> Any:
        """A new layer that computes it, after the one with the weights; None where that one does."""
        return None

    def body(self, sizes: Sequence[int], dropout: float) -> list[Any]:
        """New layers in the place of all hidden ones, their matrices included; none where these have some.

        They take ``sizes[0]`` values, and stand for hidden layers of the other sizes.
        """
        return []

    def width(self, wanted: int, n_in: int) -> int:
        """Of a hidden layer in a network of ``n_in`` inputs: the widest it can have, at most ``wanted``.

        Where it can have none as narrow, the narrowest.
        """
        return max(1, wanted)

    @property
    def gain(self) -> float:
        """Factor that keeps the variance of signals through the layer (as torch's ``calculate_gain``).

        Where torch has none: the g with E f(g z)^2 = 1 for a standard normal z.
        """
        return 1.0

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`activation` reads it back."""
        return {"name": self.name, **asdict(self)}


def _leaky(slope: float) -> Bound:
    """With a slope <= 0 the sign of the output does not tell the side of 0 that the input was on."""
    return Bound("leaky", slope, needs_z=slope <= 0.0)


class Linear(Activation):
    """f(x) = x."""

    name: ClassVar[str] = "linear"

    def bind(self, depth: int | None) -> Bound:
        return Bound("linear", needs_z=False)


class ReLU(Activation):
    """f(x) = max(x, 0)."""

    name: ClassVar[str] = "relu"

    def bind(self, depth: int | None) -> Bound:
        return Bound("relu", needs_z=False)

    @property
    def gain(self) -> float:
        return math.sqrt(2.0)


@record
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


@record
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


class Abs(Activation):
    """f(x) = |x|: a leaky ReLU of slope -1. The gradient at 0 is -1, that of the left side."""

    name: ClassVar[str] = "abs"

    def bind(self, depth: int | None) -> Bound:
        return _leaky(-1.0)


@record
class ThresholdedReLU(Activation):
    """f(x) = x for x > theta, 0 otherwise. It jumps at theta.

    Parameters
    ----------
    theta : float
        At least 0, not trained.

    Notes
    -----
    Konda, Memisevic, Krueger, *Zero-bias autoencoders and the benefits of co-adapting features*, ICLR 2015,
    where theta is 1.
    """

    theta: float = 1.0
    name: ClassVar[str] = "thresholded-relu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", number("theta", self.theta, low=0.0))

    def bind(self, depth: int | None) -> Bound:
        return Bound("thresholded", self.theta, needs_z=False)

    @property
    def gain(self) -> float:
        """Found by halving an interval: with a threshold it is no closed formula."""

        def passed(gain: float) -> float:
            far = self.theta / gain
            density = math.exp(-far * far / 2.0) / math.sqrt(2.0 * math.pi)
            return gain * gain * (math.erfc(far / math.sqrt(2.0)) / 2.0 + far * density)

        low, high = 1.0, math.sqrt(2.0) + self.theta
        for _ in range(60):
            middle = (low + high) / 2.0
            low, high = (middle, high) if passed(middle) < 1.0 else (low, middle)
        return high


@record
class GELU(Activation):
    """f(x) = x P(x), P being the standard normal distribution: the Gaussian error linear unit.

    Parameters
    ----------
    approximate : {"none", "tanh"}
        ``"none"``: as above, with an error of at most 8 units of the last place for x > 0 and of
        8 + x^2 for x < 0. ``"tanh"``: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which differs from
        that by up to 0.0005. The words are those of torch.

    Notes
    -----
    Hendrycks, Gimpel, *Gaussian Error Linear Units*, arXiv:1606.08415.
    """

    approximate: str = "none"
    name: ClassVar[str] = "gelu"

    def __post_init__(self) -> None:
        choice("approximate", self.approximate, ("none", "tanh"))

    def bind(self, depth: int | None) -> Bound:
        return Bound("gelu" if self.approximate == "none" else "gelu_tanh", needs_z=True)

    @property
    def gain(self) -> float:
        return GAIN_GELU


class SiLU(Activation):
    """f(x) = x / (1 + exp(-x)): the sigmoid linear unit, also called swish.

    Notes
    -----
    Elfwing, Uchibe, Doya, *Sigmoid-weighted linear units for neural network function approximation in
    reinforcement learning*, Neural Networks 107 (2018).
    """

    name: ClassVar[str] = "silu"

    def bind(self, depth: int | None) -> Bound:
        return Bound("silu", needs_z=True)

    @property
    def gain(self) -> float:
        return GAIN_SILU


class Sigmoid(Activation):
    """f(x) = 1 / (1 + exp(-x))."""

    name: ClassVar[str] = "sigmoid"

    def bind(self, depth: int | None) -> Bound:
        return Bound("sigmoid", needs_z=False)


class Tanh(Activation):
    """f(x) = tanh(x)."""

    name: ClassVar[str] = "tanh"

    def bind(self, depth: int | None) -> Bound:
        return Bound("tanh", needs_z=False)

    @property
    def gain(self) -> float:
        return 5.0 / 3.0


class Softmax(Activation):
    """f(x)_i = exp(x_i) / sum_j exp(x_j); on the output layer only, fused with cross entropy in training."""

    name: ClassVar[str] = "softmax"
    hidden: ClassVar[bool] = False

    def bind(self, depth: int | None) -> Bound:
        if depth is not None:
            raise ValueError(f"activation must not be softmax on a hidden layer (hidden layer {depth})")
        return Bound("linear", needs_z=False)  # the loss or the network applies softmax


KINDS = Registry("activation", Activation, "a dict or an Activation")
for _kind in (
    Linear, ReLU, LeakyReLU, AllReLU, Abs, ThresholdedReLU, GELU, SiLU, Sigmoid, Tanh, Softmax,
):  # fmt: skip
    KINDS.register(_kind)
KINDS.alias({"leaky": LeakyReLU, "identity": Linear, "logistic": Sigmoid, "swish": SiLU})


def activation(what: str | Activation | dict[str, Any]) -> Activation:
    """The activation that ``what`` names: an object, a name (``"relu"``, ``"all-relu"``), or a ``config()``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    return KINDS.build(what)
