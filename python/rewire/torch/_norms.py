"""Norms over the features of a sample that stay in tiles: PyTorch's two, and the RMS norms of other packages.

The latter have no class in common. So a module of one vector of weights is asked: what computes the RMS norm
of what it is given is one.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["Norm", "norm_of"]

EPSILONS = "variance_epsilon", "eps", "epsilon"  # what is added to the mean square, as packages call it


class Norm(NamedTuple):
    """What a norm computes with."""

    shape: tuple[int, ...]
    eps: float | None  # of nn.RMSNorm None is that of the dtype
    gain: torch.Tensor | None
    shift: torch.Tensor | None
    centered: bool  # about the mean, or RMS
    widens: bool  # whether outputs have the dtype of its weights where that is the wider one


def norm_of(module: nn.Module) -> Norm | None:
    """The terms of a norm; None for another module."""
    kind: Any = type(module)
    if nn.utils.parametrize.is_parametrized(module):  # by a class that PyTorch has made of its own
        kind = kind.__mro__[1]
    given: Any = module
    if kind is nn.LayerNorm:
        return Norm(tuple(given.normalized_shape), given.eps, given.weight, given.bias, True, False)
    if kind is nn.RMSNorm:
        return Norm(tuple(given.normalized_shape), given.eps, given.weight, None, False, False)
    if set(module._parameters) != {"weight"} or module._buffers or module._modules or given.weight is None:
        return None
    if module not in _asked:
        _asked[module] = _is_rms_norm(module)
    if not _asked[module]:
        return None
    return Norm(tuple(given.weight.shape), _epsilon(module), given.weight, None, False, True)


_asked: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()


def _epsilon(module: nn.Module) -> float | None:
    found = (vars(module).get(name) for name in EPSILONS)
    return next((value for value in found if isinstance(value, float)), None)


def _is_rms_norm(module: nn.Module) -> bool:
    """Whether a copy with weights of all kinds gives what `F.rms_norm` gives, of small samples too."""
    eps, weight = _epsilon(module), module._parameters["weight"]
    if eps is None or not eps > 0.0 or weight is None or weight.ndim != 1 or not weight.is_cpu:
        return False
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        twin = copy.deepcopy(module).float()
        gain = torch.linspace(-1.0, 2.0, len(weight))
        twin._parameters["weight"] = nn.Parameter(gain)
        x = torch.stack([gain + 1.0, gain.flip(0) * eps**0.5])
        try:
            y = type(module).forward(twin, x)
        except Exception:  # a stranger's code, of other arguments or shapes
            return False
        wanted = F.rms_norm(x, (len(weight),), gain, eps)
        return (
            isinstance(y, torch.Tensor) and y.shape == wanted.shape and torch.allclose(y, wanted, 1e-3, 1e-5)
        )
