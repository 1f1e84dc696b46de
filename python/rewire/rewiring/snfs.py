"""SNFS: sparse networks from scratch, by sparse momentum.

Dettmers, Zettlemoyer, *Sparse Networks from Scratch: Faster Training without Losing Performance*,
arXiv:1907.04840 (2019), Algorithm 1, and the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import integer, number
from rewire.initializers import Zeros
from rewire.layers import Sparse
from rewire.network import Sequential
from rewire.rewiring.base import Occasion, Rewiring, Spread, empty_places, register_rewiring
from rewire.rewiring.comes import ByGradient
from rewire.rewiring.goes import SmallestMagnitude
from rewire.rewiring.spread import split
from rewire.rewiring.when import CosineShare, Every, Once, when

__all__ = ["SNFS", "ByMomentum"]

EPSILON = 1e-8  # of Adam's root, as in the authors' code


class ByMomentum(Spread):
    """Newcomers in proportion to the mean |momentum| of each layer's links; their sum is what went.

    Adam: |m| / (sqrt(v) + 1e-8). An optimizer without momentum: |gradient| of what the rule looked at.
    A layer takes at most ``cap`` of the places that are empty once its links have gone.
    """

    def __init__(self, cap: float = 0.99) -> None:
        self.cap = cap

    def counts(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], occasion: Occasion
    ) -> Sequence[int]:
        room = [empty_places(layer) + plan.n_removed for plan, layer in zip(plans, layers, strict=True)]
        most = [int(self.cap * r) for r in room]
        total = sum(plan.n_removed for plan in plans)
        if sum(most) < total:  # nearly full everywhere
            most = room
        return split(total, [self.mean(layer, occasion) for layer in layers], most)

    @staticmethod
    def mean(layer: Sparse, occasion: Occasion) -> float:
        """Mean |momentum| of a layer's links, 0 for a layer without."""
        store = layer.store
        if store.slots == 0:
            return 0.0
        values: NDArray[np.float64]
        if "momentum" in store.fields:
            values = store.get_field("momentum").astype(np.float64)
        elif "adam_m" in store.fields:
            root = np.sqrt(store.get_field("adam_v").astype(np.float64))
            values = store.get_field("adam_m") / (root + EPSILON)
        else:
            values = occasion.probe.live(layer).astype(np.float64)
        return float(np.abs(values).sum() / layer.nnz)


class CeilMagnitude(SmallestMagnitude):
    """ceil(share * n) of a layer's links, as in the authors' code."""

    def mark(self, plan: _core.Plan, layer: Sparse, share: float, occasion: Occasion) -> None:
        count = min(math.ceil(share * layer.store.slots), layer.store.slots)
        plan.prune_smallest(count, *occasion.key(layer), occasion.threads)


@register_rewiring
class SNFS(Rewiring):
    """The smallest links go; newcomers go to layers, and to places, where momentum is largest.

    Parameters
    ----------
    rate : float in [0, 1]
        Share of each layer's links that goes at the beginning (0.5); it falls along a cosine to ``floor``.
    floor : float in [0, 1]
        At the end (0.005).
    every : int, Every or dict
        Epochs between rewirings (1), or a schedule.
    end : int or float
        Where the cosine ends: steps, or a share of the run (all of it).
    batches : int
        Batches from which the momentum of absent links is taken.
    beta : float in [0, 1)
        Weight of each further batch.
    output_layer : bool
        Whether the output layer takes part.

    Notes
    -----
    The source keeps the momentum of *all* places, in a dense matrix. This is its truly sparse analogue:
    absent places are judged by sum(beta ** i * gradient of batch i) over ``batches`` batches, the coming one
    and others drawn at random, all at the present weights and in one pass, in O(links) memory. Live links are
    judged by their own momentum. The authors take fewer links from layers that are more than 80 % dense; here
    the same share goes everywhere. Links that go and win their place back keep what they hold.
    """

    name = "snfs"

    def __init__(
        self,
        rate: float = 0.5,
        *,
        floor: float = 0.005,
        every: int | Every | Once | dict[str, Any] = 1,
        end: int | float = 1.0,
        batches: int = 8,
        beta: float = 0.9,
        output_layer: bool = True,
    ) -> None:
        how_many = CosineShare(rate, "rate", end, floor)
        self.rate, self.floor, self.end = how_many.value, how_many.floor, end
        self.batches = integer("batches", batches, low=1)
        self.beta = number("beta", beta, low=0.0, high=1.0, open_high=True)
        super().__init__(
            when(every),
            how_many,
            CeilMagnitude(),
            ByGradient(Zeros()),
            spread=ByMomentum(),
            output_layer=output_layer,
        )

    @property
    def probe_batches(self) -> int:
        return self.batches

    def probe_weights(self, batches: int) -> Sequence[float]:
        return [self.beta**i for i in range(batches)]

    def layers(self, network: Sequential) -> list[Sparse]:
        layers = self.candidates(network)
        return layers if any(empty_places(layer) > 0 for layer in layers) else []

    def config(self) -> dict[str, Any]:
        assert self.when is not None
        return {
            "name": self.name,
            "rate": self.rate,
            "floor": self.floor,
            "every": self.when.config(),
            "end": self.end,
            "batches": self.batches,
            "beta": self.beta,
            "output_layer": self.output_layer,
        }
