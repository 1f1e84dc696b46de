"""Rewiring: which links go and which come while a network trains."""

from rewire.rewiring.base import (
    Comes,
    Goes,
    Key,
    Occasion,
    Record,
    Rewiring,
    Spread,
    register_rewiring,
    rewiring,
)
from rewire.rewiring.comes import AtRandom, ByGradient
from rewire.rewiring.deepr import DeepR
from rewire.rewiring.goes import NearestZeroBySign, SmallestMagnitude
from rewire.rewiring.probe import Probe
from rewire.rewiring.rigl import RigL
from rewire.rewiring.set import SET
from rewire.rewiring.soft_deepr import SoftDeepR
from rewire.rewiring.static import Static
from rewire.rewiring.top_kast import TopKAST
from rewire.rewiring.when import CosineShare, Every, Moment, Once, PowerShare, Share

__all__ = [
    "SET", "AtRandom", "ByGradient", "Comes", "CosineShare", "DeepR", "Every", "Goes", "Key", "Moment",
    "NearestZeroBySign", "Occasion", "Once", "PowerShare", "Probe", "Record", "Rewiring", "RigL", "Share",
    "SmallestMagnitude", "SoftDeepR", "Spread", "Static", "TopKAST", "register_rewiring", "rewiring",
]  # fmt: skip
