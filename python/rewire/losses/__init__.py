"""Losses: which network they fit, how targets look, value and gradient on tiles.

The loss of a batch is the mean over samples, weighted when there are weights. Those of the core are computed
on any number of threads with the same bits; losses of one's own are subclasses of :class:`ArrayLoss`.
"""

from rewire._targets import Targets, Truth
from rewire.losses.arrays import ArrayLoss
from rewire.losses.base import Loss, loss, loss_names, register_loss
from rewire.losses.contrast import Contrast
from rewire.losses.entropy import BinaryCrossEntropy, CrossEntropy
from rewire.losses.hinge import SquaredHinge
from rewire.losses.values import MSE, Huber, Poisson

__all__ = [
    "MSE", "ArrayLoss", "BinaryCrossEntropy", "Contrast", "CrossEntropy", "Huber", "Loss", "Poisson",
    "SquaredHinge", "Targets", "Truth", "loss", "loss_names", "register_loss",
]  # fmt: skip
