"""An orthonormal mixture of all values that is not trained: a Householder reflection, in NumPy."""

import numpy as np

from rewire.layers import ArrayLayer, Mixing, register_layer


@register_layer
class Reflection(Mixing, ArrayLayer):
    """x - 2 v (v'x), where v is a random direction: its own inverse, and its own derivative."""

    def __init__(self, seed=0):
        self.seed = seed

    def connect(self, n_in):
        super().connect(n_in)
        v = np.random.default_rng(self.seed).normal(size=n_in)
        self.direction = v / np.linalg.norm(v)

    def outputs(self, x, p):
        v = self.direction.astype(x.dtype)
        return x - 2 * (x * v).sum(axis=1, keepdims=True) * v

    def gradients(self, dy, p):
        return self.outputs(dy, p), {}
