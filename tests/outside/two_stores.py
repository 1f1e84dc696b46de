"""Two sparse matrices in one layer: one for inputs that are positive, one for those that are negative."""

import numpy as np

from rewire.layers import Layer, register_layer
from rewire.parameters import DenseParameter, SparseParameter


def positive(a):
    return np.maximum(a, 0)


def negative(a):
    return np.minimum(a, 0)


@register_layer
class TwoStores(Layer):
    """y = P max(x, 0) + N min(x, 0) + b."""

    def __init__(self, n_in, n_out, fan_in=4, group=1):
        self.n_in, self.n_out, self.fan_in, self.group = n_in, n_out, fan_in, group
        self.plus = SparseParameter(n_in, n_out, fan_in=fan_in, group=group)
        self.minus = SparseParameter(n_in, n_out, fan_in=fan_in, group=group)
        self.bias = DenseParameter(n_out, decays=False)

    def forward(self, x, p):
        up, down = p.map((self.index, "up"), positive, x), p.map((self.index, "down"), negative, x)
        p.save(self, up, down)
        y = p.product((self.index, "y"), self.plus, up, self.bias)
        return p.map((self.index, "y"), np.add, y, p.product((self.index, "other"), self.minus, down))

    def backward(self, dy, x, p, need_dx):
        dx, (up, down) = None, p.saved(self)
        if need_dx:
            du = p.product_back((self.index, "du"), self.plus, dy)
            dd = p.product_back((self.index, "dd"), self.minus, dy)
            dx = p.map((self.index, "dx"), lambda a, u, d: np.where(a > 0, u, d), x, du, dd)
        p.learn(self.bias, p.numbers(dy).sum(axis=0))
        p.learn_links(self.plus, up, dy)
        p.learn_links(self.minus, down, dy)
        return dx

    def live_outputs(self, inputs):
        return self.plus.live_outputs(inputs) | self.minus.live_outputs(inputs)

    def live_inputs(self, outputs):
        return self.plus.live_inputs(outputs) | self.minus.live_inputs(outputs)
