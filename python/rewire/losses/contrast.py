"""The loss of contrastive divergence: free energies of data less those of samples."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._targets import Targets, target_values
from rewire.losses.arrays import ArrayLoss
from rewire.losses.base import register_loss

__all__ = ["Contrast"]


@register_loss
class Contrast(ArrayLoss):
    """The mean of y * F over samples: y > 0 for data, y < 0 for what they are contrasted with.

    F is the one output of a network, an energy such as that of `rewire.layers.FreeEnergy`. The energy of data
    falls, and that of samples which the network itself finds likely rises. Its value says nothing of how
    good a network is.

    Notes
    -----
    Hinton, *Training Products of Experts by Minimizing Contrastive Divergence*, Neural Computation 14 (2002).
    """

    name = "contrast"
    offered = False

    def check_outputs(self, n_out: int) -> None:
        if n_out != 1:
            raise ValueError(f"loss 'contrast' needs 1 output, an energy, got {n_out}")

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        return target_values(y, 1, name)

    def value_and_gradient(
        self, outputs: NDArray[Any], targets: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        return (outputs * targets)[:, 0], targets

    @staticmethod
    def signs(data: int, samples: int) -> NDArray[np.float64]:
        """Targets for data and then samples: the loss is the mean F of the first less that of the others."""
        both = data + samples
        return np.repeat([both / data, -both / samples], [data, samples])
