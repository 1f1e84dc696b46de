"""From a sparse model back to a dense one: a copy, for all that knows dense layers only."""

from __future__ import annotations

import copy
from collections import OrderedDict

from torch import nn

from rewire._checks import one_of_types
from rewire.torch._models import sparse_layers, wrappers
from rewire.torch.conv import SparseConv1x1
from rewire.torch.linear import SparseLinear
from rewire.torch.module import Module
from rewire.torch.tiled import Tiled

__all__ = ["densify"]


def densify(model: nn.Module) -> nn.Module:
    """A copy of a model whose sparse layers are dense again and compute the same.

    For exporters (ONNX, TorchScript), quantization, a GPU, or a program without rewire.

    Parameters
    ----------
    model : nn.Module
        Left as it is. :class:`SparseLinear` becomes ``nn.Linear``, :class:`SparseConv1x1` becomes
        ``nn.Conv2d``, and :class:`Tiled` the ``nn.Sequential`` of its modules.

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
        For sparse layers in ``DistributedDataParallel``, which goes by their parameters, and for a
        :class:`Module`, whose network is none of PyTorch's layers.

    Notes
    -----
    Flags ``training`` and ``requires_grad`` stay; hooks of sparse layers do not go along.

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
    wrapped = wrappers(model)
    for name, layer in sparse_layers(model).items():
        if id(layer) in wrapped:
            raise ValueError(f"model must not have {name} in {wrapped[id(layer)]}: give the module inside")
    for name, module in model.named_modules():
        if isinstance(module, Module):
            raise ValueError(
                f"model must have no Module, whose network has no dense form in PyTorch, got {name or 'one'}"
            )
    return _dense(copy.deepcopy(model), {})


def _dense(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    """The module with dense layers in it, or what takes its place; ``made`` has those met before."""
    if id(module) not in made:
        made[id(module)] = module  # one that stands in itself
        made[id(module)] = _of_layer(module) if isinstance(module, SparseLinear) else _of_parts(module, made)
    return made[id(module)]


def _of_layer(sparse: SparseLinear) -> nn.Module:
    dense = sparse.to_conv2d() if isinstance(sparse, SparseConv1x1) else sparse.to_linear()
    for name, parameter in dense.named_parameters():
        parameter.requires_grad_(sparse.get_parameter(name).requires_grad)
    return dense


def _of_parts(module: nn.Module, made: dict[int, nn.Module]) -> nn.Module:
    for name, part in module._modules.items():
        if part is not None:
            module._modules[name] = _dense(part, made)
    if not isinstance(module, Tiled):
        return module
    row = nn.Sequential(OrderedDict(module._modules.items()))
    row.training = module.training  # train() would tell its parts, too
    return row
