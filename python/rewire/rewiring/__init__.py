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
    rewiring_class,
    rewiring_names,
)
from rewire.rewiring.chains import chain_links, without_chains
from rewire.rewiring.cht import CHT, ByPaths, Weakest
from rewire.rewiring.comes import AtRandom, ByGradient
from rewire.rewiring.custom import Custom, Links
from rewire.rewiring.deepr import DeepR
from rewire.rewiring.dsr import DSR
from rewire.rewiring.gmp import GMP
from rewire.rewiring.goes import NearestZeroBySign, SmallestMagnitude
from rewire.rewiring.granet import GraNet
from rewire.rewiring.gse import GSE
from rewire.rewiring.importance import ImportancePruning
from rewire.rewiring.itop import ITOP
from rewire.rewiring.magnitude import Magnitude
from rewire.rewiring.mest import MEST
from rewire.rewiring.probe import Probe
from rewire.rewiring.rigl import RigL
from rewire.rewiring.set import SET
from rewire.rewiring.snfs import SNFS
from rewire.rewiring.snip import SNIP
from rewire.rewiring.soft_deepr import SoftDeepR
from rewire.rewiring.spread import ByMomentum, BySurvivors
from rewire.rewiring.srigl import SRigL
from rewire.rewiring.static import Static
from rewire.rewiring.top_kast import TopKAST
from rewire.rewiring.when import CosineShare, Every, Moment, Once, PowerShare, Share

__all__ = [
    "CHT", "DSR", "GMP", "GSE", "ITOP", "MEST", "SET", "SNFS", "SNIP", "AtRandom", "ByGradient",
    "ByMomentum", "ByPaths", "BySurvivors", "Comes", "CosineShare", "Custom", "DeepR", "Every", "Goes",
    "GraNet", "ImportancePruning", "Key", "Links", "Magnitude", "Moment", "NearestZeroBySign", "Occasion",
    "Once", "PowerShare", "Probe", "Record", "Rewiring", "RigL", "SRigL", "Share", "SmallestMagnitude",
    "SoftDeepR", "Spread", "Static", "TopKAST", "Weakest", "chain_links", "register_rewiring", "rewiring",
    "rewiring_class", "rewiring_names", "without_chains",
]  # fmt: skip
