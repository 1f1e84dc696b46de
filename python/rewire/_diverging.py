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
    """The error for a loss that is not finite, of a pass that gave these tiles; the first step is 1.

    Layers one behind the other that gave the same tiles, as dropout does that writes over what it takes, are
    named together: what the first of them gave is not there any more.
    """
    sharing: list[str] = []
    for layer, y, following in zip(network.layers, flow[1:], [*flow[2:], None], strict=True):
        if (fault := layer.fault()) is not None:
            return DivergenceError(epoch, step, *fault)
        sharing.append(layer.label)
        if y is following:
            continue
        if not np.isfinite(y.array()).all():
            return DivergenceError(epoch, step, " or ".join(sharing), "outputs that are not finite")
        sharing.clear()
    return DivergenceError(epoch, step, None, f"a loss of {value}")
