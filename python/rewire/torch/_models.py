"""What a model of torch is wrapped in: compiled, in several processes, in pieces."""

from __future__ import annotations

from typing import Any

from torch import nn

from rewire.torch.linear import SparseLinear

__all__ = ["refuse_outdated", "refuse_sharded", "sparse_layers", "unwrapped", "wrappers"]

SHARDED = ("FullyShardedDataParallel", "FSDPModule")
REPLICATED = ("DistributedDataParallel", "DDP")  # the latter for torch.distributed._composable.replicate
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
            if cls.__name__ in SHARDED:
                raise NotImplementedError(
                    f"model must not be in FSDP ({cls.__name__}), which cuts the weights of links into "
                    "pieces: use DistributedDataParallel, after sparsify"
                )
    for name, parameter in model.named_parameters():
        if type(parameter.data).__name__ == "DTensor":
            raise NotImplementedError(f"parameters must be plain tensors, got {name} as a DTensor (FSDP, TP)")


def refuse_outdated(model: nn.Module) -> None:
    """ValueError for `DistributedDataParallel` around layers that have become sparse since it was made.

    It goes by the parameters that it found, and would leave gradients of others as they are on each rank.
    """
    for wrapper in model.modules():
        if isinstance(wrapper, nn.parallel.DistributedDataParallel):
            found = {id(parameter) for parameter in wrapper._module_parameters}
            for name, layer in sparse_layers(wrapper.module).items():
                ignored = f"{name}.weight" in wrapper.parameters_to_ignore
                if id(layer.weight) not in found and not ignored:
                    raise ValueError(
                        f"model must be in DistributedDataParallel after sparsify, got one in which {name} "
                        "was replaced since it was wrapped: wrap the model inside anew"
                    )


def wrappers(model: nn.Module) -> dict[int, str]:
    """For modules in wrappers that go by the parameters they have been made with: which, by `id`."""
    return {
        id(inside): cls.__name__
        for module in model.modules()
        for cls in type(module).__mro__
        if cls.__name__ in SHARDED + REPLICATED
        for inside in module.modules()
    }
