"""An autoencoder with tied weights: the same links lead there and back."""

import numpy as np

from rewire.layers import Elementwise, Layer, Row, register_layer
from rewire.parameters import SparseParameter


class Encode(Layer):
    """h = W x."""

    def __init__(self, weight):
        self.weight, self.n_in, self.n_out = weight, weight.n_in, weight.n_out

    def forward(self, x, p):
        return p.product((self.index, "y"), self.weight, x)

    def backward(self, dy, x, p, need_dx):
        dx = p.product_back((self.index, "dx"), self.weight, dy) if need_dx else None
        p.learn_links(self.weight, x, dy)
        return dx

    def live_outputs(self, inputs):
        return self.weight.live_outputs(inputs)

    def live_inputs(self, outputs):
        return self.weight.live_inputs(outputs)


class Decode(Layer):
    """y = W' h: what was an input is an output."""

    def __init__(self, weight):
        self.weight, self.n_in, self.n_out = weight, weight.n_out, weight.n_in

    def forward(self, x, p):
        return p.product_back((self.index, "y"), self.weight, x)

    def backward(self, dy, x, p, need_dx):
        dx = p.product((self.index, "dx"), self.weight, dy) if need_dx else None
        p.learn_links(self.weight, dy, x)
        return dx

    def live_outputs(self, inputs):
        return self.weight.live_inputs(inputs)

    def live_inputs(self, outputs):
        return self.weight.live_outputs(outputs)


class Tanh(Elementwise):
    """tanh(x)."""

    def forward(self, x, p):
        return p.map((self.index, "y"), np.tanh, x)

    def backward(self, dy, x, p, need_dx):
        return p.map((self.index, "dx"), lambda d, a: d * (1 - np.tanh(a) ** 2), dy, x)


@register_layer
class TiedAutoencoder(Row):
    """y = W' tanh(W x)."""

    def __init__(self, n_in, n_hidden, fan_in=4, group=1):
        self.n_hidden, self.fan_in, self.group = n_hidden, fan_in, group
        weight = SparseParameter(n_in, n_hidden, fan_in=fan_in, group=group)
        super().__init__([Encode(weight), Tanh(), Decode(weight)])
