"""Soft DEEP R, truly sparse: new links grow at the rate at which dormant links would become active.

Bellec, Kappel, Maass, Legenstein, *Deep Rewiring: Training Very Sparse Deep Networks*, ICLR 2018,
Algorithm 2, and the authors' script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rewire import _core
from rewire._checks import integer, number
from rewire.network import Sequential
from rewire.parameters import SparseParameter
from rewire.rewiring.base import check_by_layer, only, register_rewiring
from rewire.rewiring.budgets import empty_slots
from rewire.rewiring.context import DORMANT_LINKS, RewiringContext
from rewire.rewiring.deepr import DeepR
from rewire.rewiring.schedule import ScheduleLike

__all__ = ["SoftDeepR"]


def full_slots(layer: SparseParameter) -> int:
    """Slots of a full layer."""
    return layer.geometry.n_positions


def crossing_chance(distance: float) -> float:
    """The chance that a normal step of deviation 1 crosses zero from a uniform point in [-distance, 0].

    (1 / m) * integral of 1 - Phi(u) over u in [0, m] = 1 - Phi(m) + (1 - exp(-m^2 / 2)) / (m sqrt(2 pi)).
    """
    if distance == 0.0:
        return 0.5
    above = 0.5 * math.erfc(distance / math.sqrt(2.0))
    return above - math.expm1(-0.5 * distance * distance) / (distance * math.sqrt(2.0 * math.pi))


@register_rewiring
class SoftDeepR(DeepR):
    """As :class:`DeepR`, but a random number of links grows, so that no rewiring keeps the number of links.

    Parameters
    ----------
    l1 : float > 0
        Strength of the L1 penalty (1e-5, as in the authors' script).
    noise : float > 0, optional
        The deviation sigma of the noise is lr * noise; 3e-3 without ``temperature``. The authors' script has
        1e-5: see the notes.
    temperature : float > 0, optional
        Instead: sigma is sqrt(2 * lr * temperature), as in the paper.
    density : float in [0, 1], optional
        The fraction p of positions that the prior expects to be connected in every layer; by default the
        density that a layer has before the first rewiring.
    every : int, str, Epochs, Steps or dict
        When to rewire: after every step.
    output_layer : bool
        Whether the output layer takes part.

    Notes
    -----
    In the source *all* positions have a theta. That of a dormant link takes a step of sigma * N(0, 1) with
    every step of the optimizer, not below -d = -(1 - p) / (p * beta), and the link is active while theta > 0.
    Here nothing is stored for a dormant link. Without gradients the walk's stationary law is exp(-beta *
    theta) for theta > 0, with beta = 2 * lr * l1 / sigma ** 2, and uniform in [-d, 0]. So in one step a
    dormant link crosses zero with chance::

        r = 1 - Phi(d / sigma) + (1 - exp(-(d / sigma) ** 2 / 2)) * sigma / (d * sqrt(2 * pi))

    and lands at a theta with density proportional to 1 - Phi(theta / sigma), d being large beside sigma.
    Before every step, therefore, Binomial(empty positions, r) links grow at random, with such a theta and a
    random sign; after n steps without a rewiring it is 1 - (1 - r) ** n instead of r. So without
    gradients the expected number of links stays at p, as in the source, where sigma is small beside 1 / beta.
    What is lost is memory: a link just dropped is no likelier to be regrown than any other.

    *The number of links* is no budget, neither here nor in the source: p is the fraction that the prior
    expects, and the number of links that grow does not depend on how many are dropped. Without gradients
    the number of links varies around p times the positions, once weights have the law above; initial weights
    are farther from zero, so that at first more links grow than are dropped. With gradients it converges to
    where as many links cross zero as grow: above p where the loss keeps weights away from zero, below p where
    it drives them across, so that l1 and noise decide the number, and p only the initial one. With groups
    slots grow in this way, and are dropped when all their weights have crossed, which is later, so there are
    more of them. For a fixed number take :class:`DeepR`; a :class:`~rewire.LinkLog`, or ``nnz`` in the
    history, shows the number here.

    About 0.8 * l1 / noise of p * positions grow with every step, whatever lr and p: at the authors' 1e-5 and
    1e-5 as many as four in five. That costs a dense matrix nothing, and a sparse one most of its time; hence
    the larger noise here, with which it is one in 375. A layer that is full takes part: it drops links.
    """

    name = "soft-deepr"

    def __init__(
        self,
        l1: float = 1e-5,
        *,
        noise: float | None = None,
        temperature: float | None = None,
        density: float | None = None,
        every: ScheduleLike = 1,
        output_layer: bool = True,
    ) -> None:
        if noise is None and temperature is None:
            noise = 3e-3
        for name, value in (("l1", l1), ("noise", noise), ("temperature", temperature)):
            if value is not None:
                number(name, value, low=0.0, open_low=True)
        super().__init__(l1, noise=noise, temperature=temperature, every=every, output_layer=output_layer)
        self.density = None if density is None else number("density", density, low=0.0, high=1.0)

    def layers(self, network: Sequential) -> list[SparseParameter]:
        return self.eligible(network)

    def chance(self, density: float, lr: float) -> float:
        """The chance that a dormant link becomes active in a step of the optimizer."""
        if lr == 0.0 or density == 0.0:
            return 0.0
        sigma = self.deviation(lr)
        beta = 2.0 * lr * self.l1 / sigma**2
        return crossing_chance((1.0 - density) / (density * beta) / sigma)

    def plans(
        self, layers: Sequence[SparseParameter], context: RewiringContext, regrow: bool
    ) -> list[_core.Plan]:
        initial = {a.name: a.core.slots / full_slots(a) for a in layers}
        initial.update(context.memory.get("initial_density", {}))
        context.notes["initial_density"] = initial
        if not layers:
            return []
        plans = [_core.Plan(layer.core) for layer in layers]
        chances = context.generator(layers[0], DORMANT_LINKS)  # one, because making it is slow
        steps, lr = context.progress.step - context.memory.get("step", 0), context.progress.lr
        for plan, layer in zip(plans, layers, strict=True):
            plan.prune_zeros(context.threads)
            if regrow:
                density = initial[layer.name] if self.density is None else self.density
                dormant = (1.0 - self.chance(density, lr)) ** steps  # the chance that a link stays dormant
                count = chances.binomial(empty_slots(layer), 1.0 - dormant)
                grow = _core.Plan(layer.core)  # links dropped now are not among the dormant ones yet
                grow.grow_random(count, *context.key(layer), context.threads)
                plan.insert(*grow.inserted())
                plan.draw_weights(
                    "overshoot", self.deviation(lr), False, *context.key(layer), context.threads
                )
        return plans

    def committed(self, layers: Sequence[SparseParameter], context: RewiringContext) -> None:
        super().committed(layers, context)
        context.memory["initial_density"] = context.notes["initial_density"]
        context.memory["step"] = context.progress.step

    def check_state(self, network: Sequential, memory: dict[str, Any], step: int) -> None:
        super().check_state(network, memory, step)
        only(memory, "initial_density", "step")
        check_by_layer(memory, "initial_density", network, lambda name, n: number(name, n, low=0.0, high=1.0))
        integer("memory: step", memory.get("step", 0), low=0, high=step)
