"""What rules that look at gradients are shown: inputs and gradients of the last backward passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rewire.rewiring import GradientProbe
from rewire.torch import _ranks
from rewire.torch.linear import SparseLinear

__all__ = ["NotFiniteError", "probe"]


class NotFiniteError(FloatingPointError):
    """Gradients that say nothing about where links are to grow."""


def probe(
    label: str, layers: Mapping[str, SparseLinear], watcher: Any, group: Any, threads: int
) -> GradientProbe:
    """What the layers have seen since a watcher began to look.

    Parameters
    ----------
    label : str
        Of the rule, for messages.
    layers : mapping of str to SparseLinear
    watcher : object
        By which the layers keep what they see.
    group : optional
        Of processes, whose samples are gathered.
    threads : int

    Raises
    ------
    RuntimeError
        If there was no backward pass.
    NotFiniteError
        For gradients that are infinite or NaN.
    """
    seen: dict[str, Any] = {}
    for name, module in layers.items():
        watch = None if module._structure is None else module._structure.watched.get(watcher)
        seen[name] = [] if watch is None else watch.pairs
    if not any(seen.values()) and group is None:
        raise RuntimeError(
            f"rewiring {label} looks at the gradients of the last backward pass, and there was none since "
            "the last step() (nor since a state was loaded or the model copied): call step() after "
            "backward(), or watch() before a rewire() of your own"
        )
    pairs: dict[str, Any] = {}
    for name, module in layers.items():
        tiles = seen[name]
        if len(tiles) == 1 and group is None:
            pairs[name] = tiles[0]
            _check_finite(label, name, [each.unpack(None, 1) for each in tiles[0]])
            continue
        dtype = np.dtype(tiles[0][0].dtype if tiles else np.float32)
        both = []
        for side, n in enumerate((module.in_features, module.out_features)):
            parts = [pair[side].unpack(None, 1) for pair in tiles]
            rows = np.concatenate(parts) if parts else np.zeros((0, n), dtype)
            rows = rows if group is None else _ranks.gathered(rows, group)
            both.append(rows if len(rows) else np.zeros((1, n), dtype))  # it was not used: no gradient
        pairs[name] = tuple(both)
        _check_finite(label, name, both)
    return GradientProbe(pairs, threads)


def _check_finite(label: str, name: str, arrays: list[Any]) -> None:
    if not all(np.isfinite(array).all() for array in arrays):
        raise NotFiniteError(f"rewiring {label} looks at gradients, and those of {name} are not finite")
