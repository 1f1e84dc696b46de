"""No rewiring: the initial connectivity stays (FixProb in the SET paper)."""

from __future__ import annotations

from collections.abc import Sequence

from rewire import _core
from rewire.parameters import SparseParameter
from rewire.rewiring.base import Rule, register_rule
from rewire.rewiring.context import RewiringContext

__all__ = ["Static"]


@register_rule
class Static(Rule):
    """Train the initial links; drop and grow none."""

    name = "static"

    def __init__(self) -> None:
        super().__init__(None)

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        return [context.plan(parameter) for parameter in parameters]
