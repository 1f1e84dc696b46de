"""A residual branch that begins small (Bachlechner et al., *ReZero is All You Need*, UAI 2021)."""

import numpy as np

from rewire.layers import Row, register_layer
from rewire.parameters import DenseParameter


@register_layer
class ReZero(Row):
    """y = x + scale f(x), where f is layers in a row and the scale is trained."""

    def __init__(self, layers, *, n_in=None):
        super().__init__(layers, n_in=n_in)
        self.scale = DenseParameter((), init=0.25, decays=False)

    def forward(self, x, p):
        scale = self.scale.values
        if not p.keeping:  # inner layers may write where x is
            x = p.copy((self.index, "x"), x)
        branch = super().forward(x, p)
        if p.keeping:
            p.save(self, *p.saved(self), p.copy((self.index, "branch"), branch))
        return p.map((self.index, "y"), lambda a, b: a + scale * b, x, branch)

    def backward(self, dy, x, p, need_dx):
        scale = self.scale.values.copy()  # learning moves it
        *of_row, branch = p.saved(self)
        p.save(self, *of_row)
        p.learn(self.scale, np.array((p.numbers(dy) * p.numbers(branch)).sum()))
        inner = p.map((self.index, "inner"), lambda d: scale * d, dy)
        dx = super().backward(inner, x, p, need_dx)
        return None if dx is None else p.map((self.index, "dx"), np.add, dy, dx)

    def live_outputs(self, inputs):
        return inputs | super().live_outputs(inputs)

    def live_inputs(self, outputs):
        return outputs | super().live_inputs(outputs)
