"""What a model of torch is wrapped in: compiled, in several processes, in pieces."""

from __future__ import annotations

from typing import Any

from torch import nn

__all__ = ["refuse_sharded", "unwrapped"]


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
