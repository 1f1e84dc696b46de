"""Layers whose outputs all depend on all inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._structure import Mask
from rewire.layers.base import Layer

__all__ = ["Mixing"]


class Mixing(Layer):
    """Base of layers that mix their inputs: a normalisation, a transform, winners of a competition.

    Notes
    -----
    Where neurons are removed, those before and after such a layer stay, and one that is named is refused.
    """

    def live_outputs(self, inputs: Mask) -> Mask:
        return np.full(self.n_out, inputs.any())

    def live_inputs(self, outputs: Mask) -> Mask:
        return np.full(self.n_in, outputs.any())

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        rows, cols = (np.arange(n, dtype=np.int32) for n in (self.n_out, self.n_in))
        return np.repeat(rows, self.n_in), np.tile(cols, self.n_out)
