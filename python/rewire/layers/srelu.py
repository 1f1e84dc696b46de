"""Activations whose shape each neuron learns: S-shaped and parametric rectifiers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice, describe, number
from rewire.layers.affine import Affine, diagonal
from rewire.layers.base import register_layer
from rewire.layers.elementwise import Elementwise
from rewire.layers.passing import Pass
from rewire.parameters import DenseParameter, Rescale

__all__ = ["PReLU", "SReLU"]

ALL_RELU = 0.6  # the slope that All-ReLU's authors use on Fashion-MNIST
_TAG = 0x5E1  # keeps the random numbers of starts apart from others


class Shaped(Elementwise):
    """Base of activations that are pieces of a line, as the core's S-shapes are.

    Attributes
    ----------
    shape : DenseParameter
        What is trained. Weight decay does not apply, nor do its values change in other units.
    """

    may_end = False
    keeps = True
    shape: DenseParameter
    knees: ClassVar[int]

    def pieces(self) -> NDArray[Any]:
        """The shapes in the core's terms: left knee, left slope, right knee, right slope, shape (4, n)."""
        raise NotImplementedError

    def build(self, *, seed: int, index: int, name: str, depth: int | None, dtype: str) -> None:
        super().build(seed=seed, index=index, name=name, depth=depth, dtype=dtype)
        self.first_side = -1.0 if depth is None or depth % 2 else 1.0  # of All-ReLU's slope, at this depth

    def hand_over(self, x: _core.Tiles, dy: _core.Tiles, terms: NDArray[Any], p: Pass) -> None:
        """Give the gradient of what is trained to the pass."""
        raise NotImplementedError

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        y = p.output(self) if p.keeping else p.ws.other(self.n_out, x)
        _core.srelu(x, self.pieces(), y, p.threads)
        return y

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        terms, dx = self.pieces(), None
        if need_dx:  # first: the shape may be another one once its gradient is handed over
            dx = p.ws.other(self.n_in, dy)
            _core.srelu_back(x, terms, dy, dx, p.threads)
        self.hand_over(x, dy, terms, p)
        return dx

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        tl, al, tr, ar = self.pieces().astype(np.float64)
        tr = np.maximum(tl, tr)
        left, right = x <= tl, (x > tl) & (x >= tr)
        slope = np.where(left, al, np.where(right, ar, 1.0))
        knee = np.where(left, tl, np.where(right, tr, 0.0))
        pieces = right.astype(np.int8)
        if self.knees == 2:
            pieces -= left
        return diagonal(slope, knee * (1.0 - slope), pieces)

    def rescaled(self, by: Rescale) -> list[Callable[[], Any]] | None:
        return None  # knees would have to move


@register_layer
class SReLU(Shaped):
    """An S-shaped rectifier: a line with two knees, which each neuron learns.

    f(x) = tl + al (x - tl) for x <= tl, x between the knees, tr + ar (x - tr) for x >= tr.

    Parameters
    ----------
    start : {"all-relu", "identity", "published"}
        Where shapes start. ``"all-relu"``: knees at 0 and 2, right slope 1, left slope -0.6 after the first
        hidden layer, 0.6 after the second, and so on: the network begins as one of All-ReLU. ``"identity"``:
        the same with left slope 1. ``"published"``: left knee 0, left slope uniform in (0, 1), right knee
        uniform in (0, 5), right slope 1, as in the code that was published with SET.
    slope : float >= 0
        All-ReLU's slope, for ``start="all-relu"``.

    Attributes
    ----------
    shape : DenseParameter, shape (4, n)
        Rows: tl, al, tr, ar. Without weight decay; with the learning rate of the weights.

    Notes
    -----
    It stands after a layer without an activation: ``[rw.Sparse(784, 1000), rw.SReLU()]``. A right knee that
    was trained to the left of the left one counts as lying on it: the function stays continuous.

    Jin et al., *Deep Learning with S-shaped Rectified Linear Activation Units*, AAAI 2016; the activation of
    Mocanu et al. (SET), 2018.

    Examples
    --------
    >>> import rewire as rw
    >>> net = rw.Sequential([rw.Sparse(64, 100), rw.SReLU(), rw.Sparse(100, 10, activation="softmax")])
    >>> net.layers[1].shape.values[:, 0]
    array([ 0. , -0.6,  2. ,  1. ], dtype=float32)
    """

    knees = 2

    def __init__(self, start: str = "all-relu", *, slope: float = ALL_RELU) -> None:
        self.start_shape = choice("start", start, ("all-relu", "identity", "published"))
        self.slope = number("slope", slope, low=0.0)

    def connect(self, n_in: int) -> None:
        super().connect(n_in)
        self.shape = DenseParameter((4, n_in), axes=(None, "out"), decays=False)

    @property
    def input_gain(self) -> float:  # type: ignore[override]
        squares = {"all-relu": self.slope**2, "identity": 1.0, "published": 1.0 / 3.0}
        return math.sqrt(2.0 / (1.0 + squares[self.start_shape]))

    def start(self) -> None:
        left, right = np.ones(self.n_in), np.full(self.n_in, 2.0)
        if self.start_shape == "all-relu":
            left *= self.first_side * self.slope
        elif self.start_shape == "published":
            rng = np.random.default_rng([self.network_seed, self.index, _TAG])
            left, right = rng.random(self.n_in), rng.uniform(0.0, 5.0, self.n_in)
        self.shape.values[...] = [np.zeros(self.n_in), left, right, np.ones(self.n_in)]
        self.shape.touch()

    def pieces(self) -> NDArray[Any]:
        return self.shape.values

    def hand_over(self, x: _core.Tiles, dy: _core.Tiles, terms: NDArray[Any], p: Pass) -> None:
        p.taker(self.shape).dense(
            self.shape, lambda room: _core.srelu_gradient(x, terms, dy, room, p.threads), p
        )

    def config(self) -> dict[str, Any]:
        return {"type": "SReLU", "start": self.start_shape, "slope": self.slope}


@register_layer
class PReLU(Shaped):
    """A parametric rectifier: x for x > 0, a x otherwise, where each neuron learns its slope a.

    Parameters
    ----------
    start : float or "all-relu"
        The slope at the start; ``"all-relu"``: -0.6 after the first hidden layer, 0.6 after the second, and
        so on.

    Attributes
    ----------
    shape : DenseParameter, shape (n,)
        The slopes. Without weight decay; with the learning rate of the weights.

    Notes
    -----
    He, Zhang, Ren, Sun, *Delving Deep into Rectifiers*, ICCV 2015, where slopes start at 0.25. It stands
    after a layer without an activation.
    """

    knees = 1

    def __init__(self, start: float | str = 0.25) -> None:
        if isinstance(start, str) and start != "all-relu":
            raise ValueError(f"start must be a number or 'all-relu', got {describe(start)}")
        self.start_slope = start if start == "all-relu" else number("start", start)

    def connect(self, n_in: int) -> None:
        super().connect(n_in)
        self.shape = DenseParameter(n_in, axes=("out",), decays=False)

    @property
    def input_gain(self) -> float:  # type: ignore[override]
        return math.sqrt(2.0 / (1.0 + self._slope**2))

    @property
    def _slope(self) -> float:
        """The slope at the start, up to the sign that alternates."""
        return ALL_RELU if self.start_slope == "all-relu" else float(self.start_slope)

    def start(self) -> None:
        side = self.first_side if self.start_slope == "all-relu" else 1.0
        self.shape.values[...] = side * self._slope
        self.shape.touch()

    def pieces(self) -> NDArray[Any]:
        slopes = self.shape.values
        found = np.zeros((4, self.n_in), slopes.dtype)
        found[1], found[3] = slopes, 1.0
        return found

    def hand_over(self, x: _core.Tiles, dy: _core.Tiles, terms: NDArray[Any], p: Pass) -> None:
        def fill(room: NDArray[Any]) -> None:
            found = p.ws.array((self.index, "gradient"), (4, self.n_in))
            _core.srelu_gradient(x, terms, dy, found, p.threads)
            room[: self.n_in] = found[1]

        p.taker(self.shape).dense(self.shape, fill, p)

    def config(self) -> dict[str, Any]:
        return {"type": "PReLU", "start": self.start_slope}
