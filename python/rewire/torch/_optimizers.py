"""The state that optimizers of torch keep for every weight, moved along when links move.

An optimizer's state of a parameter is a dict. What has the weights' slots on its first axis moves with them:
momentum, Adam's moments, Adafactor's means by row. A number, such as Adam's step, stays, and so does what all
slots share (one row of means by column). Anything else cannot follow, and is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import nn

from rewire._checks import one_of_types
from rewire.torch._models import sparse_layers
from rewire.torch.linear import SparseLinear

__all__ = [
    "POWERS", "check_layers", "check_optimizer", "check_state", "group_of", "layers_of", "move_state",
    "replace_parameter",
]  # fmt: skip

# Optimizers that treat a parameter as a whole: with links that come and go it is none.
REFUSED = {
    "LBFGS": "keeps one history for all parameters together, in which links cannot move",
    "Muon": "orthogonalizes whole matrices, and the weights of links are none",
    "ZeroRedundancyOptimizer": "keeps the state of each weight on one process alone",
    "SparseAdam": "is for gradients that are sparse tensors; take AdamW, for the weights are plain tensors",
}
# State that redistribution by momentum looks at: a first moment, and a second.
POWERS = {"momentum_buffer": 1, "exp_avg": 1, "exp_avg_sq": 2}


def check_optimizer(optimizer: Any) -> torch.optim.Optimizer:
    """TypeError unless it is an optimizer; NotImplementedError for one whose state cannot follow links."""
    one_of_types("optimizer", optimizer, torch.optim.Optimizer, "a torch.optim.Optimizer")
    for cls in type(optimizer).__mro__:
        if cls.__name__ in REFUSED:
            raise NotImplementedError(
                f"optimizer must be another one than {cls.__name__}: it {REFUSED[cls.__name__]}"
            )
    for name, value in vars(optimizer).items():
        if isinstance(value, torch.optim.Optimizer):
            raise NotImplementedError(
                f"optimizer must keep its state itself, got {type(optimizer).__name__}, which has another "
                f"optimizer in {name!r}: what that keeps could not follow links that move"
            )
    return optimizer


def layers_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, SparseLinear]:
    """The sparse layers whose weights an optimizer trains, by name.

    Raises
    ------
    ValueError
        For weights that are computed from what it trains, and for one weight of two layers.
    """
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    found: dict[str, SparseLinear] = {}
    names: dict[int, str] = {}
    for name, module in sparse_layers(model).items():
        if "weight" not in module._parameters:
            if any(id(p) in trained for key, p in module.named_parameters() if key != "bias"):
                raise ValueError(
                    f"weights of {name} are computed from others (a parametrization, pruning, "
                    "weight norm), in which links cannot move: remove that first"
                )
        elif module.weight.requires_grad and id(module.weight) in trained:
            if names.setdefault(id(module.weight), name) != name:
                raise ValueError(
                    f"sparse layers must have weights of their own, got one for {names[id(module.weight)]} "
                    f"and {name}: use the same layer in both places"
                )
            found[name] = module
    return found


def check_layers(model: nn.Module, layers: Mapping[str, SparseLinear]) -> None:
    """ValueError unless the optimizer has some of the sparse layers that are there to be trained."""
    if not layers:
        if any(module.weight.requires_grad for module in sparse_layers(model).values()):
            raise ValueError(
                "optimizer must have the weights of the sparse layers, and has none of them: make it after "
                "sparsify, which puts new parameters into the model"
            )
        raise ValueError("model must have SparseLinear layers whose weights are trained: call sparsify first")


def group_of(optimizer: torch.optim.Optimizer, weight: torch.Tensor) -> Mapping[str, Any] | None:
    """The group of parameters that a weight is in."""
    return next((g for g in optimizer.param_groups if any(p is weight for p in g["params"])), None)


def check_state(optimizer: torch.optim.Optimizer, weight: torch.Tensor, name: str) -> None:
    """NotImplementedError for state that has neither slots on its first axis nor anything all slots share."""
    for key, value in optimizer.state.get(weight, {}).items():
        if value is None or isinstance(value, bool | int | float | str):
            continue
        if not torch.is_tensor(value):
            raise NotImplementedError(
                f"the state {key!r} of {type(optimizer).__name__} for {name} is a {type(value).__name__}, "
                "which cannot follow links that move"
            )
        if not (_by_slot(value, weight) or _shared(value, weight)):
            raise NotImplementedError(
                f"the state {key!r} of {type(optimizer).__name__} for {name} has shape {tuple(value.shape)}, "
                f"whose first axis alone is not the {len(weight)} slots: it cannot follow links that move"
            )


def _by_slot(value: torch.Tensor, weight: torch.Tensor) -> bool:
    if value.shape == weight.shape:
        return True
    n = len(weight)
    return value.ndim == 2 and value.shape[0] == n and (n == 1 or value.shape[1] != n)  # no slots by slots


def _shared(value: torch.Tensor, weight: torch.Tensor) -> bool:
    return value.numel() == 1 or (value.ndim == weight.ndim and value.shape[0] == 1)


def move_state(
    optimizer: torch.optim.Optimizer, weight: torch.Tensor, origin: NDArray[Any], values: torch.Tensor
) -> dict[str, Any]:
    """The state after a rewiring: every slot's moves with it, that of new slots is as in the beginning.

    Parameters
    ----------
    optimizer : Optimizer
    weight : Tensor, shape (slots, group)
        As it was.
    origin : ndarray of int64, shape (new slots,)
        Where each slot was before; -1 for new ones.
    values : Tensor, shape (new slots, group)
        The weights as they will be.
    """
    state = optimizer.state.get(weight, {})
    kept = torch.from_numpy(origin >= 0)
    old = torch.from_numpy(origin)[kept]
    found: dict[str, Any] = {}
    for key, value in state.items():
        if not torch.is_tensor(value) or not _by_slot(value, weight):
            found[key] = value
            continue
        birth = _birth(optimizer, weight, key)
        out = value.new_full((len(origin), *value.shape[1:]), birth or 0.0)
        if birth is None:
            out[~kept] = values[~kept].to(value.dtype)
        out[kept] = value[old]
        same = out.shape == value.shape
        found[key] = value.copy_(out) if same else out
    return found


def _birth(optimizer: torch.optim.Optimizer, weight: torch.Tensor, key: str) -> float | None:
    """What an optimizer has for a weight before its first step; None: the weight itself."""
    group = group_of(optimizer, weight) or {}
    kinds = {cls.__name__ for cls in type(optimizer).__mro__}
    if "Rprop" in kinds and key == "step_size":
        return float(group["lr"])
    if "Adagrad" in kinds and key == "sum":
        return float(group["initial_accumulator_value"])
    return None if "ASGD" in kinds and key == "ax" else 0.0


def replace_parameter(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter) -> None:
    """Let an optimizer go on with another parameter, and the state it has for the old one."""
    for group in optimizer.param_groups:
        group["params"] = [new if p is old else p for p in group["params"]]
    if old in optimizer.state:
        optimizer.state[new] = optimizer.state.pop(old)
