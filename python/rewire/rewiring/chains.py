"""Chain removal: links that lie on no path from an input of the network to an output.

Zhang, Zhao, Wu, Muscoloni, Cannistraci, *Epitopological learning and Cannistraci-Hebb network shape
intelligence brain-inspired theory for ultra-sparse advantage in deep learning*, ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._places import apart, places_of, together
from rewire.layers import Sparse, WeightLayer
from rewire.network import Sequential

__all__ = ["chain_links", "without_chains"]

Pairs = tuple[NDArray[np.int32], NDArray[np.int32]]  # groups and sources, sorted by both


def chain_links(network: Sequential, plans: Sequence[_core.Plan]) -> dict[int, Pairs]:
    """Links that no path from input to output would use once the plans are carried out.

    That is links into hidden neurons without outgoing links, and links out of hidden neurons without incoming
    ones, again and again until there are none.

    Parameters
    ----------
    network : Sequential
    plans : sequence of Plan
        Of some of its layers. The others keep their links, whatever hangs on them; a ``Dense`` layer has all.

    Returns
    -------
    dict of int to (groups, sources)
        For the index of every layer with a plan: int32 arrays, sorted by (group, source). Newcomers of a plan
        are links like others.

    Notes
    -----
    A slot goes as a whole: when no neuron of its group has an outgoing link, or its source no incoming one.
    One sweep from the outputs back and one forward find all: a neuron that the second deprives of its
    outgoing links has no incoming ones left. O(links * log(links)).
    """
    layers = network.weight_layers
    stays = [_Links(layer, _plan_of(layer, plans)) for layer in layers]
    found: dict[int, list[NDArray[np.int64]]] = {i: [] for i, s in enumerate(stays) if s.plan is not None}
    for i in reversed(range(len(layers) - 1)):
        if i in found:
            found[i].append(stays[i].drop(~stays[i].heard_by(stays[i + 1].speaks())))
    for i in range(1, len(layers)):
        if i in found:
            found[i].append(stays[i].drop(~stays[i - 1].listens()[stays[i].places % layers[i].n_in]))
    none = np.zeros(0, np.int64)  # a network of one layer has no chains
    return {
        layers[i].index: apart(np.sort(np.concatenate([none, *a])), layers[i].n_in) for i, a in found.items()
    }


def without_chains(network: Sequential, plans: Sequence[_core.Plan]) -> list[_core.Plan]:
    """Plans that remove what ``plans`` remove and the links that would then lie on no path.

    Parameters
    ----------
    network : Sequential
    plans : sequence of Plan
        Without insertions: newcomers are placed afterwards.
    """
    by_index = {layer.index: layer for layer in network.sparse_layers}
    more: dict[_core.Store, Pairs] = {
        by_index[i].store: places for i, places in chain_links(network, plans).items()
    }
    none = np.zeros(0, np.int32)
    made = []
    for plan in plans:
        n_in = plan.store.n_in
        both = np.concatenate([together(*plan.removed(), n_in), together(*more[plan.store], n_in)])
        made.append(_core.Plan(plan.store))
        made[-1].pairs(*apart(np.sort(both), n_in), none, none, None)
    return made


class _Links:
    """The links that a layer has once its plan is carried out."""

    def __init__(self, layer: WeightLayer, plan: _core.Plan | None) -> None:
        self.layer, self.plan = layer, plan
        self.places = np.zeros(0, np.int64)  # group * n_in + source, ascending
        if isinstance(layer, Sparse):
            self.places = places_of(layer.store)
        if plan is not None:
            gone = np.isin(self.places, together(*plan.removed(), layer.n_in), assume_unique=True)
            self.places = np.concatenate([self.places[~gone], together(*plan.inserted(), layer.n_in)])

    @property
    def dense(self) -> bool:
        return not isinstance(self.layer, Sparse)

    def drop(self, which: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Forget some links; returns their places."""
        gone = self.places[which]
        self.places = self.places[~which]
        return gone

    def listens(self) -> NDArray[np.bool_]:
        """Whether each of the layer's neurons has an incoming link, shape (n_out,)."""
        found = np.full(self.layer.n_out, self.dense)
        if isinstance(self.layer, Sparse):
            groups = np.zeros(self.layer.store.n_groups, bool)
            groups[self.places // self.layer.n_in] = True
            found = np.repeat(groups, self.layer.group)[: self.layer.n_out]
        return found

    def speaks(self) -> NDArray[np.bool_]:
        """Whether each of the layer's sources has an outgoing link, shape (n_in,)."""
        found = np.full(self.layer.n_in, self.dense)
        found[self.places % self.layer.n_in] = True
        return found

    def heard_by(self, speaks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """For each link of a sparse layer: whether a neuron of its group speaks to the next layer."""
        assert isinstance(self.layer, Sparse)
        groups = np.logical_or.reduceat(speaks, np.arange(0, self.layer.n_out, self.layer.group))
        return groups[self.places // self.layer.n_in]


def _plan_of(layer: WeightLayer, plans: Sequence[_core.Plan]) -> _core.Plan | None:
    if isinstance(layer, Sparse):
        for plan in plans:
            if plan.store is layer.store:
                return plan
    return None
