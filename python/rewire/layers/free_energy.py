"""The free energy of a restricted Boltzmann machine, as a layer with one output."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import MAX_NEURONS, integer
from rewire.connectivity import Connectivity
from rewire.initializers import Initializer, Normal
from rewire.layers.base import register_layer
from rewire.layers.mixing import Mixing
from rewire.layers.passing import Pass
from rewire.parameters import DenseParameter, SparseParameter
from rewire.store import WeightStore

__all__ = ["FreeEnergy"]


@register_layer
class FreeEnergy(Mixing):
    """F(v) = -b'v - sum over hidden units of log(1 + exp(c + W v)): one output, small for likely inputs.

    A restricted Boltzmann machine with binary units gives v the probability exp(-F(v)) / Z. Its parameters
    are trained by lowering the free energy of data and raising that of samples of the machine:
    contrastive divergence, see :class:`~rewire.SparseBernoulliRBM`.

    Parameters
    ----------
    n_in, n_hidden : int
        Visible and hidden units.
    epsilon, density, fan_in, links : optional
        How many links there are between them, at most one: see :class:`rewire.Sparse`.
    init : str, float or Initializer
        Initial weights.
    connectivity : str or Connectivity
    group : {1, 2, 4, 8}
        Neighbouring hidden units that share one list of visible ones.

    Attributes
    ----------
    weight : SparseParameter
        W, shape (n_hidden, n_in).
    bias : DenseParameter, shape (n_hidden,)
        c. Biases do not decay.
    visible : DenseParameter, shape (n_in,)
        b.

    Notes
    -----
    Hinton, *Training Products of Experts by Minimizing Contrastive Divergence*, Neural Computation 14 (2002).
    The gradient of F for W is -P(h = 1 | v) v', and the other two are -P(h = 1 | v) and -v.
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        *,
        epsilon: float | None = None,
        density: float | None = None,
        fan_in: int | None = None,
        links: int | None = None,
        init: str | float | Initializer | dict[str, Any] | None = None,
        connectivity: str | Connectivity = "random",
        group: int = 1,
    ) -> None:
        self.n_in = integer("n_in", n_in, low=1, high=MAX_NEURONS)
        self.n_hidden = integer("n_hidden", n_hidden, low=1, high=MAX_NEURONS)
        self.n_out = 1
        self.weight = SparseParameter(
            n_in,
            n_hidden,
            epsilon=epsilon,
            density=density,
            fan_in=fan_in,
            links=links,
            init=Normal(0.01) if init is None else init,
            connectivity=connectivity,
            group=group,
        )
        self.bias = DenseParameter(n_hidden, decays=False)
        self.visible = DenseParameter(n_in, axes=("in",), decays=False)

    @property
    def init(self) -> Initializer:
        """The initial weights."""
        return self.weight.init

    @property
    def store(self) -> WeightStore:
        """The connections."""
        if not self.weight.built:
            raise AttributeError("a FreeEnergy layer has no store until it stands in a Sequential")
        return self.weight.store

    # --- the machine ----------------------------------------------------------------------

    def hidden_of(self, v: _core.Tiles, p: Pass) -> _core.Tiles:
        """P(h = 1 | v), by sample."""
        h = p.tiles((self.index, "hidden"), self.n_hidden)
        bias, scratch = self.bias.padded, p.ws.scratch
        self.weight.forward(v, h, p.threads, bias=bias, activation="sigmoid", scratch=scratch)
        return h

    def sums_of(self, v: _core.Tiles, p: Pass) -> _core.Tiles:
        """c + W v, by sample."""
        return p.product((self.index, "z"), self.weight, v, self.bias)

    def visible_of(self, h: _core.Tiles, p: Pass) -> _core.Tiles:
        """P(v = 1 | h), by sample."""
        v = p.product_back((self.index, "visible"), self.weight, h)
        _core.activate(self.visible.padded, "sigmoid", 0.0, v, None, p.threads)
        return v

    def energies(self, v: NDArray[Any], z: NDArray[Any]) -> NDArray[np.float64]:
        """F of samples (rows of v) with their sums z = c + W v, in float64."""
        found: NDArray[np.float64] = -(v.astype(np.float64) * self.visible.values).sum(axis=1)
        return found - softplus(z.astype(np.float64)).sum(axis=1)

    # --- forward, backward ------------------------------------------------------------------

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        z = self.sums_of(x, p)
        p.save(self, z)
        return p.pack((self.index, "y"), self.energies(p.numbers(x), p.numbers(z))[:, None])

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        (dz,), by = p.saved(self), dy.array()
        _core.activate(None, "sigmoid", 0.0, dz, None, p.threads)
        _scale(dz, by)
        dv = p.tiles((self.index, "dv"), self.n_in)
        dv.array()[...] = x.array()
        _scale(dv, by)
        dx = None
        if need_dx:
            dx = p.product_back((self.index, "dx"), self.weight, dz)
            dx.array()[...] -= by * self.visible.values[:, None]
        p.taker(self.visible).bias(self.visible, dv, p)
        p.taker(self.bias).bias(self.bias, dz, p)
        p.learn_links(self.weight, x, dz)
        return dx

    # --- saving -----------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        return {
            "type": "FreeEnergy", "n_in": self.n_in, "n_hidden": self.n_hidden,
            "init": self.weight.init.config(), "group": self.weight.group, **self.weight.sizes(),
        }  # fmt: skip

    def _said(self) -> dict[str, Any]:
        return {**self.config(), **self.weight.said()}


def _scale(tiles: _core.Tiles, by: NDArray[Any]) -> None:
    """Multiply the values of each sample by its number, negated; those that fill up tiles become zero."""
    values = tiles.array()
    values *= -by


def softplus(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(1 + exp(x))."""
    found: NDArray[np.float64] = np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x)))
    return found
