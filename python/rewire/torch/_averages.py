"""Averages of a model's weights (EMA, SWA): copies whose links have to move with those of the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from rewire._checks import describe, one_of_types
from rewire.torch._models import sparse_layers, unwrapped
from rewire.torch.linear import SparseLinear

__all__ = ["checked_averages", "counterparts", "follow"]


def checked_averages(averages: Any) -> list[nn.Module]:
    """A list of modules, of one or of several; TypeError or ValueError for anything else."""
    if isinstance(averages, nn.Module) and not isinstance(averages, nn.ModuleList):
        averages = [averages]
    if not isinstance(averages, Iterable):
        raise TypeError(f"averages must be an nn.Module or a list of them, got {describe(averages)}")
    found = list(averages)
    for i, each in enumerate(found):
        one_of_types(f"averages[{i}]", each, nn.Module, "an nn.Module")
        if getattr(each, "use_buffers", False):
            raise ValueError(
                f"averages[{i}] must be made with use_buffers=False: links are buffers, and have no average"
            )
    return found


def counterparts(averages: Any, layers: Mapping[str, SparseLinear]) -> dict[str, list[SparseLinear]]:
    """The layers of averages that stand for those of a model, by the names of these.

    Raises
    ------
    TypeError, ValueError
        For anything but copies of the model with the links that it has.
    """
    found: dict[str, list[SparseLinear]] = {name: [] for name in layers}
    for i, average in enumerate(checked_averages(averages)):
        modules = _modules(average, layers)
        for name, layer in layers.items():
            other = modules.get(name)
            if other is None or other is layer:
                raise ValueError(
                    f"averages[{i}] must be a copy of the model, and has no layer {name} of its own"
                )
            if not (torch.equal(layer.indptr, other.indptr) and torch.equal(layer.sources, other.sources)):
                raise ValueError(
                    f"averages[{i}] must have the links of the model, got others in {name}: make it of the "
                    "model as it is, give it to Rewirer from then on, and load the states of both together"
                )
            found[name].append(other)
    return found


def _modules(average: nn.Module, layers: Mapping[str, SparseLinear]) -> dict[str, SparseLinear]:
    """The sparse layers of a copy by their names in the model; it may be a wrapper's `module`."""
    inner = unwrapped(average)[0]
    while True:
        found = sparse_layers(inner)
        within = getattr(inner, "module", None)
        if not isinstance(within, nn.Module) or not found.keys().isdisjoint(layers):
            return found
        inner = unwrapped(within)[0]


def follow(other: SparseLinear, module: SparseLinear, origin: NDArray[Any]) -> None:
    """Give a layer the links that its model has now: means stay, and those of new links begin as these.

    Parameters
    ----------
    other, module : SparseLinear
        The average's, as it was, and the model's.
    origin : ndarray of int64, shape (slots of now,)
        Where each slot was before; -1 for new ones.
    """
    old = torch.from_numpy(origin)
    kept = old >= 0
    values = module.weight.detach().to(other.weight.dtype, copy=True)
    values[kept] = other.weight.detach()[old[kept]]
    other._relink(module.indptr, module.sources, values)
    other.mask = None if module.mask is None else module.mask.clone()
