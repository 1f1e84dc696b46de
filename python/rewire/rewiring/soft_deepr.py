"""Soft DEEP R, truly sparse: new links grow at the rate at which dormant links would become active.

Bellec, Kappel, Maass, Legenstein, *Deep Rewiring: Training Very Sparse Deep Networks*, ICLR 2018,
Algorithm 2, and the authors' script.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rewire import _core
from rewire._checks import number
from rewire.parameters import SparseParameter
from rewire.rewiring.base import register_rule
from rewire.rewiring.budgets import empty_slots
from rewire.rewiring.context import DORMANT_LINKS, RewiringContext
from rewire.rewiring.deepr import DeepR
from rewire.rewiring.grow import Grow
from rewire.rewiring.memory import Entry
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import Redistribute
from rewire.rewiring.schedule import ScheduleLike

__all__ = ["SoftDeepR"]


def initial_density(parameter: SparseParameter) -> float:
    """Its slots over those of a full one."""
    return parameter.core.slots / parameter.geometry.n_positions


def crossing_chance(distance: float) -> float:
    """The chance that a normal step of deviation 1 crosses zero from a uniform point in [-distance, 0].

    (1 / m) * integral of 1 - Phi(u) over u in [0, m] = 1 - Phi(m) + (1 - exp(-m^2 / 2)) / (m sqrt(2 pi)).
    """
    if distance == 0.0:
        return 0.5
    above = 0.5 * math.erfc(distance / math.sqrt(2.0))
    return above - math.expm1(-0.5 * distance * distance) / (distance * math.sqrt(2.0 * math.pi))


class GrowDormant(Grow):
    """Every empty position with the chance that a dormant link there would have become active by now."""

    def __init__(self, rule: SoftDeepR) -> None:
        self.rule = rule

    def __repr__(self) -> str:
        return "GrowDormant()"

    def place_all(
        self,
        plans: Sequence[_core.Plan],
        parameters: Sequence[SparseParameter],
        counts: Sequence[int],
        context: RewiringContext,
    ) -> list[_core.Plan]:
        rule, progress = self.rule, context.progress
        initial = context.first("initial_density", parameters, initial_density)
        steps, lr = progress.step - context.memory.get("step", 0), progress.lr
        context.remember("step", progress.step)
        chances = context.generator(parameters[0], DORMANT_LINKS)  # one, because making it is slow
        for plan, parameter in zip(plans, parameters, strict=True):
            density = initial[parameter.name] if rule.density is None else rule.density
            dormant = (1.0 - rule.chance(density, lr)) ** steps  # the chance that a link stays dormant
            count = chances.binomial(empty_slots(parameter), 1.0 - dormant)
            grow = context.plan(parameter)  # links dropped now are not among the dormant ones yet
            grow.grow_random(count, *context.key(parameter), context.threads)
            plan.insert(*grow.inserted())
            deviation = rule.deviation(lr)
            plan.draw_weights("overshoot", deviation, False, *context.key(parameter), context.threads)
        return list(plans)


class Anywhere(Redistribute):
    """All layers take part: one that is full drops links."""

    def workable(self, parameters: Sequence[SparseParameter]) -> list[SparseParameter]:
        return list(parameters)


@register_rule
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
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

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
    memory = {
        "initial_density": Entry.number(low=0.0, high=1.0).by_parameter(), "step": Entry.step(),
    }  # fmt: skip

    def __init__(
        self,
        l1: float = 1e-5,
        *,
        noise: float | None = None,
        temperature: float | None = None,
        density: float | None = None,
        every: ScheduleLike = 1,
        layers: Layers = None,
    ) -> None:
        if noise is None and temperature is None:
            noise = 3e-3
        for name, value in (("l1", l1), ("noise", noise), ("temperature", temperature)):
            if value is not None:
                number(name, value, low=0.0, open_low=True)
        super().__init__(l1, noise=noise, temperature=temperature, every=every, layers=layers)
        self.density = None if density is None else number("density", density, low=0.0, high=1.0)
        self.grow, self.redistribute = GrowDormant(self), Anywhere()

    def chance(self, density: float, lr: float) -> float:
        """The chance that a dormant link becomes active in a step of the optimizer."""
        if lr == 0.0 or density == 0.0:
            return 0.0
        sigma = self.deviation(lr)
        beta = 2.0 * lr * self.l1 / sigma**2
        return crossing_chance((1.0 - density) / (density * beta) / sigma)
