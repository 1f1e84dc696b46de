"""No rewiring: the structure of the start stays (FixProb in the SET paper)."""

from __future__ import annotations

from rewire.initializers import Zeros
from rewire.rewiring.base import Rewiring, register_rewiring
from rewire.rewiring.comes import AtRandom
from rewire.rewiring.goes import NearestZeroBySign
from rewire.rewiring.when import Share

__all__ = ["Static"]


@register_rewiring
class Static(Rewiring):
    """Train the links that are there."""

    name = "static"

    def __init__(self) -> None:
        super().__init__(None, Share(0.0), NearestZeroBySign(), AtRandom(Zeros()))
