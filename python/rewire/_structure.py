"""Which sources each group of outputs has, as arrays: what a store holds, or will hold after a plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core

__all__ = ["Mask", "Structure", "groups_with", "whole_groups"]

Mask = NDArray[np.bool_]


def groups_with(outputs: Mask, group: int) -> Mask:
    """Groups that have one of these outputs, shape (n_groups,)."""
    return np.logical_or.reduceat(outputs, np.arange(0, outputs.size, group))


def whole_groups(outputs: Mask, group: int) -> Mask:
    """These outputs and all others of their groups, shape (n_out,)."""
    return np.repeat(groups_with(outputs, group), group)[: outputs.size]


@dataclass(frozen=True, eq=False)
class Structure:
    """The slots of one store, in any order.

    Attributes
    ----------
    n_in, n_out, group : int
        The store's.
    groups, sources : ndarray of int32, shape (slots,)
    """

    n_in: int
    n_out: int
    group: int
    groups: NDArray[np.int32]
    sources: NDArray[np.int32]

    @classmethod
    def of(cls, store: _core.Store) -> Structure:
        """What a store holds; slots are in its own order, by group and source."""
        groups = np.repeat(np.arange(store.n_groups, dtype=np.int32), np.diff(store.indptr()))
        return cls(store.n_in, store.n_out, store.group, groups, store.sources())

    @classmethod
    def after(cls, plan: _core.Plan) -> Structure:
        """What the plan's store will hold: slots that stay, then those that the plan inserts."""
        now, stays = cls.of(plan.store), ~plan.marked()
        groups, sources = plan.inserted()
        return cls(
            now.n_in, now.n_out, now.group,
            np.concatenate([now.groups[stays], groups]), np.concatenate([now.sources[stays], sources]),
        )  # fmt: skip

    def live_outputs(self, inputs: Mask) -> Mask:
        """Outputs with a link from one of these inputs, shape (n_out,)."""
        found = np.zeros(-(-self.n_out // self.group), bool)
        found[self.groups[inputs[self.sources]]] = True
        return np.repeat(found, self.group)[: self.n_out]

    def live_inputs(self, outputs: Mask) -> Mask:
        """Inputs with a link into the group of one of these outputs, shape (n_in,)."""
        found = np.zeros(self.n_in, bool)
        found[self.sources[self.slots_into(outputs)]] = True
        return found

    def slots_into(self, outputs: Mask) -> Mask:
        """Slots whose group has one of these outputs, shape (slots,)."""
        return groups_with(outputs, self.group)[self.groups]

    def sources_of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """:meth:`live_inputs` as ascending numbers, from the numbers of outputs.

        Takes memory for the slots there are: inputs may be thousands of times as many.
        """
        groups = np.zeros(-(-self.n_out // self.group), bool)
        groups[outputs // self.group] = True
        sources = self.sources if groups.all() else self.sources[groups[self.groups]]
        if sources.size < self.n_in:
            return np.unique(sources)
        used = np.zeros(self.n_in, bool)
        used[sources] = True
        return np.flatnonzero(used)
