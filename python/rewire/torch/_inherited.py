"""What a sparse layer takes over from the dense one in whose place it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.modules.module import _WrappedHook

from rewire._warn import warn
from rewire.torch._resizing import hooked
from rewire.torch.conv import SparseConv1x1
from rewire.torch.linear import SparseLinear

__all__ = ["inherit"]

HOOKS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")  # how fields of hooks end
# What torch itself gives a layer; the rest is somebody's own.
OF_TORCH = {*vars(nn.Linear(1, 1, device="meta")), *vars(nn.Conv2d(1, 1, 1, device="meta"))}


def inherit(pairs: Mapping[str, tuple[SparseLinear, Any]]) -> None:
    """Give sparse layers what dense ones have beside weights, by names; warn of hooks that stay behind."""
    left = [
        f"{name}.{which}"
        for name, (_, dense) in pairs.items()
        for which, parameter in (("weight", dense.weight), ("bias", dense.bias))
        if parameter is not None and hooked(parameter)
    ]
    if left:
        warn(
            f"hooks of {', '.join(left)} do not go along, for these are new parameters: register them again",
            UserWarning,
        )
    for sparse, dense in pairs.values():
        if isinstance(sparse, SparseConv1x1):
            sparse.stride = dense.stride[0], dense.stride[1]
        sparse.train(dense.training)
        for new, old in ((sparse.weight, dense.weight), (sparse.bias, dense.bias)):
            if new is not None and old is not None:
                new.requires_grad_(old.requires_grad)
                new.__dict__.update(old.__dict__)
        _take_hooks(sparse, dense)
        _take_attributes(sparse, dense)


def _take_hooks(sparse: SparseLinear, dense: nn.Module) -> None:
    """Those of the module, which handles that were given out still remove."""
    for field, hooks in vars(dense).items():
        if field.endswith(HOOKS) and hooks:
            for key, hook in hooks.items():
                if isinstance(hook, _WrappedHook) and hook.with_module:
                    hooks[key] = _WrappedHook(hook.hook, sparse)
            setattr(sparse, field, hooks)
    sparse._is_full_backward_hook = dense._is_full_backward_hook


def _take_attributes(sparse: SparseLinear, dense: nn.Module) -> None:
    """What somebody has put on the layer, under names that the sparse one has no use for."""
    for name, value in vars(dense).items():
        if name not in OF_TORCH and not hasattr(sparse, name):
            setattr(sparse, name, value)
    for field in ("_parameters", "_buffers", "_modules"):
        for name, value in getattr(dense, field).items():
            if not hasattr(sparse, name):
                getattr(sparse, field)[name] = value
                if name in dense._non_persistent_buffers_set:
                    sparse._non_persistent_buffers_set.add(name)
