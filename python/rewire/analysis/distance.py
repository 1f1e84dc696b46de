"""How far two topologies are from each other, link by link or up to a renaming of hidden neurons."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewire._checks import choice
from rewire.analysis.links import LinkList, NetworkLike, links_of, weights_of
from rewire.network import Sequential
from rewire.reachability import origins

__all__ = ["overlap", "topology_distance", "topology_distances"]


def overlap(a: NetworkLike, b: NetworkLike) -> float:
    """Jaccard index of two sets of links: those that both have over those that either has.

    Parameters
    ----------
    a, b : Sequential, layer with weights, parameter or WeightStore
        With weights of the same shapes.

    Returns
    -------
    float
        1 for equal sets (also when both are empty), 0 for disjoint ones.

    Raises
    ------
    TypeError, ValueError
        If they cannot be compared.
    """
    both = either = 0
    for x, y in _pairs(a, b):
        common = np.intersect1d(x.entries(), y.entries(), assume_unique=True).size
        both += common
        either += x.rows.size + y.rows.size - common
    return both / either if either else 1.0


def topology_distance(a: NetworkLike, b: NetworkLike, *, matching: str = "optimal") -> float:
    """Neural Network Sparse Topology Distance (NNSTD): how much must be changed to turn one into the other.

    Hidden neurons have no names of their own, so neurons of one network are first matched with those of the
    other. The distance of a pair is the normalised edit distance of their sets of inputs: those that only one
    has, over those that either has (0 if both are empty). Of a layer it is the mean over the matched pairs,
    of a network the mean over layers. Layers are taken one by one: the matching of a layer renames the inputs
    of the next.

    Parameters
    ----------
    a, b : Sequential, layer with weights, parameter or WeightStore
        With weights of the same shapes.
    matching : {"optimal", "greedy"}
        Optimal, as published: least sum of distances, by SciPy's ``linear_sum_assignment``, in O(n_out^2)
        memory and up to O(n_out^3) time. Greedy, for wide layers: every neuron in turn takes the nearest one
        that is still free, in O(connections) memory; for one layer never less than optimal.

    Returns
    -------
    float
        In [0, 1]: 0 for equal networks, and for those that differ by a permutation of hidden neurons that
        have different inputs (neurons with equal inputs are told apart by nobody); 1 where no neuron of one
        shares an input with any of the other. Symmetric.

    Raises
    ------
    TypeError, ValueError
        If they cannot be compared. A layer between two with weights may permute neurons; one that mixes them,
        or does not say, is named.

    Notes
    -----
    Liu et al., *Topological Insights into Sparse Neural Networks*, ECML-PKDD 2020. As in their code, neurons
    of the last layer are matched like all others.
    """
    return float(topology_distances(a, b, matching=matching).mean())


def topology_distances(a: NetworkLike, b: NetworkLike, *, matching: str = "optimal") -> NDArray[np.float64]:
    """Layer by layer what `topology_distance` is the mean of.

    Returns
    -------
    ndarray of float64, shape (layers with weights,)
    """
    match = {"optimal": _optimal, "greedy": _greedy}[choice("matching", matching, ("optimal", "greedy"))]
    pairs = _pairs(a, b)
    # Where several matchings are equally good, the next layer may see a difference: which network comes first
    # must not decide.
    swap = next((first for first in (_first_difference(x, y) for x, y in pairs) if first), 0) > 0
    found = []
    names = np.arange(pairs[0][0].shape[1], dtype=np.int32)
    for (x, y), of_x, of_y in zip(pairs, _origins(a), _origins(b), strict=True):
        x, y = x._replace(cols=of_x[x.cols]), y._replace(cols=of_y[y.cols])
        if swap:
            x, y = y, x
        y = y._replace(cols=names[y.cols])
        partner, distance = match(x, y)
        found.append(distance)
        names = np.empty(partner.size, np.int32)
        names[partner] = np.arange(partner.size, dtype=np.int32)
    return np.array(found)


def _pairs(a: NetworkLike, b: NetworkLike) -> list[tuple[LinkList, LinkList]]:
    """The links of corresponding layers."""
    ours, theirs = weights_of(a, "a"), weights_of(b, "b")
    shapes = [[weights.shape for weights in matrices] for matrices in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"a and b must have layers of the same shapes, got {shapes[0]} and {shapes[1]}")
    return [(links_of(x), links_of(y)) for x, y in zip(ours, theirs, strict=True)]


def _origins(network: NetworkLike) -> list[NDArray[np.int32]]:
    """For every matrix of weights, which neuron of the one before each of its inputs is."""
    if not isinstance(network, Sequential):
        return [np.arange(weights.shape[1], dtype=np.int32) for weights in weights_of(network)]
    found, begin = [], 0
    for layer, names in zip(network.weight_layers, network.weight_names, strict=True):
        at = network.position_of(network.parameters()[names[0]])
        if layer is not network.layers[at] or len(names) > 1:
            raise TypeError(f"{layer.label} is no single matrix of weights between two rows of neurons")
        between = network.layers[begin:at]
        found.append(origins(between, between[0].n_in if between else layer.n_in).astype(np.int32))
        begin = at + 1
    return found


def _first_difference(x: LinkList, y: LinkList) -> int:
    """-1, 0, 1: which of two sets of links comes first in a fixed order."""
    if x.rows.size != y.rows.size:
        return -1 if x.rows.size < y.rows.size else 1
    p, q = x.entries(), y.entries()
    unequal = p != q
    if not unequal.any():
        return 0
    at = int(np.argmax(unequal))
    return -1 if p[at] < q[at] else 1


def _optimal(x: LinkList, y: LinkList) -> tuple[NDArray[np.int64], float]:
    """Partners of the neurons of x in y with the least sum of distances, and the mean of these."""
    try:
        from scipy.optimize import linear_sum_assignment
        from scipy.sparse import csr_array
    except ImportError as error:
        raise ImportError(
            "matching='optimal' needs SciPy: pip install \"rewire[sklearn]\", or use matching='greedy'"
        ) from error
    a, b = (csr_array((np.ones(s.rows.size, np.int32), (s.rows, s.cols)), shape=s.shape) for s in (x, y))
    common = (a @ b.T).toarray()
    either = _fan_in(x)[:, None] + _fan_in(y) - common
    distance = np.where(either > 0, 1.0 - common / np.maximum(either, 1), 0.0)
    mine, partner = linear_sum_assignment(distance)
    return partner.astype(np.int64), float(distance[mine, partner].mean())


def _greedy(x: LinkList, y: LinkList) -> tuple[NDArray[np.int64], float]:
    """Partners in y, every neuron of x taking the nearest free one in turn; of equals the first."""
    n_out, n_in = x.shape
    size_x, size_y = _fan_in(x), _fan_in(y)
    mine = np.concatenate(([0], np.cumsum(size_x)))
    by_input = np.argsort(y.cols, kind="stable")
    listeners = y.rows[by_input]
    begin = np.searchsorted(y.cols[by_input], np.arange(n_in + 1))
    partner, free, total = np.full(n_out, -1, np.int64), np.ones(n_out, bool), 0.0
    for i in range(n_out):
        sharing = [listeners[begin[s] : begin[s + 1]] for s in x.cols[mine[i] : mine[i + 1]]]
        others, common = np.unique(np.concatenate(sharing or [listeners[:0]]), return_counts=True)
        common, others = common[free[others]], others[free[others]]
        if others.size:
            distance = 1.0 - common / (size_x[i] + size_y[others] - common)
            nearest = int(np.argmin(distance))
            partner[i], free[others[nearest]] = others[nearest], False
            total += distance[nearest]
    # What shares no input with anybody: those without inputs are equal, all others wholly different.
    left, right = np.flatnonzero(partner < 0), np.flatnonzero(free)
    left = left[np.argsort(size_x[left] > 0, kind="stable")]
    right = right[np.argsort(size_y[right] > 0, kind="stable")]
    partner[left] = right
    total += int(((size_x[left] > 0) | (size_y[right] > 0)).sum())
    return partner, total / n_out


def _fan_in(links: LinkList) -> NDArray[np.int64]:
    return np.bincount(links.rows, minlength=links.shape[0])
