"""Layers: sparse linear (the heart), dense linear (the baseline), dropout; bases for one's own."""

from rewire.layers.base import Layer, Updates, WeightLayer, layer_from_config, register_layer
from rewire.layers.dense import Dense
from rewire.layers.dropout import Dropout
from rewire.layers.elementwise import Elementwise
from rewire.layers.sparse import Sparse

__all__ = [
    "Dense", "Dropout", "Elementwise", "Layer", "Sparse", "Updates", "WeightLayer", "layer_from_config",
    "register_layer",
]
