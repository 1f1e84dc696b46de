"""Initial weights, drawn where a plan's new links are.

A value depends on (seed, layer, step, row, source) alone, so a link gets the
same weight whoever comes with it. "Fan-in" is by default the number of sources
a neuron *really* has: with the dense count a sparse layer starts far too small.
"""

from __future__ import annotations

import math
from dataclasses import asdict, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice, number
from rewire._record import record
from rewire._registry import Registry

__all__ = ["WITHIN_FAN_IN", "Fixed", "He", "Initializer", "Normal", "Xavier", "Zeros", "initializer"]

WITHIN_FAN_IN = 3.0**-0.5  # the gain of He("uniform") whose draws end at +-1 / sqrt(fan-in)


@record
class Draw:
    """A distribution in the core's terms: ``scale`` is divided by sqrt(real fan-in) when ``real_fan``."""

    kind: str  # "constant" | "uniform" (in [-scale, scale)) | "normal" (deviation scale)
    scale: float
    real_fan: bool = False


@record
class Initializer:
    """Base of all initialisers."""

    name: ClassVar[str] = ""

    def draw_for(self, n_in: int, n_out: int, links: float, gain: float) -> Draw:
        """The distribution for a layer of ``links`` connections whose activation has ``gain``."""
        raise NotImplementedError

    def draw(
        self,
        plan: _core.Plan,
        links: float,
        gain: float,
        *,
        seed: int,
        stream: int,
        step: int,
        threads: int = 1,
    ) -> None:
        """Give the new links of ``plan`` their weights.

        ``links`` is what the layer will hold; ``(seed, stream, step)`` names the random numbers.
        """
        d = self.draw_for(plan.store.n_in, plan.store.n_out, links, gain)
        plan.draw_weights(d.kind, d.scale, d.real_fan, seed, stream, step, threads)

    def fill(self, weights: NDArray[Any], gain: float, rng: np.random.Generator) -> None:
        """Fill a dense ``(n_out, n_in)`` matrix in place."""
        n_out, n_in = weights.shape
        d = self.draw_for(n_in, n_out, float(n_in * n_out), gain)
        _drawn(d.kind, d.scale / math.sqrt(n_in) if d.real_fan else d.scale, weights, rng)

    def fill_biases(
        self, biases: NDArray[Any], fan_in: NDArray[Any], n_in: int, gain: float, rng: np.random.Generator
    ) -> None:
        """Fill biases ``(n_out,)`` in place: a neuron's is drawn as a weight into it is, by its own fan-in.

        A neuron without sources counts as one with a single source.
        """
        d = self.draw_for(n_in, len(biases), float(fan_in.sum()), gain)
        _drawn(d.kind, d.scale / np.sqrt(np.maximum(fan_in, 1)) if d.real_fan else d.scale, biases, rng)

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`initializer` reads it back."""
        return {"name": self.name, **asdict(self)}


def _drawn(
    kind: str, scale: float | NDArray[np.float64], values: NDArray[Any], rng: np.random.Generator
) -> None:
    """Values of a draw, in place; the scale may be one for each of them."""
    if kind == "constant":
        values[...] = scale
    elif kind == "normal":
        rng.standard_normal(out=values, dtype=values.dtype)
        values *= scale
    else:
        rng.random(out=values, dtype=values.dtype)
        values -= 0.5
        values *= 2.0 * scale


def _scale(distribution: str, deviation: float) -> float:
    """The core's scale for a standard deviation."""
    return deviation if distribution == "normal" else math.sqrt(3.0) * deviation


@record
class He(Initializer):
    """Standard deviation gain / sqrt(fan-in).

    Parameters
    ----------
    distribution : {"normal", "uniform"}
    fan : {"real", "dense"}
        Sources the neuron has, or all n_in. ``He("uniform", "dense", gain=2**0.5)`` is the
        ``he_uniform`` of the SET authors' code, +-sqrt(6 / n_in).
    gain : float or None
        ``None`` takes the activation's: sqrt(2) for ReLU, sqrt(2 / (1 + slope^2)) for leaky kinds,
        5/3 for tanh, 1 otherwise.

    Notes
    -----
    He, Zhang, Ren, Sun, *Delving Deep into Rectifiers*, ICCV 2015.
    """

    distribution: str = "normal"
    fan: str = "real"
    gain: float | None = None
    name: ClassVar[str] = "he"

    def __post_init__(self) -> None:
        choice("distribution", self.distribution, ("normal", "uniform"))
        choice("fan", self.fan, ("real", "dense"))
        if self.gain is not None:
            object.__setattr__(self, "gain", number("gain", self.gain, low=0.0))

    def draw_for(self, n_in: int, n_out: int, links: float, gain: float) -> Draw:
        scale = _scale(self.distribution, gain if self.gain is None else self.gain)
        if self.fan == "real":
            return Draw(self.distribution, scale, real_fan=True)
        return Draw(self.distribution, scale / math.sqrt(n_in))


@record
class Xavier(Initializer):
    """Standard deviation gain * sqrt(2 / (fan-in + fan-out)).

    Parameters
    ----------
    distribution : {"uniform", "normal"}
    fan : {"real", "dense"}
        ``"real"`` takes the mean numbers of sources and of listeners, links / n_out and links / n_in.
    gain : float

    Notes
    -----
    Glorot, Bengio, *Understanding the difficulty of training deep feedforward neural networks*, AISTATS 2010.
    """

    distribution: str = "uniform"
    fan: str = "real"
    gain: float = 1.0
    name: ClassVar[str] = "xavier"

    def __post_init__(self) -> None:
        choice("distribution", self.distribution, ("normal", "uniform"))
        choice("fan", self.fan, ("real", "dense"))
        object.__setattr__(self, "gain", number("gain", self.gain, low=0.0))

    def draw_for(self, n_in: int, n_out: int, links: float, gain: float) -> Draw:
        fans = float(n_in + n_out) if self.fan == "dense" else links / n_out + links / n_in
        deviation = self.gain * math.sqrt(2.0 / fans) if fans > 0.0 else 0.0
        return Draw(self.distribution, _scale(self.distribution, deviation))


@record
class Normal(Initializer):
    """Normal with a given standard deviation (SET's multilayer perceptrons: 0.1)."""

    std: float = 0.1
    name: ClassVar[str] = "normal"

    def __post_init__(self) -> None:
        object.__setattr__(self, "std", number("std", self.std, low=0.0))

    def draw_for(self, n_in: int, n_out: int, links: float, gain: float) -> Draw:
        return Draw("normal", self.std)


@record
class Fixed(Initializer):
    """The same value everywhere."""

    value: float = 0.0
    name: ClassVar[str] = "fixed"

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number("value", self.value))

    def draw_for(self, n_in: int, n_out: int, links: float, gain: float) -> Draw:
        return Draw("constant", self.value)


@record
class Zeros(Fixed):
    """0 everywhere: the default for links that are grown in training."""

    value: float = field(default=0.0, init=False, repr=False)


KINDS = Registry("init", Initializer, "a number, a dict or an Initializer")
for _kind in (He, Xavier, Normal, Fixed):
    KINDS.register(_kind)
KINDS.alias({f"he-{_each}": partial(He, _each) for _each in ("normal", "uniform")})
KINDS.alias({f"xavier-{_each}": partial(Xavier, _each) for _each in ("normal", "uniform")})
KINDS.alias({"zeros": Zeros, "fan-in": partial(He, "uniform", gain=WITHIN_FAN_IN)})


def initializer(what: str | float | Initializer | dict[str, Any], name: str = "init") -> Initializer:
    """The initialiser that ``what`` names.

    Parameters
    ----------
    what : str, float, Initializer or dict
        ``"he"``, ``"he-uniform"``, ``"xavier"``, ``"xavier-normal"``, ``"normal"``, ``"zeros"``;
        ``"fan-in"``, uniform within +-1 / sqrt(fan-in), as PyTorch begins; a number for the same value
        everywhere; an object; or a ``config()``.
    name : str
        What the argument is called in an error.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if isinstance(what, (int, float, np.integer, np.floating)) and not isinstance(what, bool):
        return Fixed(number(name, what))
    return KINDS.build(what, name)
