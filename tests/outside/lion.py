"""Lion (Chen et al., Symbolic Discovery of Optimization Algorithms, 2023), in NumPy."""

import numpy as np

from rewire.optim import Optimizer, register_optimizer
from rewire.parameters import Field


@register_optimizer
class Lion(Optimizer):
    """The sign of a mean of gradients, and decoupled weight decay."""

    name = "lion"
    fields = {"lion_m": Field(power=1)}

    def __init__(self, lr=1e-4, *, betas=(0.9, 0.99), weight_decay=0.0, clip_norm=None, schedule=None):
        super().__init__(lr, weight_decay, clip_norm=clip_norm, schedule=schedule)
        self.betas = tuple(betas)

    def step(self, values, gradient, fields, *, rate, decay, count):
        mean, (near, far) = fields["lion_m"], self.betas
        values -= rate * (np.sign(near * mean + (1 - near) * gradient) + decay * values)
        mean[...] = far * mean + (1 - far) * gradient

    def config(self):
        return {**super().config(), "betas": list(self.betas)}
