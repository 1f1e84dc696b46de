"""SNFS: sparse networks from scratch, by sparse momentum.

Dettmers, Zettlemoyer, *Sparse Networks from Scratch: Faster Training without Losing Performance*,
arXiv:1907.04840 (2019), Algorithm 1, and the authors' code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rewire import _core
from rewire._checks import number
from rewire.initializers import Zeros
from rewire.parameters import SparseParameter
from rewire.rewiring.base import register_rule
from rewire.rewiring.budgets import empty_slots
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import Drop
from rewire.rewiring.fraction import CosineFraction
from rewire.rewiring.grow import GrowByGradient
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import RedistributeLike, mean_momentum
from rewire.rewiring.schedule import Epochs, ScheduleLike, schedule_from
from rewire.rewiring.swap import Swap

__all__ = ["SNFS"]

DENSE = 0.2  # a layer with a smaller fraction of empty positions is nearly dense


class DropSparingDense(Drop):
    """ceil(fraction * n) of each layer's slots, the smallest; fewer of dense layers that grow.

    A layer that has less than a fifth of its positions empty and more than the mean momentum drops at most
    the fraction that is empty: nothing if it is full. One slot stays in every layer that has any, because a
    layer without links has no momentum, by which links grow.
    """

    def mark_all(
        self,
        plans: Sequence[_core.Plan],
        parameters: Sequence[SparseParameter],
        fraction: float,
        context: RewiringContext,
    ) -> list[_core.Plan]:
        means = [mean_momentum(parameter, context) for parameter in parameters]
        for plan, parameter, mean in zip(plans, parameters, means, strict=True):
            store, own = parameter.core, fraction
            sparsity = empty_slots(parameter) / parameter.geometry.n_positions
            if sparsity < DENSE and mean * len(parameters) > sum(means):
                own = min(sparsity, fraction)
            count = max(0, min(math.ceil(own * store.slots), store.slots - 1))
            plan.prune_smallest(count, *context.key(parameter), context.threads)
        return list(plans)


@register_rule
class SNFS(Swap):
    """The smallest links are dropped; new links grow in the layers and positions of largest momentum.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of each layer's links that is dropped at the beginning (p in the paper: 0.5); it falls along
        a cosine to ``floor``.
    floor : float in [0, 1]
        The fraction at the end (0.005).
    every : int, str, Epochs, Steps or dict
        When to rewire: after every epoch. A bare number counts steps.
    end : int or float
        Where the cosine ends: steps, or a fraction of the run (all of it).
    batches : int in [1, 1024]
        Batches from which the momentum of absent links is computed: 1 is the gradient of the next batch.
    beta : float in [0, 1)
        Weight of each further batch.
    redistribute : str, dict, Redistribute or None
        How links move between layers: see :class:`~rewire.rewiring.Swap`. None: not at all.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    *Absent links: batch momentum.* The source keeps the momentum of all positions, connected or not, in a
    dense matrix. This is its truly sparse analogue: a position's score is ``|sum of beta ** i * gradient of
    batch i|`` over ``batches`` batches, the next one first and the others drawn at random, all at the
    present weights (the source's are gradients of past batches at past weights), in O(links) memory beside
    the activations of all batches. Links that are being dropped are candidates with the same score, and keep
    weight and momentum if they are chosen; other new links start at zero, without momentum (in the source
    with that of their position).

    *Layers.* The links that all layers drop are redistributed in proportion to the mean ``|momentum|`` of
    each layer's links, before any is dropped: that of SGD, or ``|m| / (sqrt(v) + 1e-8)`` of Adam. An
    optimizer without momentum has none, and then it is the mean ``|gradient|`` over the same batches. No
    layer fills more than 0.99 of its empty positions (unless there is no other room); what does not fit grows
    in the others in the same proportions, in the source in equal parts. A layer with less than a fifth of its
    positions empty and more than the mean momentum drops at most the fraction that is empty, as in the
    source. One slot stays in every layer that has any. Rounded by largest remainder: the network's number of
    links never changes.
    """

    name = "snfs"

    def __init__(
        self,
        fraction: float = 0.5,
        *,
        floor: float = 0.005,
        every: ScheduleLike = Epochs(1),
        end: int | float = 1.0,
        batches: int = 4,
        beta: float = 0.9,
        redistribute: RedistributeLike = "momentum",
        layers: Layers = None,
    ) -> None:
        schedule = CosineFraction(fraction, "fraction", end, floor)
        self.beta = number("beta", beta, low=0.0, high=1.0, open_high=True)
        grow = GrowByGradient(Zeros(), batches=batches, beta=self.beta)
        self.batches = grow.batches
        super().__init__(
            schedule_from(every),
            schedule,
            DropSparingDense(),
            grow,
            redistribute=redistribute,
            layers=layers,
        )
        self.fraction, self.floor, self.end = schedule.value, schedule.floor, schedule.end
