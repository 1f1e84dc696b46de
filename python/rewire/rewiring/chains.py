"""Chain removal: links that lie on no path from an input of the network to an output.

Zhang, Zhao, Wu, Muscoloni, Cannistraci, *Epitopological learning and Cannistraci-Hebb network shape
intelligence brain-inspired theory for ultra-sparse advantage in deep learning*, ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._structure import Mask, Structure
from rewire.layers import Layer
from rewire.layers.dependence import Passage
from rewire.network import Sequential
from rewire.parameters import SparseParameter
from rewire.reachability import live_backward, live_forward
from rewire.rewiring.budgets import removal

__all__ = ["chain_links", "without_chains"]

Pairs = tuple[NDArray[np.int32], NDArray[np.int32]]  # groups and sources, sorted by both


def chain_links(network: Sequential, plans: Sequence[_core.Plan]) -> dict[str, Pairs]:
    """Links that would be on no path from an input to an output once the plans are committed.

    That is links into hidden neurons without outgoing links, and links out of hidden neurons without incoming
    ones, again and again until there are none.

    Parameters
    ----------
    network : Sequential
    plans : sequence of Plan
        Of some of its layers. The others keep their links, and all of these count as used; a ``Dense`` layer
        has all.

    Returns
    -------
    dict of str to (groups, sources)
        For the name of every parameter with a plan: int32 arrays, sorted by (group, source). New links of a
        plan are links like others.

    Raises
    ------
    TypeError
        If a layer does not say which of its outputs depend on which inputs; it is named.

    Notes
    -----
    A slot is removed as a whole: when no neuron of its group has an outgoing link, or its source no incoming
    one. A link is used if its source can be reached from the inputs and its neuron reaches the outputs: the
    rest of such a path is used as well. Weights inside of composite layers, and tied ones, count as used.
    O(links).
    """
    by_store, found = {plan.store: plan for plan in plans}, {}
    from_inputs, to_outputs = _live(network, by_store)
    for layer in network.sparse_parameters:
        if layer.core in by_store:
            structure = Structure.after(by_store[layer.core])
            chains = ~_used(network, layer, structure, from_inputs, to_outputs)
            groups, sources = structure.groups[chains], structure.sources[chains]
            order = np.lexsort((sources, groups))  # new links stand at the end
            found[layer.name] = groups[order], sources[order]
    return found


def without_chains(network: Sequential, plans: Sequence[_core.Plan]) -> list[_core.Plan]:
    """Plans that remove the links that ``plans`` remove, and those that would then be on no path.

    Parameters
    ----------
    network : Sequential
    plans : sequence of Plan
        Without insertions: new links are placed afterwards.

    Raises
    ------
    TypeError
        If a layer does not say which of its outputs depend on which inputs; it is named.
    """
    by_store = {plan.store: plan for plan in plans}
    from_inputs, to_outputs = _live(network, by_store)
    parameters = {q.core: q for q in network.sparse_parameters}
    made = []
    for plan in plans:
        structure = Structure.of(plan.store)
        drop = plan.marked() | ~_used(network, parameters[plan.store], structure, from_inputs, to_outputs)
        made.append(removal(plan.store, structure.groups[drop], structure.sources[drop]))
    return made


def _live(network: Sequential, plans: Mapping[_core.Store, _core.Plan]) -> tuple[list[Mask], list[Mask]]:
    """Neurons that the inputs can change, and that can change the outputs, once the plans are committed."""
    passages: list[Passage] = []
    for layer in network.layers:
        kept = _Kept(layer) if layer.nnz else layer
        passages.append(layer.planned(plans) or kept)
    return live_forward(passages), live_backward(passages)


def _used(
    network: Sequential,
    parameter: SparseParameter,
    structure: Structure,
    from_inputs: Sequence[Mask],
    to_outputs: Sequence[Mask],
) -> Mask:
    """Slots from a source that the inputs can change into a group that can change the outputs.

    All of them, for weights inside of a layer that is made of others or has neurons inside, and for those
    that layers share.
    """
    at = network.position_of(parameter)
    layer = network.layers[at]
    inside = parameter.owner is not layer or parameter.shape != (layer.n_out, layer.n_in)
    if inside or parameter.uses > 1:
        return np.ones(structure.sources.size, bool)
    return from_inputs[at][structure.sources] & structure.slots_into(to_outputs[at + 1])


class _Kept:
    """A layer without a plan: all its links count as used, also those on no path."""

    def __init__(self, layer: Layer) -> None:
        self.layer, self.n_in, self.n_out = layer, layer.n_in, layer.n_out

    def live_outputs(self, inputs: Mask) -> Mask:
        """The outputs that have a link."""
        return self.layer.live_outputs(np.ones_like(inputs))

    def live_inputs(self, outputs: Mask) -> Mask:
        """The inputs that have a link."""
        return self.layer.live_inputs(np.ones_like(outputs))
