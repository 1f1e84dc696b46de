"""Layer normalisation (Ba, Kiros, Hinton 2016), in NumPy."""

import numpy as np

from rewire.layers import ArrayLayer, Mixing, register_layer
from rewire.parameters import DenseParameter


@register_layer
class NumpyLayerNorm(Mixing, ArrayLayer):
    """(x - mean) / deviation over the values of a sample; times a gain, plus a shift."""

    def __init__(self, eps=1e-5):
        self.eps = eps

    def connect(self, n_in):
        super().connect(n_in)
        self.gain = DenseParameter(n_in, init=1.0, decays=False)
        self.shift = DenseParameter(n_in, decays=False)

    def outputs(self, x, p):
        centred = x - x.mean(axis=1, keepdims=True)
        inverse = 1 / np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + self.eps)
        normal = centred * inverse
        p.save(self, normal, inverse)
        return normal * self.gain.values + self.shift.values

    def gradients(self, dy, p):
        normal, inverse = p.saved(self)
        d = dy * self.gain.values
        mean, along = d.mean(axis=1, keepdims=True), (d * normal).mean(axis=1, keepdims=True)
        dx = (d - mean - normal * along) * inverse
        return dx, {"gain": (dy * normal).sum(axis=0), "shift": dy.sum(axis=0)}
