"""No rewiring: the initial connectivity stays (FixProb in the SET paper)."""

from __future__ import annotations

from collections.abc import Sequence

from rewire import _core
from rewire.parameters import SparseParameter
from rewire.rewiring.base import Rewiring, register_rewiring
from rewire.rewiring.context import RewiringContext

__all__ = ["Static"]


@register_rewiring
class Static(Rewiring):
    """Train the initial links; drop and grow none."""

    name = "static"

    def __init__(self) -> None:
        super().__init__(None)

    def plans(
        self, layers: Sequence[SparseParameter], context: RewiringContext, regrow: bool
    ) -> list[_core.Plan]:
        return [_core.Plan(layer.core) for layer in layers]
