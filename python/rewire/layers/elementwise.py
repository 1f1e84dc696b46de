"""Layers that treat every value by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._structure import Mask
from rewire.layers.base import Layer, outputs_alone

__all__ = ["Elementwise"]


class Elementwise(Layer):
    """Base of layers whose output i is a function of input i alone, the same for every sample.

    Notes
    -----
    Paths lead straight through, and a neuron whose output is removed has its input removed. Its
    parameters and buffers are cut along their ``axes``. What a constant becomes is
    found by a forward pass that is no training.
    """

    def live_outputs(self, inputs: Mask) -> Mask:
        return inputs

    def live_inputs(self, outputs: Mask) -> Mask:
        return outputs

    def sources_of(self, outputs: NDArray[Any]) -> NDArray[Any]:
        return outputs

    def connections(self) -> tuple[NDArray[Any], NDArray[Any]]:
        each = np.arange(self.n_out)
        return each, each

    @property
    def absorbs(self) -> bool | None:
        return None

    def constant(self, values: NDArray[np.float64]) -> NDArray[np.float64] | None:
        known = ~np.isnan(values)
        if not known.any():
            return values
        # Where no constant is known stands another one: a layer may take no zeros.
        found = outputs_alone(self, np.where(known, values, values[known][0])[None])[0]
        return np.where(known & np.isfinite(found), found, np.nan)

    def keepable(self, inputs: Mask, outputs: Mask) -> tuple[Mask, Mask]:
        either = inputs | outputs
        return either, either
