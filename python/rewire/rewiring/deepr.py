"""DEEP R: weights do a random walk, and a link whose sign would change is dropped.

Bellec, Kappel, Maass, Legenstein, *Deep Rewiring: Training Very Sparse Deep Networks*, ICLR 2018,
Algorithm 1, and the authors' scripts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from rewire import _core
from rewire._checks import number
from rewire.initializers import Zeros
from rewire.network import Sequential
from rewire.parameters import Field, SparseParameter
from rewire.rewiring.base import register_rule
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import Drop
from rewire.rewiring.grow import GrowRandom
from rewire.rewiring.participation import Layers
from rewire.rewiring.schedule import ScheduleLike, TrainingProgress, schedule_from
from rewire.rewiring.swap import Swap

__all__ = ["DeepR"]

SIGN = "sign"
THETA = 1e-12  # magnitude of new links, as in the authors' scripts


class DropCrossed(Drop):
    """The links whose weights are zero: those that have crossed it."""

    def mark(
        self, plan: _core.Plan, parameter: SparseParameter, fraction: float, context: RewiringContext
    ) -> None:
        plan.prune_zeros(context.threads)


class GrowWithSign(GrowRandom):
    """At random positions, with theta = 1e-12 and a random sign."""

    def weigh(self, plan: _core.Plan, parameter: SparseParameter, context: RewiringContext) -> None:
        plan.draw_weights("sign", THETA, False, *context.key(parameter), context.threads)


@register_rule
class DeepR(Swap):
    """Noise on every weight after every step; a link whose sign would change is dropped, another grows.

    Every link has a sign s and theta > 0 with w = s * theta. After every step of the optimizer theta -= lr *
    l1 and theta += deviation * N(0, 1); links whose theta is no longer positive are dropped, and as many grow
    at random positions, with theta = 1e-12 and a random sign.

    Parameters
    ----------
    l1 : float >= 0
        Strength of the L1 penalty (1e-5 in the authors' scripts; alpha in the paper).
    noise : float >= 0, optional
        The deviation is lr * noise, as in the authors' scripts; 1e-5, as there, without ``temperature``.
    temperature : float >= 0, optional
        Instead: the deviation is sqrt(2 * lr * temperature), as in the paper.
    every : int, str, Epochs, Steps or dict
        When to rewire: after every step. The walk takes a step with every step of the optimizer.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    ``lr`` is the optimizer's, with its schedule, also for Adam. An initial link has the sign of its weight,
    and the sign of a new link is drawn, as in the authors' script with sparse matrices; in the paper every
    position has one sign throughout. The noise does not bring back a weight that has crossed zero.

    A weight that has crossed is zero until its link is replaced, so the network that is evaluated after an
    epoch is that of the paper. With groups a weight that has crossed stays zero until the optimizer gives it
    its sign again, and the slot is dropped when all its weights are zero, which is rare: with groups of 4 no
    link may move for hundreds of steps, so take groups of 1. With ``every`` above 1 a link that has crossed
    can come back as well. Momentum and Adam's moments stay with survivors. A layer that is full does not
    take part.

    Cost: a byte a weight, and in every step a pass over all weights with a normal number each.
    """

    name = "deepr"
    fields = {SIGN: Field("uint8", low=0, high=2)}

    def __init__(
        self,
        l1: float = 1e-5,
        *,
        noise: float | None = None,
        temperature: float | None = None,
        every: ScheduleLike = 1,
        layers: Layers = None,
    ) -> None:
        if noise is not None and temperature is not None:
            raise ValueError(
                f"give noise or temperature, got noise={noise!r} and temperature={temperature!r}"
            )
        self.l1 = number("l1", l1, low=0.0)
        self.temperature = None if temperature is None else number("temperature", temperature, low=0.0)
        if temperature is None:
            noise = 1e-5 if noise is None else noise
        self.noise = None if noise is None else number("noise", noise, low=0.0)
        super().__init__(schedule_from(every), 0.0, DropCrossed(), GrowWithSign(Zeros()), layers=layers)

    def deviation(self, lr: float) -> float:
        """The deviation of the noise in a step of the optimizer."""
        if self.temperature is not None:
            return math.sqrt(2.0 * lr * self.temperature)
        assert self.noise is not None
        return lr * self.noise

    def prepare(self, parameters: Sequence[SparseParameter], network: Sequential | None = None) -> None:
        super().prepare(parameters, network)
        self._note_signs(self.participants(parameters, network))

    def stepped(
        self,
        parameters: Sequence[SparseParameter],
        progress: TrainingProgress,
        threads: int,
        *,
        seed: int,
        network: Sequential | None = None,
    ) -> None:
        drift, deviation = progress.lr * self.l1, self.deviation(progress.lr)
        for parameter in self.redistribute.workable(self.participants(parameters, network)):
            key = seed, parameter.stream, progress.step
            _core.deepr_step(parameter.core, SIGN, drift, deviation, *key, threads)

    def committed(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> None:
        self._note_signs(parameters)

    @staticmethod
    def _note_signs(parameters: Sequence[SparseParameter]) -> None:
        """Note the signs of links that have none yet."""
        for parameter in parameters:
            if parameter.has(SIGN):  # without the field training has not begun
                _core.deepr_signs(parameter.core, SIGN)
