"""Budgets in links: how many links plans grow and drop where slots hold different numbers of them.

A slot of a layer with groups holds a link for each neuron of the group, and a slot of a last group that is
not whole holds fewer. Rules choose slots, but promise a number of links. Where all slots of a layer hold
equally many links, that number is a number of slots. Where they do not, slots are dropped or grown one after
the other, in the rule's order, until the next one might exceed the budget. The links that are missing then,
fewer than a slot holds, are *owed*: the next rewiring of the layer makes up for them. Rules that move budgets
between layers owe nothing: see ``rewiring/redistribute.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._geometry import Geometry
from rewire.parameters import SparseParameter

__all__ = [
    "common_slot", "empty_links", "empty_slots", "first_links", "links_in", "removal", "remove_links",
    "removing", "slot_links", "slot_sizes",
]  # fmt: skip


def slot_links(parameter: SparseParameter) -> int:
    """The links of every slot of a layer; 0 where the last group is not whole and there are others."""
    return parameter.geometry.slot_links


def common_slot(parameters: Sequence[SparseParameter]) -> int:
    """The links of every slot of all layers; 0 where they differ."""
    found = {slot_links(parameter) for parameter in parameters}
    return found.pop() if len(found) == 1 else 0


def slot_sizes(parameter: SparseParameter, groups: NDArray[np.integer]) -> NDArray[np.int64]:
    """The links of slots of these groups."""
    sizes = parameter.geometry
    return np.where(groups == sizes.n_groups - 1, sizes.last_rows, sizes.group)


def first_links(parameter: SparseParameter, groups: NDArray[np.integer], links: int) -> int:
    """How many of these slots, from the first on, surely fit into ``links`` links."""
    before = np.cumsum(slot_sizes(parameter, groups)) - slot_sizes(parameter, groups)
    return int(np.searchsorted(before, links - (slot_links(parameter) or parameter.core.group), side="right"))


def empty_slots(parameter: SparseParameter) -> int:
    """Empty positions of a layer, in slots."""
    return parameter.geometry.n_positions - parameter.core.slots


def empty_links(parameter: SparseParameter) -> int:
    """Empty positions of a layer, in links."""
    return parameter.n_out * parameter.n_in - parameter.nnz


def links_in(plan: _core.Plan, *, removed: bool) -> int:
    """Links of a plan's slots: ``group`` each, fewer in a last group that is not whole."""
    store = plan.store
    slots = plan.n_removed if removed else plan.n_inserted
    missing = Geometry.of(store).missing_rows
    links = slots * store.group
    if missing and slots:
        groups, _ = plan.removed() if removed else plan.inserted()
        links -= missing * int((groups == store.n_groups - 1).sum())
    return links


def removal(store: _core.Store, groups: NDArray[np.int32], sources: NDArray[np.int32]) -> _core.Plan:
    """A plan that removes these slots, ascending, and inserts nothing."""
    plan, none = _core.Plan(store), np.zeros(0, np.int32)
    plan.pairs(groups, sources, none, none, None)
    return plan


def removing(plan: _core.Plan) -> _core.Plan:
    """A plan that removes what another one removes, and inserts nothing."""
    return removal(plan.store, *plan.removed())


def remove_links(
    mark: Callable[[_core.Plan, int], None], parameter: SparseParameter, links: int
) -> _core.Plan:
    """A plan that removes ``links`` links, or less than a slot fewer.

    ``mark(plan, count)`` puts removals of ``count`` slots into an empty plan; those for a larger count
    include those for a smaller one.
    """
    store, alike = parameter.core, slot_links(parameter)
    most = alike or store.group  # links of a slot
    count = min(max(0, links) // most, store.slots)
    while True:
        mark(plan := _core.Plan(store), count)
        if alike:
            return plan
        more = min((links - links_in(plan, removed=True)) // most, store.slots - count)
        if more <= 0:
            return plan
        count += more
