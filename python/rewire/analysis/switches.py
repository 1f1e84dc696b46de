"""A network of rectifiers as a system of switched linear maps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire._checks import float_vector, one_of_types
from rewire._inputs import as_source
from rewire.layers import TwoSided
from rewire.layers.affine import Affine, compose, diagonal
from rewire.network import Sequential

__all__ = ["LinearMap", "Visits", "linear_at", "visited_maps", "visited_sides"]


class LinearMap(NamedTuple):
    """The linear map that a network is for one input.

    Attributes
    ----------
    matrix : scipy.sparse.csr_array, shape (n_out, n_in)
    offset : ndarray of float64, shape (n_out,)
        ``matrix @ x + offset`` are the network's outputs; before the softmax or sigmoid, if it ends in one.
    switches : tuple of ndarray of int8
        For every layer in which values are switched, the piece of its function that each value lies on: 1
        above the (right) knee, 0 below it, -1 left of a second knee; 1 for a winner of k-winners, else 0.
    """

    matrix: Any
    offset: NDArray[np.float64]
    switches: tuple[NDArray[np.int8], ...]

    def __call__(self, x: ArrayLike) -> NDArray[np.float64]:
        """``matrix @ x + offset``."""
        found: NDArray[np.float64] = self.matrix @ np.asarray(x, np.float64) + self.offset
        return found


class Visits(NamedTuple):
    """How many different linear maps a network is on a data set.

    Attributes
    ----------
    maps : int
        Different states of all switches together.
    samples : int
    counts : ndarray of int64, shape (maps,)
        Samples of each map, most visited first.
    upper : tuple of ndarray of float64
        For every layer in which values are switched, the fraction of samples in which each value lies on the
        uppermost piece: 0 and 1 are switches that never move.
    """

    maps: int
    samples: int
    counts: NDArray[np.int64]
    upper: tuple[NDArray[np.float64], ...]


def linear_at(network: Sequential, x: ArrayLike) -> LinearMap:
    """The linear map that a network is for one input, and the switches that make it so.

    A rectifier is a switch: open or closed, it passes its input on by a fixed factor. With the states of all
    switches known, a network is a product of sparse matrices: one matrix, for this input and for all others
    that leave the switches as they are.

    Parameters
    ----------
    network : Sequential
        Of layers whose functions are made of straight pieces: with ReLU, leaky, All-ReLU, abs or thresholded
        ReLU or without an activation, SReLU, PReLU, TwoSided, KWinners, Mix, SwitchNet4, dropout, batch
        normalisation, and composites of these. The last layer's softmax or sigmoid is left out.
    x : array-like, shape (n_in,)
        Features, as ``predict`` takes them.

    Returns
    -------
    LinearMap
        In float64: equal to the network's outputs up to the rounding of these.

    Raises
    ------
    TypeError
        If a layer is no piecewise linear function of one sample, as tanh, GELU, SiLU and layer normalisation
        are not; it is named.
    ImportError
        Without SciPy.

    Notes
    -----
    The view of a ReLU network as switched linear projections is that of S. O'Connor (*ReLU as a switch*,
    Numenta forum); Montufar, Pascanu, Cho, Bengio, *On the Number of Linear Regions of Deep Neural Networks*,
    NeurIPS 2014, count the pieces.

    Examples
    --------
    >>> import numpy as np, rewire as rw
    >>> net = rw.Sequential([rw.Sparse(64, 100, activation="relu"), rw.Sparse(100, 10)], seed=0)
    >>> x = np.linspace(0, 1, 64)
    >>> found = rw.analysis.linear_at(net, x)
    >>> bool(np.allclose(found(x), net.predict(x[None])[0], atol=1e-5))
    True
    """
    _checked(network)
    x = float_vector("x", x, network.n_in)
    parts = _parts(network, x)
    whole = compose(parts, network.n_in)
    switches = tuple(part.pieces for part in parts if part.pieces.size)
    return LinearMap(whole.matrix(network.n_in), whole.offset, switches)


def visited_maps(network: Sequential, X: ArrayLike) -> Visits:
    """How many different linear maps a network is on these samples.

    Parameters
    ----------
    network : Sequential
        As for :func:`linear_at`.
    X : array-like or SciPy CSR, shape (n_samples, n_in)

    Returns
    -------
    Visits

    Raises
    ------
    TypeError, ValueError
        As :func:`linear_at`; for data that ``predict`` refuses.
    """
    _checked(network)
    source = as_source(X, network.n_in, "X")
    seen: dict[bytes, int] = {}
    upper: list[NDArray[np.float64]] = []
    for row in range(source.n_samples):
        pieces = [p.pieces for p in _parts(network, source.rows(np.array([row]))[0]) if p.pieces.size]
        key = b"".join(p.tobytes() for p in pieces)
        seen[key] = seen.get(key, 0) + 1
        if not upper:
            upper = [np.zeros(p.size) for p in pieces]
        for total, p in zip(upper, pieces, strict=True):
            total += p == 1
    counts = np.sort(np.fromiter(seen.values(), np.int64, len(seen)))[::-1]
    found = tuple(total / source.n_samples for total in upper)
    return Visits(len(seen), source.n_samples, counts, found)


def visited_sides(network: Sequential, X: ArrayLike) -> dict[str, NDArray[np.int64]]:
    """How many samples each neuron sees on each side of zero, before every `rewire.TwoSided`.

    Parameters
    ----------
    network : Sequential
        With such layers, at any depth; all others may be of any kind.
    X : array-like or SciPy CSR, shape (n_samples, n_in)

    Returns
    -------
    dict of str to ndarray of int64, shape (2, n)
        By the layer's name: samples with x > 0, and with x < 0. A side that is never visited has weights
        that nothing uses.

    Raises
    ------
    TypeError, ValueError
        If the network has no such layer; for data that ``predict`` refuses.

    Examples
    --------
    >>> import numpy as np, rewire as rw
    >>> net = rw.Sequential([rw.TwoSided(1), rw.Sparse(2, 1)], seed=0)
    >>> rw.analysis.visited_sides(net, np.array([[2.0], [3.0], [-1.0], [0.0]]))
    {'layers.0': array([[2],
           [1]])}
    """
    _checked(network)
    layers = [layer for top in network.layers for layer in top.tree() if isinstance(layer, TwoSided)]
    if not layers:
        raise ValueError("network must have a TwoSided layer, got one without")
    source = as_source(X, network.n_in, "X")
    network.check_inputs(source)
    found = {layer.name: np.zeros((2, layer.n_in), np.int64) for layer in layers}
    ws = network.workspace()
    p = network.passing(ws)
    p.watched = True
    size = network.batch_for(source.n_samples, None)
    with network.gate.reading("visited_sides"):
        for start in range(0, source.n_samples, size):
            rows = np.arange(start, min(start + size, source.n_samples))
            network.forward(network.load_batch(ws, source, rows, 1), p)
            for layer in layers:
                visited = (p.output(layer).array() != 0).sum(axis=(0, 2))
                found[layer.name] += visited.reshape(2, -1)
    return found


def _checked(network: Any) -> None:
    one_of_types("network", network, Sequential, "a Sequential")


def _parts(network: Sequential, x: NDArray[np.float64]) -> list[Affine]:
    """What each layer is for this input, with the scaling of features and targets as parts of their own."""
    found: list[Affine] = []
    if network.standardizer is not None:
        mean, scale = network.standardizer.mean, network.standardizer.scale
        found.append(diagonal(scale, -mean * scale))
        x = (x - mean) * scale
    for layer in network.layers:
        part = layer.affine_at(x, final=layer is network.layers[-1])
        found.append(part)
        x = part.of(x)
    if (by := network.target_standardizer) is not None:
        found.append(diagonal(1.0 / by.scale, by.mean))
    return found
