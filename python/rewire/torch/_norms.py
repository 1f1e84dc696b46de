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

from rewire.torch._strangers import computes, facts_of

__all__ = ["Norm", "norm_of"]

EPSILONS = "variance_epsilon", "eps", "epsilon"  # what is added to the mean square, as packages call it
LARGE = 64.0  # a weight that takes outputs out of what somebody would clamp them to
PLAIN = bool, int, float, str, torch.dtype, torch.Size  # attributes that are the same if they are equal


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
    if not _is_rms_norm(module):
        return None
    return Norm(tuple(given.weight.shape), _epsilon(module), given.weight, None, False, True)


class Answer(NamedTuple):
    """What a module was found to be, and the attributes that it had then: with others it is asked again."""

    is_one: bool
    facts: dict[str, tuple[type, Any]]


_asked: WeakKeyDictionary[nn.Module, Answer] = WeakKeyDictionary()


def _epsilon(module: nn.Module) -> float | None:
    found: list[Any] = [vars(module).get(name) for name in EPSILONS]
    return next((float(value) for value in found if type(value) in (int, float)), None)


def _is_rms_norm(module: nn.Module) -> bool:
    """Whether a module of one vector of weights computes the RMS norm of each sample; asked once."""
    weight = module._parameters["weight"]
    if weight is None or weight.ndim != 1 or not weight.is_cpu:
        return False
    facts = {name: (type(value), value) for name, value in facts_of(module).items()}
    if not all(value is None or kind in PLAIN for kind, value in facts.values()):
        return False  # what it goes by may change in place, and nobody would see
    before = _asked.get(module)
    if before is None or before.facts != facts:
        before = _asked[module] = Answer(_computes_rms(module, len(weight)), facts)
    return before.is_one


def _computes_rms(module: nn.Module, n: int) -> bool:
    """By a copy with weights of both signs, and two and three axes of small samples and others."""
    eps = _epsilon(module)
    if eps is None or not eps > 0.0:
        return False
    with torch.inference_mode(False), torch.no_grad():
        try:
            twin = copy.deepcopy(module).float()
        except Exception:  # a stranger's, which holds what cannot be copied
            return False
        values = torch.linspace(-1.0, 2.0, n)
        twin._parameters["weight"] = weight = nn.Parameter(LARGE * values)
        x = torch.stack([values + 1.0, values.flip(0) * eps**0.5])
    inputs = x, torch.stack([x, 2.0 * x + 0.1, x.flip(0)]).transpose(0, 1)
    return computes(type(module), twin, lambda x: F.rms_norm(x, (n,), weight, eps), inputs)
