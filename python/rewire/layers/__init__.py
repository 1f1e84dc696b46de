"""Layers: sparse linear (the heart), dense linear (the baseline), dropout; bases for one's own."""

from rewire.layers.base import Layer, layer_from_config, register_layer
from rewire.layers.dense import Dense
from rewire.layers.dependence import Narrower
from rewire.layers.dropout import Dropout
from rewire.layers.elementwise import Elementwise
from rewire.layers.passing import Pass
from rewire.layers.sparse import Sparse
from rewire.layers.weighted import WeightLayer

__all__ = [
    "Dense", "Dropout", "Elementwise", "Layer", "Narrower", "Pass", "Sparse", "WeightLayer",
    "layer_from_config", "register_layer",
]  # fmt: skip
