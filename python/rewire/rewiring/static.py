"""No rewiring: the structure of the start stays (FixProb in the SET paper)."""

from __future__ import annotations

from rewire.initializers import Zeros
from rewire.rewiring.base import Rewiring, register_rewiring
from rewire.rewiring.drop import DropNearestZero
from rewire.rewiring.grow import GrowRandom

__all__ = ["Static"]


@register_rewiring
class Static(Rewiring):
    """Train the links that are there."""

    name = "static"

    def __init__(self) -> None:
        super().__init__(None, 0.0, DropNearestZero(), GrowRandom(Zeros()))
