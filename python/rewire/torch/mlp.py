"""Sparse layers in a row that stay in tiles: what they hand to each other is never turned over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import nn

from rewire._checks import describe
from rewire._format import plural
from rewire.torch._chain import bare, entered, run
from rewire.torch._ops import rounds
from rewire.torch._steps import KINDS, Linear, kind_of
from rewire.torch.linear import SparseLinear

__all__ = ["SparseMLP"]


def _named(module: nn.Module) -> str | None:
    """The name of an activation module; None for another."""
    kind = kind_of(module)
    return next((name for name, known in KINDS.items() if kind is not None and kind[:3] == known[:3]), None)


class SparseMLP(nn.Module):
    """Sparse linear layers with an activation between each two, computed without leaving the kernels' layout.

    Parameters
    ----------
    widths : sequence of int
        Inputs, hidden widths, outputs: at least two numbers.
    activation : {"relu", "leaky_relu", "gelu", "gelu_tanh", "silu", "tanh", "sigmoid"}
        After every layer but the last. The slope of ``"leaky_relu"`` is 0.01.
    bias : bool
    **options
        Of every :class:`SparseLinear`: ``density``, ``group``, ``connectivity``, ``dtype``, ...

    Attributes
    ----------
    layers : nn.ModuleList of SparseLinear
        Ordinary layers: :class:`Rewirer`, states and optimizers see them as they see others.
    activation : str

    Notes
    -----
    It computes what ``nn.Sequential`` of these layers computes, to rounding. Inputs and outputs are
    converted, and nothing in between; so it is the faster the more layers there are. :class:`Tiled` says when
    the layers are run one by one, and takes other modules between them.

    Examples
    --------
    >>> import torch
    >>> from rewire.torch import SparseMLP
    >>> mlp = SparseMLP([784, 1000, 1000, 10], "relu", density=0.05)
    >>> mlp(torch.randn(32, 784)).shape
    torch.Size([32, 10])
    """

    layers: nn.ModuleList

    def __init__(
        self, widths: Sequence[int], activation: str = "relu", bias: bool = True, **options: Any
    ) -> None:
        super().__init__()
        if isinstance(widths, str) or not isinstance(widths, Sequence) or len(widths) < 2:
            raise ValueError(f"widths must be two numbers or more, inputs to outputs, got {describe(widths)}")
        pairs = zip(widths, widths[1:], strict=False)
        self._begin([SparseLinear(n, m, bias, **options) for n, m in pairs], activation)

    def _begin(self, layers: Sequence[SparseLinear], activation: str) -> None:
        if activation not in KINDS:
            known = ", ".join(map(repr, KINDS))
            raise ValueError(f"activation must be one of {known}, got {describe(activation)}")
        for first, second in zip(layers, layers[1:], strict=False):
            if first.out_features != second.in_features:
                raise ValueError(
                    f"layers must fit together: one has {plural(first.out_features, 'output')} and the next "
                    f"{plural(second.in_features, 'input')}"
                )
        self.layers, self.activation = nn.ModuleList(layers), activation

    @classmethod
    def from_sequential(cls, modules: Sequence[nn.Module] | nn.Sequential) -> Self:
        """One of the layers of an ``nn.Sequential``, which it shares: sparse, with one activation between.

        Raises
        ------
        TypeError, ValueError
            For anything else in it.
        """
        parts = list(modules)
        layers = [part for part in parts[::2] if isinstance(part, SparseLinear)]
        names = {_named(part) for part in parts[1::2]}
        if len(parts) % 2 == 0 or len(layers) != (len(parts) + 1) // 2 or len(names) > 1 or None in names:
            found = ", ".join(type(part).__name__ for part in parts)
            raise ValueError(
                "modules must be SparseLinear layers with one and the same activation "
                f"({', '.join(KINDS)}) between each two, got {found}"
            )
        made = cls.__new__(cls)
        nn.Module.__init__(made)
        made._begin(layers, str(names.pop()) if names else "relu")
        return made.train(all(part.training for part in parts))

    def _apart(self, x: torch.Tensor) -> torch.Tensor:
        """The layers one by one."""
        function = KINDS[self.activation].function
        for i, layer in enumerate(self.layers):
            x = layer(x if i == 0 else function(x))
        return x

    def _steps_of(self, dtype: torch.dtype) -> list[Linear] | None:
        """What a pass in tiles does; None where the layers are to be run one by one."""
        kind, steps = KINDS[self.activation], list[Linear]()
        layers: list[Any] = list(self.layers)
        for i, layer in enumerate(layers):
            if not bare(layer) or type(layer).forward is not SparseLinear.forward:
                return None
            parts = layer._parts(dtype)
            if parts is None:
                return None
            steps.append(Linear(*parts))
            if i < len(layers) - 1:
                steps[-1].kind = kind
        return steps

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (*, last width), for inputs of shape (*, first width)."""
        found = entered(input)
        if found is not None and input.shape[-1] == self.layers[0].in_features:
            x, lower = found
            steps = self._steps_of(x.dtype)
            if steps is not None:
                y = run(x, steps, rounds(lower))
                return y if lower is None else y.to(lower)
        return self._apart(input)

    def extra_repr(self) -> str:
        return f"activation={self.activation!r}"
