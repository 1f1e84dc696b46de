"""The network as a graph: what reaches what, in how many pieces, how well connected."""

from __future__ import annotations

from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from rewire._checks import boolean
from rewire.analysis.links import MatrixLike, NetworkLike, Weights, links_of, parts_of, weights_of
from rewire.network import Sequential

__all__ = ["Components", "components", "spectral_gap", "unused_inputs"]

SMALL = 1 << 16  # places of a layer up to which all singular values are computed at once


class Components(NamedTuple):
    """Connected components of a layered graph."""

    count: int  # type: ignore[assignment]  # hides tuple.count, which nobody needs here
    sizes: NDArray[np.int64]  # (count,), neurons of each, the largest first
    labels: list[NDArray[np.int64]]  # the component of every input, then of every neuron of each layer


def unused_inputs(network: NetworkLike, *, dead_paths: bool = False) -> NDArray[np.int64]:
    """Input features that no neuron of the first layer with weights depends on.

    Parameters
    ----------
    network : Sequential, layer with weights, parameter or WeightStore
    dead_paths : bool
        Also those that no output depends on, because every path from them ends before.

    Returns
    -------
    ndarray of int64
        Their indices, ascending. A link of weight zero is a link.

    Raises
    ------
    TypeError
        If a layer does not say which of its outputs depend on which inputs; it is named.
    """
    unused = np.ones(parts_of(network)[0].n_in, bool)
    unused[used_inputs(network, dead_paths=dead_paths)] = False
    return np.flatnonzero(unused)


def used_inputs(network: NetworkLike, *, dead_paths: bool = False) -> NDArray[np.int64]:
    """The other input features, ascending. Takes memory for the links there are, not for all inputs."""
    parts = parts_of(network)
    if not boolean("dead_paths", dead_paths):
        parts = parts[: next(k for k, part in enumerate(parts) if part.full) + 1]
    used: NDArray[Any] = np.arange(parts[-1].n_out)
    for part in reversed(parts):
        used = part.sources_of(used)
    return used.astype(np.int64)


def components(network: NetworkLike) -> Components:
    """Connected components of the whole graph, links taken without direction. Needs SciPy.

    Parameters
    ----------
    network : Sequential, layer with weights, parameter or WeightStore

    Returns
    -------
    Components
        ``count``, ``sizes`` (count,), and ``labels``: one array for the inputs and one for the neurons of
        each layer with weights. Component 0 is the largest; a neuron without links is one by itself. Layers
        without weights connect what they connect, and have no neurons of their own.

    Raises
    ------
    TypeError
        If a layer does not say which of its outputs depend on which inputs; it is named.
    """
    try:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components
    except ImportError as error:
        raise ImportError('components needs SciPy: pip install "rewire[sklearn]"') from error
    parts = parts_of(network)
    ends = np.cumsum([parts[0].n_in, *(part.n_out for part in parts)])
    begins = [0, *ends[:-1]]
    sources, targets = [], []
    for k, part in enumerate(parts):
        rows, cols = part.connections()
        sources.append(cols + begins[k])
        targets.append(rows + ends[k])
    at, to = np.concatenate(sources), np.concatenate(targets)
    graph = coo_array((np.ones(at.size, bool), (at, to)), shape=(int(ends[-1]),) * 2)
    _, label = connected_components(graph, directed=False)
    shown = [0, *(k + 1 for k, part in enumerate(parts) if part.full)]
    labels = [label[begins[k] : ends[k]] for k in shown]
    sizes = np.bincount(np.concatenate(labels))
    order = np.argsort(-sizes, kind="stable")
    order = order[sizes[order] > 0]
    rank = np.empty(sizes.size, np.int64)
    rank[order] = np.arange(order.size)
    return Components(order.size, sizes[order].astype(np.int64), [rank[part] for part in labels])


@overload
def spectral_gap(network: Sequential) -> NDArray[np.float64]: ...
@overload
def spectral_gap(network: MatrixLike) -> float | NDArray[np.float64]: ...
def spectral_gap(network: NetworkLike) -> float | NDArray[np.float64]:
    """How far a layer is from falling apart: 1 - sigma_2 of its normalised biadjacency matrix. Needs SciPy.

    M = D_out^(-1/2) A D_in^(-1/2), where A (n_out, n_in) is 1 at links and D holds the degrees; neurons
    without links are left out. Its largest singular value is 1, the second one lies in [0, 1].

    Parameters
    ----------
    network : Sequential, layer with weights, parameter or WeightStore

    Returns
    -------
    float
        1 for a full layer, 0 for one in two pieces or more, nan for one without links. Of a Sequential an
        array, one for each matrix of weights; so of a layer with several of them.

    Notes
    -----
    1 - sigma_2 is the second eigenvalue of the bipartite graph's normalised Laplacian (Chung, *Spectral Graph
    Theory*, 1997), which bounds how quickly anything spreads. A layer with a links into every neuron and b
    out of every input is a Ramanujan graph if sigma_2 <= (sqrt(a - 1) + sqrt(b - 1)) / sqrt(a b): no such
    large sparse graph does much better (Marcus, Spielman and Srivastava, Annals of Mathematics 182, 2015).
    Pal et al. (ICML 2022) and Hoang et al. (ICLR 2023) look at pruned networks in this way.
    """
    gaps = [_gap(weights) for weights in weights_of(network)]
    return np.array(gaps) if isinstance(network, Sequential) or len(gaps) > 1 else gaps[0]


def _gap(weights: Weights) -> float:
    try:
        from scipy.sparse import csr_array
        from scipy.sparse.linalg import LinearOperator, svds
    except ImportError as error:
        raise ImportError('spectral_gap needs SciPy: pip install "rewire[sklearn]"') from error
    links = links_of(weights)
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
