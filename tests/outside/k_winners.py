"""k-winners with boosting (Ahmad and Scheinkman 2019), in NumPy."""

import numpy as np

from rewire.layers import ArrayLayer, Mixing, register_layer
from rewire.parameters import Buffer


@register_layer
class NumpyKWinners(Mixing, ArrayLayer):
    """The k largest values of a sample stay, all others become 0; neurons that seldom win are boosted."""

    def __init__(self, k, boost=1.0, period=1000):
        self.k, self.boost, self.period = k, boost, period

    def connect(self, n_in):
        super().connect(n_in)
        self.duty = Buffer(n_in)  # how often each neuron wins: a running mean

    def outputs(self, x, p):
        scores = x * np.exp(self.boost * (self.k / self.n_in - self.duty.values))
        winners = np.zeros(x.shape, bool)
        np.put_along_axis(winners, np.argpartition(-scores, self.k - 1, axis=1)[:, : self.k], True, axis=1)
        if p.learning:
            keep = max(0.0, 1 - len(x) / self.period)
            self.duty.values[...] = keep * self.duty.values + (1 - keep) * winners.mean(axis=0)
        p.save(self, winners)
        return x * winners

    def gradients(self, dy, p):
        (winners,) = p.saved(self)
        return dy * winners, {}
