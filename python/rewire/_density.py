"""Networks that are sparse in name only: hidden layers that came out full, layers without connections.

Epsilon counts connections for each neuron, so a layer between few neurons is full at the usual 20: 5 inputs
and 100 neurons have room for 500 connections, and 20 * 105 are asked for. That is legal and seldom meant.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from rewire._format import percent
from rewire._warn import warn
from rewire.errors import DensityWarning
from rewire.network import Sequential
from rewire.parameters import SparseParameter

__all__ = ["warn_of_density", "warn_of_lost_links"]

FULL = 0.95  # a layer denser than this has hardly any empty positions
SHOWN = 3  # layers that one message names


def warn_of_density(network: Sequential, *, starts_full: bool, static: bool = False) -> None:
    """One DensityWarning for a new network that is not sparse, or that has a layer without connections.

    Parameters
    ----------
    network : Sequential
    starts_full : bool
        Whether the rewiring rule is of those that start from full layers.
    static : bool
        Whether no rule rewires.

    Notes
    -----
    Full layers are named when somebody gave them an ``epsilon`` or ``density`` of their own, or when all
    hidden sparse layers are full. Never named are the output layer, which is full nearly always for having
    few neurons, and layers that have exactly what was asked for: ``density=1.0``, ``fan_in``, ``links``, an
    edge list, a matrix, a file.
    """
    parts = []
    empty = [layer for layer in network.sparse_parameters if layer.nnz == 0]
    if empty:
        parts.append(
            f"no connections in {_named(empty)}: what comes after does not depend on the inputs; ask for "
            f"more, epsilon=1 gives {' and '.join(f'{_erdos_renyi(layer):,}' for layer in empty[:SHOWN])}"
        )
    hidden = [layer for layer in network.sparse_parameters if layer.owner is not network.layers[-1]]
    full = [layer for layer in hidden if layer.density > FULL]
    all_full = len(full) == len(hidden)
    named = [layer for layer in full if layer.sized_by != "count" and (layer.sized_here or all_full)]
    if named and not starts_full:
        found = "which a Dense layer computes faster" if static else "so there is nowhere to grow connections"
        parts.append(f"not sparse: {_named(named)}, {found}; {_half(named)} gives about half of them")
    if parts:
        warn("; ".join(parts), DensityWarning)


def warn_of_lost_links(network: Sequential, linked: Collection[str]) -> bool:
    """One DensityWarning for parameters, by name, that had connections and have none; whether it came."""
    lost = [layer for layer in network.sparse_parameters if layer.nnz == 0 and layer.name in linked]
    if lost:
        warn(
            f"no connections are left in {_named(lost)}: what comes after does not depend on the inputs; "
            "give it more to begin with, or a rewiring that takes fewer",
            DensityWarning,
        )
    return bool(lost)


def _named(layers: Sequence[SparseParameter]) -> str:
    words = ", ".join(f"{layer.label} at density {percent(layer.density)}" for layer in layers[:SHOWN])
    return words + (f" and {len(layers) - SHOWN} more" if len(layers) > SHOWN else "")


def _erdos_renyi(layer: SparseParameter) -> int:
    return min(layer.n_in + layer.n_out, layer.n_in * layer.n_out)


def _half(layers: Sequence[SparseParameter]) -> str:
    """The argument that would bring these layers to about half their density."""
    if all(layer.sized_by == "density" for layer in layers):
        return "density=0.5"
    epsilon = 0.5 * sum(a.n_in * a.n_out for a in layers) / sum(a.n_in + a.n_out for a in layers)
    return f"epsilon={float(f'{epsilon:.2g}'):g}"
