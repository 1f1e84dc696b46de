"""Asking a module of a class that we do not know what it computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

import torch
from torch import nn

__all__ = ["computes", "facts_of"]


def facts_of(module: nn.Module) -> dict[str, Any]:
    """Attributes that somebody has given a module, by name; no parameters, buffers or modules."""
    return {name: value for name, value in vars(module).items() if name[0] != "_" and name != "training"}


def computes(
    kind: type[nn.Module],
    twin: nn.Module,
    wanted: Callable[[torch.Tensor], torch.Tensor],
    inputs: Iterable[torch.Tensor],
) -> bool:
    """Whether ``kind.forward`` gives what is ``wanted`` of each input, and its gradients, in both modes.

    ``twin`` is a copy of the module that may be written to, ``wanted`` goes by its parameters. What it draws
    leaves PyTorch's generator as it was.
    """
    with (
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast("cpu", enabled=False),
    ):
        return all(
            _agrees(kind, twin.train(training), wanted, given.clone().requires_grad_())
            for training, given in product((True, False), inputs)
        )


def _agrees(
    kind: type[nn.Module],
    twin: nn.Module,
    wanted: Callable[[torch.Tensor], torch.Tensor],
    x: torch.Tensor,
) -> bool:
    try:
        found = kind.forward(twin, x)
    except Exception:  # a stranger's code, of other arguments or shapes
        return False
    should = wanted(x)
    if not isinstance(found, torch.Tensor) or found.shape != should.shape or not found.requires_grad:
        return False
    along = torch.linspace(0.5, 1.5, should.numel()).view_as(should)
    leaves = [x, *twin.parameters()]
    sides = ([y, *torch.autograd.grad(y, leaves, along, allow_unused=True)] for y in (found, should))
    return all(
        a is not None and b is not None and torch.allclose(a, b, 1e-3, 1e-5)
        for a, b in zip(*sides, strict=True)
    )
