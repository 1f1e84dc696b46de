"""The network as a graph: what reaches what, in how many pieces, how well connected."""

from __future__ import annotations

from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from rewire._checks import boolean
from rewire.analysis.links import LayerLike, NetworkLike, layers_of, links_of, store_of
from rewire.network import Sequential

__all__ = ["Components", "components", "spectral_gap", "unused_inputs"]

SMALL = 1 << 16  # places of a layer up to which all singular values are computed at once


class Components(NamedTuple):
    """Connected components of a layered graph."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    sizes: NDArray[np.int64]  # (count,), neurons of each, the largest first
    labels: list[NDArray[np.int64]]  # the component of every input, then of every neuron of each layer


def unused_inputs(network: NetworkLike, *, dead_paths: bool = False) -> NDArray[np.int64]:
    """Input features that nobody listens to.

    Parameters
    ----------
    network : Sequential, layer with weights or WeightStore
    dead_paths : bool
        Also those that only neurons listen to whose every path ends before an output.

    Returns
    -------
    ndarray of int64
        Their indices, ascending. A link of weight zero is a link.
    """
    unused = np.ones(layers_of(network)[0].n_in, bool)
    unused[used_inputs(network, dead_paths=dead_paths)] = False
    return np.flatnonzero(unused)


def used_inputs(network: NetworkLike, *, dead_paths: bool = False) -> NDArray[np.int64]:
    """The other input features, ascending. Takes memory for the links there are, not for all inputs."""
    layers = layers_of(network)
    if not boolean("dead_paths", dead_paths):
        layers = layers[:1]
    heard = np.ones(layers[-1].n_out, bool)
    for layer in reversed(layers):
        used = _sources(layer, heard)
        if layer is not layers[0]:
            heard = np.zeros(layer.n_in, bool)
            heard[used] = True
    return used.astype(np.int64)


def _sources(layer: LayerLike, heard: NDArray[np.bool_]) -> NDArray[np.int32] | NDArray[np.int64]:
    """The inputs of a layer that its neurons marked in ``heard`` listen to, ascending."""
    store = store_of(layer)
    if store is None:
        return np.arange(layer.n_in if heard.any() else 0)
    groups = np.zeros(store.n_groups * store.group, bool)
    groups[: store.n_out] = heard
    slots = np.repeat(groups.reshape(-1, store.group).any(axis=1), np.diff(store.indptr()))
    sources = store.sources() if slots.all() else store.sources()[slots]
    if sources.size < store.n_in:
        return np.unique(sources)
    used = np.zeros(store.n_in, bool)
    used[sources] = True
    return np.flatnonzero(used)


def components(network: NetworkLike) -> Components:
    """Connected components of the whole graph, links taken without direction. Needs SciPy.

    Parameters
    ----------
    network : Sequential, layer with weights or WeightStore

    Returns
    -------
    Components
        ``count``, ``sizes`` (count,), and ``labels``: one array for the inputs and one for each layer's
        neurons. Component 0 is the largest; a neuron without links is one by itself.
    """
    try:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components
    except ImportError as error:
        raise ImportError('components needs SciPy: pip install "rewire[sklearn]"') from error
    layers = layers_of(network)
    widths = [layers[0].n_in, *(layer.n_out for layer in layers)]
    ends = np.cumsum(widths)
    sources, targets = [], []
    for k, layer in enumerate(layers):
        links = links_of(layer)
        sources.append(links.cols + (ends[k] - widths[k]))
        targets.append(links.rows + ends[k])
    at, to = np.concatenate(sources), np.concatenate(targets)
    graph = coo_array((np.ones(at.size, bool), (at, to)), shape=(int(ends[-1]),) * 2)
    count, label = connected_components(graph, directed=False)
    sizes = np.bincount(label, minlength=count)
    order = np.argsort(-sizes, kind="stable")
    rank = np.empty(count, np.int64)
    rank[order] = np.arange(count)
    return Components(int(count), sizes[order].astype(np.int64), np.split(rank[label], ends[:-1]))


@overload
def spectral_gap(network: Sequential) -> NDArray[np.float64]: ...
@overload
def spectral_gap(network: LayerLike) -> float: ...
def spectral_gap(network: NetworkLike) -> float | NDArray[np.float64]:
    """How far a layer is from falling apart: 1 - sigma_2 of its normalised biadjacency matrix. Needs SciPy.

    M = D_out^(-1/2) A D_in^(-1/2), where A (n_out, n_in) is 1 at links and D holds the degrees; neurons
    without links are left out. Its largest singular value is 1, the second one lies in [0, 1].

    Parameters
    ----------
    network : Sequential, layer with weights or WeightStore

    Returns
    -------
    float
        1 for a full layer, 0 for one in two pieces or more, nan for one without links. Of a Sequential an
        array, layer by layer.

    Notes
    -----
    1 - sigma_2 is the second eigenvalue of the bipartite graph's normalised Laplacian (Chung, *Spectral Graph
    Theory*, 1997), which bounds how quickly anything spreads. A layer with a links into every neuron and b
    out of every input is a Ramanujan graph if sigma_2 <= (sqrt(a - 1) + sqrt(b - 1)) / sqrt(a b): no such
    large sparse graph does much better (Marcus, Spielman and Srivastava, Annals of Mathematics 182, 2015).
    Pal et al. (ICML 2022) and Hoang et al. (ICLR 2023) look at pruned networks in this way.
    """
    gaps = [_gap(layer) for layer in layers_of(network)]
    return np.array(gaps) if isinstance(network, Sequential) else gaps[0]


def _gap(layer: LayerLike) -> float:
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.linalg import LinearOperator, svds
    except ImportError as error:
        raise ImportError('spectral_gap needs SciPy: pip install "rewire[sklearn]"') from error
    links = links_of(layer)
    if not links.rows.size:
        return float("nan")
    # Neurons that have links, numbered anew.
    _, rows, fan_in = np.unique(links.rows, return_inverse=True, return_counts=True)
    _, cols, fan_out = np.unique(links.cols, return_inverse=True, return_counts=True)
    n_out, n_in = shape = fan_in.size, fan_out.size
    if rows.size == n_out * n_in:
        return 1.0
    values = 1.0 / np.sqrt(fan_in[rows] * fan_out[cols])
    m = csr_array((values, (rows, cols)), shape=shape)
    # The first pair of singular vectors is known; without it the second value comes first, and cannot be
    # missed even where it is 1 too.
    u, v = np.sqrt(fan_in / rows.size), np.sqrt(fan_out / rows.size)
    if n_out * n_in <= SMALL or min(shape) < 3:
        second = np.linalg.svd(m.toarray() - np.outer(u, v), compute_uv=False)[0]
    else:
        rest = LinearOperator(
            shape,
            matvec=lambda x: m @ x.ravel() - u * (v @ x.ravel()),
            rmatvec=lambda y: m.T @ y.ravel() - v * (u @ y.ravel()),
            dtype=np.float64,
        )
        start = np.random.Generator(np.random.Philox(0)).normal(size=min(shape))
        second = svds(rest, k=1, v0=start, return_singular_vectors=False)[0]
    return float(np.clip(1.0 - second, 0.0, 1.0))
