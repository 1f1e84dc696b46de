"""From a sparse model back to a dense one: a copy, for all that knows dense layers only."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn

from rewire._checks import one_of_types
from rewire.torch._conv1d import SparseConv1D
from rewire.torch._models import sparse_layers, wrappers
from rewire.torch.conv import SparseConv1x1
from rewire.torch.linear import SparseLinear
from rewire.torch.module import Module
from rewire.torch.tiled import Tiled

__all__ = ["densify"]

_FORWARDS = SparseLinear.forward, SparseConv1x1.forward, Tiled.forward  # what a dense form computes as well
_HOOKS = "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"


def densify(model: nn.Module) -> nn.Module:
    """A copy of a model whose sparse layers are dense again and compute the same.

    For exporters (ONNX), quantization, a GPU, or the dense model as it was built.

    Parameters
    ----------
    model : nn.Module
        Left as it is. :class:`SparseLinear` becomes ``nn.Linear``, :class:`SparseConv1x1` becomes
        ``nn.Conv2d``, what was ``Conv1D`` of GPT-2 that again, and :class:`Tiled` an ``nn.Sequential``,
        wherever they are held.

    Returns
    -------
    nn.Module
        Its state has the names and shapes that the model had before :func:`sparsify`, so that the dense
        model as it was built loads it. Where there is no link the weight is zero, and training moves it.

    Raises
    ------
    TypeError
        If ``model`` is no module.
    ValueError
        For sparse layers in ``DistributedDataParallel``, which goes by their parameters, for a
        :class:`Module`, whose network is none of PyTorch's layers, for sparse layers and :class:`Tiled` with
        another ``forward`` than ours, for sparse layers with hooks, and for layers without values
        (``device="meta"``).

    Notes
    -----
    Flags ``training`` and ``requires_grad`` stay. Weights that are computed (parametrizations, pruning) are
    plain ones afterwards, of the values of now. A bias that layers share stays shared; of shared weights each
    layer has its own copy, for links may differ.

    :class:`SparseMLP`, :class:`Residual` and :class:`Gated` stay what they are, around dense layers: a
    program without rewire reads the state of the copy, not its pickle, and ``torch.jit.script`` takes none
    of them.

    Examples
    --------
    >>> import torch
    >>> from rewire.torch import SparseLinear, densify
    >>> densify(torch.nn.Sequential(SparseLinear(64, 10), torch.nn.ReLU()))
    Sequential(
      (0): Linear(in_features=64, out_features=10, bias=True)
      (1): ReLU()
    )
    """
    one_of_types("model", model, nn.Module, "an nn.Module")
    wrapped, sparse = wrappers(model), sparse_layers(model)
    for name, layer in sparse.items():
        if id(layer) in wrapped:
            raise ValueError(f"model must not have {name} in {wrapped[id(layer)]}: give the module inside")
    for name, module in model.named_modules():
        if (why := _why_not(module)) is not None:
            raise ValueError(f"model must have {why}, got {name or 'one'}")
    memo: dict[int, Any] = {}  # of deepcopy: what takes the place of what, whoever holds it
    for layer in sparse.values():
        memo[id(layer)] = _dense(layer, memo)
    dense: nn.Module = copy.deepcopy(model, memo)
    tiled: list[Any] = [module for module in dense.modules() if isinstance(module, Tiled)]
    for module in tiled:
        module.__class__ = nn.Sequential  # the same in all but `forward`, for all that hold it
    return dense


def _why_not(module: nn.Module) -> str | None:
    """What a model must have for this module to have a dense form; None if it has."""
    if isinstance(module, Module):
        return "no Module, whose network has no dense form in PyTorch"
    if not isinstance(module, SparseLinear | Tiled):
        return None
    kind = type(module).__name__
    if "forward" in vars(module) or type(module).forward not in _FORWARDS:
        return f"no {kind} with a forward of its own, which a dense layer would not have"
    if isinstance(module, SparseLinear):
        if module.indptr.is_meta:
            return f"values in all layers, which a {kind} on the meta device has not"
        if any(not _computes_weights(hook) for field in _HOOKS for hook in vars(module)[field].values()):
            return f"no {kind} with hooks, which a dense layer would not have: remove them first"
    return None


def _computes_weights(hook: Any) -> bool:
    """Whether a hook is PyTorch's own for weights made of others, whose values a dense layer takes over."""
    return type(hook).__module__.startswith("torch.nn.utils.")


def _dense_form(sparse: SparseLinear) -> nn.Module:
    if isinstance(sparse, SparseConv1D):
        return sparse.to_conv1d()
    return sparse.to_conv2d() if isinstance(sparse, SparseConv1x1) else sparse.to_linear()


def _dense(sparse: SparseLinear, memo: dict[int, Any]) -> nn.Module:
    """The dense form of a layer, with the bias of another one that has been met before if they share it."""
    dense = _dense_form(sparse)
    with torch.enable_grad():  # or weights that are computed would be without one
        for name, parameter in dense.named_parameters():
            parameter.requires_grad_(getattr(sparse, name).requires_grad)
    if dense.bias is not None:
        dense.bias = memo.setdefault(id(sparse.bias), dense.bias)
    return dense
