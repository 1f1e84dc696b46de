"""Where training stands when numbers are no longer finite: the error that names the first layer at fault."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewire import _core
from rewire.errors import DivergenceError
from rewire.network import Sequential

__all__ = ["divergence"]


def divergence(
    network: Sequential, flow: Sequence[_core.Tiles], value: float, epoch: int, step: int
) -> DivergenceError:
    """The error for a loss that is not finite, of a pass that gave these tiles; the first step is 1."""
    for layer, y in zip(network.layers, flow[1:], strict=True):
        if (fault := layer.fault()) is not None:
            return DivergenceError(epoch, step, *fault)
        if not np.isfinite(y.array()).all():
            return DivergenceError(epoch, step, layer.label, "outputs that are not finite")
    return DivergenceError(epoch, step, None, f"a loss of {value}")
