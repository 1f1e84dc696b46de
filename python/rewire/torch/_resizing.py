"""Parameters that change their size and go on in their optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

__all__ = ["IN_BACKWARD", "hooked", "resize"]

HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")
IN_BACKWARD = "_in_backward_optimizers"  # torch.distributed's, for optimizers that such hooks step


def resize(parameter: Any, values: torch.Tensor) -> nn.Parameter | None:
    """Give a parameter other values, of any shape; its gradient is given up.

    Returns
    -------
    nn.Parameter or None
        None: the parameter itself has them. Where a graph that used it is still alive (somebody keeps a
        loss), the graph remembers its shape, and every later backward pass would be refused: then another
        parameter, which has to take its place.
    """
    values = values.detach().to(parameter.dtype)
    parameter.grad = None
    if parameter.shape == values.shape:
        with torch.no_grad():
            parameter.copy_(values)
        return None
    if parameter.requires_grad and _remembered(parameter):
        return _dressed(nn.Parameter(values.clone(), requires_grad=True), parameter)
    parameter.data = values.clone()
    return None


def _dressed(new: nn.Parameter, old: nn.Parameter) -> nn.Parameter:
    """A parameter with the hooks and attributes of another."""
    new.__dict__.update(old.__dict__)
    for name in HOOKS:
        if getattr(old, name, None):
            setattr(new, name, getattr(old, name))
    return new


def hooked(parameter: torch.Tensor) -> bool:
    """Whether something is called when its gradient has been made; hooks of graph nodes cannot be seen."""
    return any(getattr(parameter, name, None) for name in (*HOOKS, IN_BACKWARD))


def _remembered(parameter: torch.Tensor) -> bool:
    """Whether a graph has a node that adds up this parameter's gradient.

    The parameter refers to that node weakly, and one that nobody else has is made anew when it is asked for:
    for a parameter of another shape, which the node then remembers.
    """
    now = parameter.data
    parameter.data = now.new_empty((now.shape[0] + 1, *now.shape[1:]))
    try:
        node: Any = torch.autograd.graph.get_gradient_edge(parameter).node
        return tuple(node._input_metadata[0].shape) == tuple(now.shape)
    finally:
        node = None
        parameter.data = now
