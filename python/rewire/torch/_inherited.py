"""What somebody has put on a dense layer, and how it comes to the sparse one in its place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import _WrappedHook

from rewire._warn import warn
from rewire.torch._conv1d import SparseConv1D
from rewire.torch._resizing import IN_BACKWARD, hooked
from rewire.torch._strangers import facts_of
from rewire.torch.conv import SparseConv1x1
from rewire.torch.linear import SparseLinear

__all__ = ["inherit", "why_not_inherited"]

HOOKS = ("_hooks", "_hooks_with_kwargs", "_hooks_always_called")  # how fields of hooks end
# A layer of each kind as it is made, dense and sparse; what others have more is somebody's own.
AS_MADE: dict[type, tuple[nn.Module, SparseLinear]] = {
    nn.Linear: (nn.Linear(1, 1, device="meta"), SparseLinear(1, 1, device="meta")),
    nn.Conv2d: (nn.Conv2d(1, 1, 1, device="meta"), SparseConv1x1(1, 1, device="meta")),
}


def why_not_inherited(dense: nn.Module) -> str | None:
    """Why a sparse layer would not do what somebody has made this one do; None if it would."""
    sparse = _as_made(dense)[1]
    parts = [vars(cls) for cls in type(sparse).__mro__ if not issubclass(nn.Module, cls)]
    taken = {name for names in (*parts, *_fields(sparse)) for name in names}
    for added in _added(dense):
        for name, value in added.items():
            if name in taken:
                return f"its own {name} would hide that of a sparse layer"
            if isinstance(value, MethodType) and value.__self__ is dense:
                return f"its {name} is a method that is bound to it"
    return None


def inherit(pairs: Mapping[str, tuple[SparseLinear, nn.Module]]) -> None:
    """Give sparse layers what dense ones have beside weights, by names; warn of hooks that stay behind."""
    left = [
        f"{name}.{which}"
        for name, (_, dense) in pairs.items()
        for which, parameter in dense._parameters.items()
        if which in ("weight", "bias") and parameter is not None and hooked(parameter)
    ]
    if left:
        warn(
            f"hooks of {', '.join(left)} do not go along, for these are new parameters: register them again",
            UserWarning,
        )
    for sparse, dense in pairs.values():
        if isinstance(sparse, SparseConv1x1) and isinstance(dense, nn.Conv2d):
            sparse.stride = dense.stride[0], dense.stride[1]
        elif isinstance(sparse, SparseConv1D):
            sparse.dense_type = type(dense)
            sparse.dense_facts = facts_of(dense)
        sparse.train(dense.training)
        _take_parameters(sparse, dense)
        _take_hooks(sparse, dense)
        for mine, added in zip(_fields(sparse), _added(dense), strict=True):
            mine.update(added)
        sparse._non_persistent_buffers_set |= dense._non_persistent_buffers_set


def _as_made(dense: nn.Module) -> tuple[nn.Module, SparseLinear]:
    """Those of a layer's kind; ``Conv1D`` has what ``nn.Linear`` has, and names of its own for its sizes."""
    return AS_MADE.get(type(dense), AS_MADE[nn.Linear])


def _fields(module: nn.Module) -> tuple[dict[str, Any], ...]:
    """All that a module has, by names."""
    return vars(module), module._parameters, module._buffers, module._modules


def _added(dense: nn.Module) -> list[dict[str, Any]]:
    """What somebody has put into each of the fields, but for methods that were only put back."""
    return [
        {
            name: value
            for name, value in fields.items()
            if name not in plain and not _put_back(name, value, dense)
        }
        for fields, plain in zip(_fields(dense), _fields(_as_made(dense)[0]), strict=True)
    ]


def _put_back(name: str, value: Any, dense: nn.Module) -> bool:
    """Whether this is the method that the layer has under this name anyhow."""
    bound = isinstance(value, MethodType) and value.__self__ is dense
    return bound and value.__func__ is getattr(type(dense), name, None)


def _take_parameters(sparse: SparseLinear, dense: nn.Module) -> None:
    """What they have beside values; tensors of their shape are about the old values."""
    for name in ("weight", "bias"):
        new, old = sparse._parameters[name], dense._parameters[name]
        if new is not None and old is not None:
            new.requires_grad_(old.requires_grad)
            for attribute, value in vars(old).items():
                shaped = isinstance(value, torch.Tensor) and value.shape[-old.ndim :] == old.shape
                if attribute != IN_BACKWARD and not shaped:
                    setattr(new, attribute, value)


def _take_hooks(sparse: SparseLinear, dense: nn.Module) -> None:
    """Those of the module, which handles that were given out still remove.

    For these both layers share their dictionaries. Whoever still runs the dense one therefore calls those
    hooks that are told their module (of loading) with the sparse one.
    """
    for field, hooks in vars(dense).items():
        if field.endswith(HOOKS) and hooks:
            for key, hook in hooks.items():
                if isinstance(hook, _WrappedHook) and hook.with_module:
                    hooks[key] = _WrappedHook(hook.hook, sparse)
            setattr(sparse, field, hooks)
    sparse._is_full_backward_hook = dense._is_full_backward_hook
