"""What a model of torch is wrapped in: compiled, in several processes, in pieces."""

from __future__ import annotations

from typing import Any

from torch import nn

from rewire.torch.linear import SparseLinear

__all__ = ["refuse_sharded", "refuse_wrapped", "sparse_layers", "unwrapped"]

ROOT = "model"  # the name of a layer that is the whole model; torch has "" for it


def unwrapped(model: Any) -> tuple[nn.Module, Any]:
    """The model itself, and the process group of `DistributedDataParallel` around it, or None."""
    group = None
    while True:
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model, group = model.module, model.process_group
        elif hasattr(model, "_orig_mod"):  # torch.compile
            model = model._orig_mod
        else:
            return model, group


def sparse_layers(model: nn.Module) -> dict[str, SparseLinear]:
    """The sparse layers of a model by name; a model that is one itself goes by ``"model"``."""
    return {
        name or ROOT: module for name, module in model.named_modules() if isinstance(module, SparseLinear)
    }


def refuse_sharded(model: nn.Module) -> None:
    """NotImplementedError for a model whose parameters lie in pieces on several processes."""
    for module in model.modules():
        for cls in type(module).__mro__:
            if cls.__name__ in ("FullyShardedDataParallel", "FSDPModule"):
                raise NotImplementedError(
                    f"model must not be in FSDP ({cls.__name__}), which cuts the weights of links into "
                    "pieces: use DistributedDataParallel"
                )
    for name, parameter in model.named_parameters():
        if type(parameter.data).__name__ == "DTensor":
            raise NotImplementedError(f"parameters must be plain tensors, got {name} as a DTensor (FSDP, TP)")


def refuse_wrapped(model: nn.Module) -> None:
    """ValueError for a model in a wrapper that knows its parameters already."""
    if any(isinstance(module, nn.parallel.DistributedDataParallel) for module in model.modules()):
        raise ValueError(
            "model must not be in DistributedDataParallel yet, which would not add up gradients of new "
            "parameters: wrap it after sparsify"
        )
