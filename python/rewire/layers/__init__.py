"""Layers: sparse linear (the heart), dense linear (the baseline), dropout, composites; bases for others."""

from rewire.layers.arrays import ArrayLayer
from rewire.layers.base import Layer, layer_from_config, register_layer
from rewire.layers.composite import Composite
from rewire.layers.concat import Concat
from rewire.layers.dense import Dense
from rewire.layers.dependence import Narrower
from rewire.layers.dropout import Dropout
from rewire.layers.elementwise import Elementwise
from rewire.layers.free_energy import FreeEnergy
from rewire.layers.k_winners import KWinners
from rewire.layers.mix import Mix
from rewire.layers.mixing import Mixing
from rewire.layers.norm import BatchNorm, LayerNorm
from rewire.layers.passing import Pass
from rewire.layers.residual import Residual
from rewire.layers.row import Row
from rewire.layers.sparse import Sparse
from rewire.layers.srelu import PReLU, SReLU
from rewire.layers.switch_net import SwitchNet4
from rewire.layers.switches import Switches
from rewire.layers.two_sided import TwoSided
from rewire.layers.weighted import WeightLayer

__all__ = [
    "ArrayLayer", "BatchNorm", "Composite", "Concat", "Dense", "Dropout", "Elementwise", "FreeEnergy",
    "KWinners", "Layer", "LayerNorm", "Mix", "Mixing", "Narrower", "PReLU", "Pass", "Residual", "Row",
    "SReLU", "Sparse", "SwitchNet4", "Switches", "TwoSided", "WeightLayer", "layer_from_config",
    "register_layer",
]  # fmt: skip
