"""Rewiring: which links go and which come while a network trains."""

from rewire.rewiring.base import (
    Comes,
    Every,
    Goes,
    Key,
    Moment,
    Record,
    Rewiring,
    Share,
    register_rewiring,
    rewiring,
)
from rewire.rewiring.set import SET, AtRandom, NearestZeroBySign
from rewire.rewiring.static import Static

__all__ = [
    "SET", "AtRandom", "Comes", "Every", "Goes", "Key", "Moment", "NearestZeroBySign", "Record", "Rewiring",
    "Share", "Static", "register_rewiring", "rewiring",
]
