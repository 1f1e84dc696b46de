"""Which layers take part in rewiring: what ``layers=`` of a rule names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rewire._checks import boolean, describe, integer, text
from rewire.network import Sequential
from rewire.parameters import SparseParameter

__all__ = ["HIDDEN", "Layers", "checked_layers", "gives_output", "participants"]

HIDDEN = "hidden"

Layers = int | str | Sequence[int | str] | Callable[[SparseParameter], bool] | None


def checked_layers(value: Any) -> Any:
    """The parameter ``layers`` of a rule: None, a function, or a list of positions and names.

    TypeError for anything else; names are known only where there is a network.
    """
    if value is None or callable(value):
        return value
    entries = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    try:
        found = [text("layers", e) if isinstance(e, str) else integer("layers", e) for e in entries]
    except TypeError:
        raise TypeError(
            'layers must be None, "hidden", positions such as [0, -1], names such as "layers.2", or a '
            f"function of a SparseParameter, got {describe(value)}"
        ) from None
    return found[0] if entries is not value else found


def participants(
    layers: Any, parameters: Sequence[SparseParameter], network: Sequential | None
) -> list[SparseParameter]:
    """The parameters that ``layers`` names, in their order.

    Parameters
    ----------
    layers : None, int, str, list or callable
        Checked by :func:`checked_layers`.
    parameters : sequence of SparseParameter
    network : Sequential or None
        Positions are those of its layers; without one, of the parameters.

    Raises
    ------
    ValueError
        For a position or name that no sparse weights have, and for a function that chooses none; those there
        are are listed.
    """
    if layers is None:
        return list(parameters)
    if callable(layers):
        return _chosen(layers, parameters)
    found: set[int] = set()
    for entry in layers if isinstance(layers, list) else [layers]:
        if entry == HIDDEN:
            some = [q for q in parameters if not gives_output(q, parameters, network)]
        elif isinstance(entry, str):
            some = _named(entry, parameters)
        else:
            some = _at(entry, parameters, network)
        if not some and entry != HIDDEN:
            there = ", ".join(repr(q.name.rpartition(".")[0] or q.name) for q in parameters)
            raise ValueError(f"layers must name layers with sparse weights ({there}), got {entry!r}")
        found |= {id(q) for q in some}
    return [q for q in parameters if id(q) in found]


def _chosen(takes: Callable[[SparseParameter], bool], parameters: Sequence[SparseParameter]) -> list[Any]:
    """Those for which a function says True."""
    found = [q for q in parameters if boolean(f"layers({q.name})", takes(q))]
    if parameters and not found:
        names = ", ".join(repr(q.name) for q in parameters)
        raise ValueError(f"layers must choose some of {names}, got False for each")
    return found


def gives_output(
    parameter: SparseParameter, parameters: Sequence[SparseParameter], network: Sequential | None
) -> bool:
    """Whether it belongs to the network's last layer; without a network, whether it is the last one."""
    if network is None:
        return parameter is parameters[-1]
    return network.position_of(parameter) == len(network.layers) - 1


def _named(name: str, parameters: Sequence[SparseParameter]) -> list[SparseParameter]:
    return [q for q in parameters if q.name == name or q.name.startswith(f"{name}.")]


def _at(
    position: int, parameters: Sequence[SparseParameter], network: Sequential | None
) -> list[SparseParameter]:
    count = len(parameters if network is None else network.layers)
    at = position + count if position < 0 else position
    if network is None:
        return [q for i, q in enumerate(parameters) if i == at]
    return [q for q in parameters if network.position_of(q) == at]
