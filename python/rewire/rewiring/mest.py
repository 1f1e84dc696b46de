"""MEST: memory-economic sparse training.

Yuan, Ma, Niu, Li, Kong, Liu, Gong, Zhan, He, Jin, Wang, Qin, Wang, Ren, *MEST: Accurate and Fast
Memory-Economic Sparse Training Framework on the Edge*, NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rewire import _core
from rewire._checks import choice, number
from rewire.initializers import Zeros
from rewire.layers import Sparse
from rewire.network import Sequential
from rewire.rewiring.base import Occasion, Rewiring, empty_places, register_rewiring
from rewire.rewiring.comes import AtRandom
from rewire.rewiring.goes import SmallestMagnitude, magnitudes
from rewire.rewiring.when import Every, Moment, Once, Share, when

__all__ = ["MEST"]

# Where the share falls to a half and to nothing: epochs 90 and 120 of 160 in the authors' scripts.
HALF, NOTHING = 90 / 160, 120 / 160


class _InSteps(Share):
    """The whole value, then half of it, then nothing."""

    def at(self, moment: Moment) -> float:
        done = moment.step / moment.steps if moment.steps > 0 else 0.0
        return self.value if done < HALF else self.value / 2 if done < NOTHING else 0.0


@register_rewiring
class MEST(Rewiring):
    """Links of least importance |w| + weight * |gradient| go, others come at random.

    Parameters
    ----------
    mode : {"em", "em&s"}
        "em" (elastic mutation): down by ``share`` of the budget, then up to it again. "em&s" (with a soft
        bound): ``share`` more than the budget train, and are pruned back to it each time.
    share : float in [0, 1], optional
        0.2 and 0.5 as in the authors' scripts for 90 % sparsity (0.90 to 0.92, and 0.85 to 0.90). Halved at 9/16
        of the run and nothing from 12/16 on, where "em&s" is back in its budget.
    every : int, Every or dict
        Epochs between rewirings (5), or a schedule.
    weight : float >= 0
        Of the gradient in the importance; 0 in the authors' scripts. Above 0 the rule looks at the coming batch.
    output_layer : bool
        Whether the output layer is rewired.

    Notes
    -----
    The budget is the number of slots a layer has when the rule first acts. Newcomers start at zero.
    """

    name = "mest"

    def __init__(
        self,
        mode: str = "em",
        *,
        share: float | None = None,
        every: int | Every | Once | dict[str, Any] = 5,
        weight: float = 0.0,
        output_layer: bool = True,
    ) -> None:
        self.mode = choice("mode", mode, ("em", "em&s"))
        default = 0.2 if self.mode == "em" else 0.5
        how_many = _InSteps(default if share is None else share, "share")
        self.share = how_many.value
        self.weight = number("weight", weight, low=0.0)
        super().__init__(
            when(every), how_many, SmallestMagnitude(), AtRandom(Zeros()), output_layer=output_layer
        )

    @property
    def probe_batches(self) -> int:
        return 1 if self.weight > 0.0 else 0

    def layers(self, network: Sequential) -> list[Sparse]:
        return self.candidates(network)

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        budgets = occasion.memory.get("budget") or {str(a.index): a.store.slots for a in layers}
        occasion.notes["budget"] = budgets
        share = self.how_many.at(occasion.moment)
        plans = []
        for layer in layers:
            budget, slots = budgets[str(layer.index)], layer.store.slots
            moves = int(share * budget)
            lower, upper = (budget - moves, budget) if self.mode == "em" else (budget, budget + moves)
            plan = _core.Plan(layer.store)
            if empty_places(layer) > 0:
                self._prune(plan, layer, max(0, slots - lower), occasion)
                if regrow:
                    most = layer.store.n_groups * layer.n_in
                    count = max(0, min(upper, most) - (slots - plan.n_removed))
                    self.comes.place(plan, layer, count, occasion)
            plans.append(plan)
        return plans

    def _prune(self, plan: _core.Plan, layer: Sparse, count: int, occasion: Occasion) -> None:
        key, threads = occasion.key(layer), occasion.threads
        if self.weight == 0.0:
            plan.prune_smallest(count, *key, threads)
            return
        gradients = np.abs(occasion.probe.live(layer), dtype=np.float64).sum(axis=1)
        plan.prune_scores(magnitudes(layer) + self.weight * gradients, count, *key, threads)

    def committed(self, layers: Sequence[Sparse], occasion: Occasion) -> None:
        occasion.memory["budget"] = occasion.notes["budget"]

    def config(self) -> dict[str, Any]:
        assert self.when is not None
        return {
            "name": self.name,
            "mode": self.mode,
            "share": self.share,
            "every": self.when.config(),
            "weight": self.weight,
            "output_layer": self.output_layer,
        }
