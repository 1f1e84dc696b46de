"""MEST: memory-economic sparse training.

Yuan, Ma, Niu, Li, Kong, Liu, Gong, Zhan, He, Jin, Wang, Qin, Ren, Wang, Liu, Lin, *MEST: Accurate and Fast
Memory-Economic Sparse Training Framework on the Edge*, NeurIPS 2021, and the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from rewire import _core
from rewire._checks import choice, describe, integer, number
from rewire.initializers import Zeros
from rewire.layers import Sparse
from rewire.network import Sequential
from rewire.rewiring.base import (
    Occasion,
    Rewiring,
    check_by_layer,
    only,
    register_rewiring,
    slots_count,
)
from rewire.rewiring.budgets import links_in, remove_links, slot_links
from rewire.rewiring.comes import AtRandom
from rewire.rewiring.goes import SmallestMagnitude, magnitudes
from rewire.rewiring.when import Every, Moment, Once, Share, end_of, in_steps, when

__all__ = ["MEST"]

# For 90 % sparsity the authors' scripts prune to 92, 91, 90 % and grow to 90 %, or prune to 90 % and grow to
# 85, 87.5, 90 %: shares of the links that a layer is to have.
SHARES = {"em": (0.2, 0.1, 0.0), "em&s": (0.5, 0.25, 0.0)}


class _Stages(Share):
    """One share after the other, until ``ends``: steps, or shares of the run."""

    def __init__(self, shares: Any, ends: Any) -> None:
        self.shares = [number("shares", share, low=0.0, high=1.0) for share in _list("shares", shares)]
        self.ends = [end_of("ends", end) for end in _list("ends", ends)]
        if len(self.shares) != len(self.ends) + 1:
            raise ValueError(
                f"shares must be one more than ends, got {len(self.shares)} shares and {len(self.ends)} ends"
            )
        if any(type(a) is type(b) and a > b for a, b in pairwise(self.ends)):
            raise ValueError(f"ends must ascend, got {self.ends}")
        super().__init__(self.shares[0], "shares")

    def at(self, moment: Moment) -> float:
        return self.shares[self.stage(moment)]

    def stage(self, moment: Moment) -> int:
        """How many stages are over."""
        return sum(moment.step >= step for step in self.steps(moment))

    def run_shares(self) -> dict[str, Any]:
        return {"ends": self.ends} if any(isinstance(end, float) for end in self.ends) else {}

    def steps(self, moment: Moment) -> list[int]:
        """Where one share follows another; of shares of the run none comes after its last step."""
        return [
            min(math.ceil(in_steps(end, moment)), moment.steps - 1) if isinstance(end, float) else end
            for end in self.ends
        ]


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, Iterable) or isinstance(value, (str, bytes, dict)):
        raise TypeError(f"{name} must be a list of numbers, got {describe(value)}")
    return list(value)


@register_rewiring
class MEST(Rewiring):
    """Links of least importance ``|w| + lambda * |gradient|`` go, others come at random.

    Parameters
    ----------
    mode : {"em", "em&s"}
        Elastic mutation, "em": a layer is pruned to a share below its budget and grown back to it. With a
        soft memory bound, "em&s": it is pruned to its budget and grown to a share above, and all that trains
        until the next rewiring.
    shares : sequence of float in [0, 1], optional
        Shares of the budget, one stage of the run after the other. (0.2, 0.1, 0) and (0.5, 0.25, 0) as in the
        authors' scripts for 90 % sparsity; their notes have 0.2 and 0.1 for "em&s" as well.
    ends : sequence of int or float
        Where each stage but the last one ends: steps, or shares of the run (epochs 90 and 120 of 160).
    every : int, Every or dict
        Epochs between rewirings (5), or a schedule. "em&s" also rewires where a stage ends.
    gradient : float >= 0
        lambda, the weight of the gradient in the importance: 0 in the authors' code by default. Above 0 the
        rule looks at the coming batch.
    output_layer : bool
        Whether the output layer is rewired.

    Notes
    -----
    The budget of a layer is the number of links it has when the rule first acts, and stays with the trainer;
    shares of it round down to whole slots. Newcomers start at zero, without momentum; a place just emptied
    may be filled again. Layers that start full are left alone, and none grows beyond that. With a last share
    of 0 "em&s" is back in its budget from the last end on, and an end that is a share of the run comes before
    its last step; a run that is stopped sooner keeps what it has. Of a slot the importance is the sum over
    its rows.
    """

    name = "mest"

    def __init__(
        self,
        mode: str = "em",
        *,
        shares: Sequence[float] | None = None,
        ends: Sequence[int | float] = (90 / 160, 120 / 160),
        every: int | Every | Once | dict[str, Any] = 5,
        gradient: float = 0.0,
        output_layer: bool = True,
    ) -> None:
        self.mode = choice("mode", mode, tuple(SHARES))
        self.stages = _Stages(SHARES[self.mode] if shares is None else shares, ends)
        self.shares, self.ends = self.stages.shares, self.stages.ends
        self.gradient = number("gradient", gradient, low=0.0)
        super().__init__(
            when(every), self.stages, SmallestMagnitude(), AtRandom(Zeros()), output_layer=output_layer
        )

    @property
    def probe_batches(self) -> int:
        return 1 if self.gradient > 0.0 else 0

    def due(self, moment: Moment) -> bool:
        if self.mode == "em&s" and moment.step in self.stages.steps(moment):
            return True
        return super().due(moment) and self.stages.at(moment) > 0.0

    def overdue(self, moment: Moment, memory: dict[str, Any]) -> bool:
        return self.mode == "em&s" and "stage" in memory and memory["stage"] < self.stages.stage(moment)

    def layers(self, network: Sequential) -> list[Sparse]:
        return self.eligible(network)

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        budgets = {str(a.index): a.nnz for a in layers} | occasion.memory.get("budget", {})
        occasion.notes["budget"] = budgets
        return [self._plan(layer, budgets[str(layer.index)], occasion) for layer in layers]

    def _plan(self, layer: Sparse, budget: int, occasion: Occasion) -> _core.Plan:
        most, each = layer.n_out * layer.n_in, slot_links(layer) or 1
        if budget == most:
            return _core.Plan(layer.store)
        moves = int(self.stages.at(occasion.moment) * (budget // each)) * each
        lower, upper = (budget - moves, budget) if self.mode == "em" else (budget, budget + moves)
        plan = remove_links(
            lambda plan, count: self._prune(plan, layer, count, occasion), layer, layer.nnz - lower
        )
        kept = layer.nnz - links_in(plan, removed=True)
        return self.comes.place_links(plan, layer, max(0, min(upper, most) - kept), occasion)

    def _prune(self, plan: _core.Plan, layer: Sparse, count: int, occasion: Occasion) -> None:
        key, threads = occasion.key(layer), occasion.threads
        if self.gradient == 0.0:
            plan.prune_smallest(count, *key, threads)
            return
        gradients = np.abs(occasion.probe.live(layer), dtype=np.float64).sum(axis=1)
        plan.prune_scores(magnitudes(layer) + self.gradient * gradients, count, *key, threads)

    def committed(self, layers: Sequence[Sparse], occasion: Occasion) -> None:
        occasion.memory["budget"] = occasion.notes["budget"]
        occasion.memory["stage"] = self.stages.stage(occasion.moment)

    def check_state(self, network: Sequential, memory: dict[str, Any], step: int) -> None:
        super().check_state(network, memory, step)
        only(memory, "budget", "stage")
        check_by_layer(memory, "budget", network, slots_count)
        integer("memory: stage", memory.get("stage", 0), low=0, high=len(self.stages.ends))
