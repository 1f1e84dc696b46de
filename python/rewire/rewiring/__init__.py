"""Rewiring: rules that drop and grow links while a network trains."""

from rewire._core import Plan
from rewire.rewiring.base import Rule, register_rule, rewiring, rewiring_class, rewiring_names
from rewire.rewiring.chains import chain_links, without_chains
from rewire.rewiring.cht import CHT, DropWeakest, GrowByPaths
from rewire.rewiring.chts import CHTs, CHTss
from rewire.rewiring.context import Key, RewiringContext, RewiringRecord
from rewire.rewiring.custom import Custom, LayerLinks
from rewire.rewiring.deepr import DeepR
from rewire.rewiring.drop import Drop, DropNearestZero, DropSmallest
from rewire.rewiring.dsr import DSR
from rewire.rewiring.fraction import CosineFraction, Fraction, PowerFraction
from rewire.rewiring.gmp import GMP
from rewire.rewiring.granet import GraNet
from rewire.rewiring.grow import Grow, GrowByGradient, GrowRandom
from rewire.rewiring.gse import GSE
from rewire.rewiring.importance import ImportancePruning
from rewire.rewiring.itop import ITOP
from rewire.rewiring.magnitude import Magnitude
from rewire.rewiring.memory import Entry, Facts
from rewire.rewiring.mest import MEST
from rewire.rewiring.probe import GradientProbe
from rewire.rewiring.redistribute import (
    Redistribute,
    RedistributeByMomentum,
    RedistributeBySurvivors,
    redistribution,
)
from rewire.rewiring.rigl import RigL
from rewire.rewiring.schedule import Epochs, Once, RewiringSchedule, Steps, TrainingProgress
from rewire.rewiring.set import SET
from rewire.rewiring.snfs import SNFS
from rewire.rewiring.snip import SNIP
from rewire.rewiring.soft_deepr import SoftDeepR
from rewire.rewiring.srigl import SRigL
from rewire.rewiring.static import Static
from rewire.rewiring.swap import Swap
from rewire.rewiring.top_kast import TopKAST

__all__ = [
    "CHT", "DSR", "GMP", "GSE", "ITOP", "MEST", "SET", "SNFS", "SNIP", "CHTs", "CHTss", "CosineFraction",
    "Custom", "DeepR", "Drop", "DropNearestZero", "DropSmallest", "DropWeakest", "Entry", "Epochs", "Facts",
    "Fraction", "GraNet", "GradientProbe", "Grow", "GrowByGradient", "GrowByPaths", "GrowRandom",
    "ImportancePruning", "Key", "LayerLinks", "Magnitude", "Once", "Plan", "PowerFraction", "Redistribute",
    "RedistributeByMomentum", "RedistributeBySurvivors", "RewiringContext", "RewiringRecord",
    "RewiringSchedule", "RigL", "Rule", "SRigL", "SoftDeepR", "Static", "Steps", "Swap", "TopKAST",
    "TrainingProgress", "chain_links", "redistribution", "register_rule", "rewiring", "rewiring_class",
    "rewiring_names", "without_chains",
]  # fmt: skip
