"""Restricted Boltzmann machines: units sampled, free energies, likelihoods. What is trained is a network.

A machine of binary units is a network of one layer, :class:`rewire.layers.FreeEnergy`. Products run through
the kernels of its store; here is what is asked of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import describe
from rewire._inputs import DenseSource, Source, as_source
from rewire.layers import Pass
from rewire.layers.free_energy import FreeEnergy, softplus
from rewire.network import Sequential

__all__ = ["LogPartition", "Machine"]

ROWS = 1024  # samples at a time
FLIPPED = 1 << 19  # sums of hidden units that are looked at together, one for each link and sample
FEW = 24  # units of the smaller side up to which all their states are gone through
STATES = 1 << 14  # of them at a time


class LogPartition(NamedTuple):
    """The logarithm of a machine's partition function Z.

    Attributes
    ----------
    value : float
    error : float
        Standard error of an estimate; 0 where all states were gone through.
    """

    value: float
    error: float


class Machine:
    """What can be asked of a restricted Boltzmann machine.

    Parameters
    ----------
    network : Sequential
        Of one layer, a `FreeEnergy`.
    threads : int, optional
        Results do not depend on it.
    """

    def __init__(self, network: Sequential, threads: int | None = None) -> None:
        if len(network.layers) != 1 or not isinstance(network.layers[0], FreeEnergy):
            raise TypeError(f"network must be one FreeEnergy layer, got {describe(network.layers)}")
        self.network, self.threads = network, threads
        self.layer: FreeEnergy = network.layers[0]
        self._ws = network.workspace()

    # --- products: of arrays of real numbers that somebody has checked, or of sources ------

    def hidden(self, v: NDArray[Any] | Source) -> NDArray[Any]:
        """P(h = 1 | v), shape (m, n_hidden)."""
        return self._product(v, self.layer.hidden_of, self.layer.n_in, self.layer.n_hidden)

    def visible(self, h: NDArray[Any] | Source) -> NDArray[Any]:
        """P(v = 1 | h), shape (m, n_in)."""
        return self._product(h, self.layer.visible_of, self.layer.n_hidden, self.layer.n_in)

    def sums(self, v: NDArray[Any] | Source) -> NDArray[Any]:
        """c + W v, shape (m, n_hidden)."""
        return self._product(v, self.layer.sums_of, self.layer.n_in, self.layer.n_hidden)

    def back(self, h: NDArray[Any]) -> NDArray[Any]:
        """W' h, shape (m, n_in)."""

        def product(x: _core.Tiles, p: Pass) -> _core.Tiles:
            return p.product_back((self.layer.index, "back"), self.layer.weight, x)

        return self._product(h, product, self.layer.n_hidden, self.layer.n_in)

    def _product(
        self,
        x: NDArray[Any] | Source,
        product: Callable[[_core.Tiles, Pass], _core.Tiles],
        n_in: int,
        n_out: int,
    ) -> NDArray[Any]:
        source, ws = x if isinstance(x, Source) else DenseSource(x), self._ws
        found = np.empty((source.n_samples, n_out), self.network.variable_dtype)
        for rows in _blocks(source.n_samples, ROWS):
            threads = self.network.threads_for(len(rows), self.threads)
            ws.shape(len(rows))
            inputs = ws.tiles("input" if n_in == self.layer.n_in else "states", n_in)
            source.pack(inputs, rows, None, None, threads)
            product(inputs, Pass(ws, threads=threads)).unpack(found[rows[0] : rows[-1] + 1], threads)
        return found

    # --- sampling -------------------------------------------------------------------------

    def draw(self, p: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
        """Units that are 1 with these probabilities, else 0."""
        return (rng.random(p.shape, np.float32) < p).astype(self.network.variable_dtype)

    def gibbs(
        self, h: NDArray[Any], steps: int, rng: np.random.Generator
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Visible and hidden units after some steps of Gibbs sampling, from hidden units."""
        v = h
        for _ in range(steps):
            v = self.draw(self.visible(h), rng)
            h = self.draw(self.hidden(v), rng)
        return v, h

    # --- how likely -----------------------------------------------------------------------

    def free_energy(self, v: NDArray[Any] | Source) -> NDArray[np.float64]:
        """F(v), shape (m,): P(v) = exp(-F(v)) / Z."""
        source = as_source(v, self.layer.n_in)
        found = np.empty(source.n_samples)
        for rows in _blocks(source.n_samples, ROWS):
            x = source.rows(rows)
            found[rows] = self.layer.energies(x, self.sums(x))
        return found

    def pseudo_likelihood(self, v: NDArray[Any] | Source) -> NDArray[np.float64]:
        """Sum over all visible units of log P(unit | the others), shape (m,).

        A unit that is flipped (v becomes 1 - v) changes the sums of those hidden units alone that it has a
        link to, so all of them together take the work of one product.
        """
        layer, source = self.layer, as_source(v, self.layer.n_in)
        rows, cols, weights = layer.weight.to_arrays()
        order = np.argsort(cols, kind="stable")
        rows, cols, weights = rows[order], cols[order], weights[order].astype(np.float64)
        linked, begins = np.unique(cols, return_index=True)
        found = np.empty(source.n_samples)
        for part in _blocks(source.n_samples, max(1, min(ROWS, FLIPPED // max(1, len(rows))))):
            x = source.rows(part)
            z, change = self.sums(x).astype(np.float64), 1.0 - 2.0 * x
            rise = change * layer.visible.values  # of -F, by unit
            if len(rows):
                others = softplus(z[:, rows] + change[:, cols] * weights) - softplus(z)[:, rows]
                rise[:, linked] += np.add.reduceat(others, begins, axis=1)
            found[part] = -softplus(rise).sum(axis=1)
        return found

    # --- the partition function -----------------------------------------------------------

    def log_partition(self) -> LogPartition:
        """Exactly, by all states of the units of the smaller side.

        Raises
        ------
        ValueError
            If both sides have too many.
        """
        layer = self.layer
        n, from_hidden = min((layer.n_hidden, True), (layer.n_in, False))
        if n > FEW:
            raise ValueError(
                f"exact sums need at most {FEW} visible or hidden units, got {layer.n_in} and "
                f"{layer.n_hidden}: estimate log Z with method='ais'"
            )
        parts = []
        for begin in range(0, 1 << n, STATES):
            numbers = np.arange(begin, min(begin + STATES, 1 << n))
            states = (numbers[:, None] >> np.arange(n) & 1).astype(np.float64)
            if from_hidden:
                sums = self.back(states).astype(np.float64) + layer.visible.values
                parts.append(_log_sum((states * layer.bias.values).sum(axis=1) + softplus(sums).sum(axis=1)))
            else:
                parts.append(_log_sum(-self.free_energy(states)))
        return LogPartition(_log_sum(np.array(parts)), 0.0)

    def annealed(self, chains: int, temperatures: int, rng: np.random.Generator) -> LogPartition:
        """An estimate by annealed importance sampling.

        Parameters
        ----------
        chains : int
            Independent estimates of Z, which are averaged.
        temperatures : int
            Machines in between, whose weights and hidden biases are those of this one times 1 / temperatures,
            2 / temperatures and so on.
        rng : Generator

        Notes
        -----
        Salakhutdinov, Murray, *On the Quantitative Analysis of Deep Belief Networks*, ICML 2008. The first
        machine has the visible biases of this one and no weights, so that its units are independent. The
        error is that of the mean of weights, by their spread (infinite for a single chain); an estimate whose
        chains have all missed a mode is too small, and its error too.
        """
        layer = self.layer
        b = layer.visible.values.astype(np.float64)
        v = self.draw(np.broadcast_to(_sigmoid(b), (chains, layer.n_in)), rng)
        weight, before = np.zeros(chains), 0.0
        for beta in np.arange(1, temperatures + 1) / temperatures:
            z = self.sums(v).astype(np.float64)
            weight += (softplus(beta * z) - softplus(before * z)).sum(axis=1)
            if beta < 1.0:
                h = self.draw(_sigmoid(beta * z), rng)
                v = self.draw(_sigmoid(beta * self.back(h).astype(np.float64) + b), rng)
            before = float(beta)
        first = float(softplus(b).sum()) + layer.n_hidden * float(np.log(2.0))
        value = _log_sum(weight) - float(np.log(chains))
        ratios = np.exp(weight - weight.max())
        deviation = float(ratios.std(ddof=1) / ratios.mean()) if chains > 1 else np.inf
        return LogPartition(first + value, deviation / float(np.sqrt(chains)))


def _blocks(n: int, size: int) -> Iterator[NDArray[np.int64]]:
    """Numbers of rows, some at a time."""
    for first in range(0, n, size):
        yield np.arange(first, min(first + size, n))


def _sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-softplus(-x))


def _log_sum(x: NDArray[np.float64]) -> float:
    """log of the sum of exp(x)."""
    top = float(x.max())
    return top + float(np.log(np.exp(x - top).sum()))
