"""Rules that drop links and grow others: a fraction, and criteria to drop, grow and redistribute links."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewire import _core
from rewire._checks import describe, number
from rewire.parameters import SparseParameter
from rewire.rewiring.answers import counts_of, plans_of
from rewire.rewiring.base import Rule
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import Drop
from rewire.rewiring.fraction import Fraction, fraction_from
from rewire.rewiring.grow import Grow
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import Redistribute, RedistributeLike, rebalance, redistribution
from rewire.rewiring.schedule import ScheduleLike

__all__ = ["Swap"]


class Swap(Rule):
    """A rule composed of a schedule, a fraction, and criteria to drop, grow and redistribute links.

    Parameters
    ----------
    every : int, str, Epochs, Steps, Once, dict or None
        When to rewire; a bare number counts steps. None: never.
    fraction : Fraction or float
        What fraction of the links is dropped.
    drop : Drop
        Which links are dropped.
    grow : Grow
        Where links grow, and with what weights.
    redistribute : Redistribute, str, dict or None
        How many links grow in each layer: as many as were dropped from it (None), or of those that all layers
        dropped more where there is more ``"momentum"`` or more ``"survivors"``. See
        :class:`~rewire.rewiring.RedistributeByMomentum` and
        :class:`~rewire.rewiring.RedistributeBySurvivors`.
    end, layers, last_epoch
        As for :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    A layer without empty positions is left alone: the links it drops could only be regrown in place. Where
    budgets move between layers it takes part, if others have room.
    """

    def __init__(
        self,
        every: ScheduleLike | None,
        fraction: Fraction | float,
        drop: Drop,
        grow: Grow,
        *,
        redistribute: RedistributeLike = None,
        end: int | float | None = None,
        layers: Layers = None,
        last_epoch: str = "skip",
    ) -> None:
        super().__init__(every, end=end, layers=layers, last_epoch=last_epoch)
        # A rule whose parameter `fraction` means something else sets that attribute afterwards. Its `drop`,
        # `grow` and `redistribute` are the criteria: see `__setattr__`.
        self.fraction_schedule = schedule = fraction_from(fraction)
        self.fraction: Any = schedule if fraction is schedule else schedule.value
        self.drop, self.grow = drop, grow
        self.redistribute = redistribution(redistribute)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = _CRITERIA.get(name)
        if kind is not None and not isinstance(value, kind):
            raise TypeError(
                f"{type(self).__name__}.{name} must be a {kind.__name__}, as in every Swap, "
                f"got {describe(value)}; a parameter that means something else needs another name"
            )
        super().__setattr__(name, value)

    def _criteria(self) -> list[str]:
        """The names of the criteria's classes."""
        return [type(part).__name__ for part in (self.drop, self.grow, self.redistribute)]

    @property
    def label(self) -> str:
        return super().label if self.name else f"{type(self).__name__}({', '.join(self._criteria()[:2])})"

    @property
    def probe_batches(self) -> int:  # type: ignore[override]
        """Number of batches that the gradient probe of a rewiring covers."""
        return max(part.probe_batches for part in (self.drop, self.grow, self.redistribute))

    def probe_weights(self, batches: int) -> Sequence[float]:
        return self.grow.probe_weights(batches)

    @property
    def needs_network(self) -> str:  # type: ignore[override]
        """What a criterion needs the network for."""
        return self.drop.needs_network or self.grow.needs_network

    def run_fractions(self) -> dict[str, Any]:
        return super().run_fractions() | self.fraction_schedule.run_fractions() | self.drop.run_fractions()

    def workable(
        self, parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> list[SparseParameter]:
        return self.redistribute.workable(parameters)

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        who, (drop, grow, redistribute) = f"rewiring {self.label}", self._criteria()
        plans = [context.plan(parameter) for parameter in parameters]
        fraction = self.fraction_schedule.at(context.progress)
        fraction = number(f"{who}: the fraction of {self.fraction_schedule!r}", fraction, low=0.0, high=1.0)
        marked = self.drop.mark_all(plans, parameters, fraction, context)
        plans = plans_of(f"{who}: mark_all of {drop}", marked, parameters)
        if context.regrow and parameters:
            found = self.redistribute.counts(plans, parameters, context)
            counts = counts_of(f"{who}: counts of {redistribute}", found, parameters)
            placed = self.grow.place_all(plans, parameters, counts, context)
            plans = plans_of(f"{who}: place_all of {grow}", placed, parameters)
            if self.redistribute.moves or self.grow.moves:
                plans = rebalance(plans, parameters, self.grow, context)
        return plans


_CRITERIA: dict[str, type] = {"drop": Drop, "grow": Grow, "redistribute": Redistribute}
