"""What sends its inputs two ways and joins them again: a sum, a product. Alone, or in `Tiled`."""

from __future__ import annotations

import torch
from torch import nn

from rewire._checks import one_of_types

__all__ = ["Gated", "Residual"]


def _apart(input: torch.Tensor, branch: nn.Module) -> torch.Tensor:
    """Inputs for a branch: a copy where it would write over those that the other one reads."""
    return input.clone() if any(getattr(part, "inplace", False) for part in branch.modules()) else input


class Residual(nn.Sequential):
    """x + f(x), with modules in a row for f: a branch of a block, alone or in :class:`Tiled`.

    Parameters
    ----------
    *modules : nn.Module
        As for ``nn.Sequential``; the outputs of the last are as wide as the inputs of the first.

    Examples
    --------
    >>> import torch
    >>> from rewire.torch import Residual
    >>> Residual(torch.nn.LayerNorm(8), torch.nn.GELU())(torch.randn(2, 8)).shape
    torch.Size([2, 8])
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """x + f(x). ValueError if f changes the shape."""
        y = super().forward(_apart(input, self))
        if isinstance(y, torch.Tensor) and y.shape != input.shape:
            raise ValueError(
                "modules must give outputs of the shape of their inputs, "
                f"got {tuple(y.shape)} for {tuple(input.shape)}"
            )
        return input + y


class Gated(nn.Module):
    """gate(x) * value(x), the gated linear units of feed-forward blocks: SwiGLU, GeGLU, ReGLU, GLU.

    Parameters
    ----------
    gate : nn.Module
        With its activation, in an ``nn.Sequential``.
    value : nn.Module
        Its outputs are as wide as those of the gate.

    Notes
    -----
    Shazeer, GLU Variants Improve Transformer, arXiv:2002.05202, equations 5 and 6.

    Examples
    --------
    The feed-forward block of Llama:

    >>> import torch
    >>> from torch import nn
    >>> from rewire.torch import Gated, SparseLinear, Tiled
    >>> gate = nn.Sequential(SparseLinear(64, 176, bias=False), nn.SiLU())
    >>> block = Tiled(Gated(gate, SparseLinear(64, 176, bias=False)), SparseLinear(176, 64, bias=False))
    >>> block(torch.randn(2, 10, 64)).shape
    torch.Size([2, 10, 64])
    """

    def __init__(self, gate: nn.Module, value: nn.Module) -> None:
        super().__init__()
        self.gate = one_of_types("gate", gate, nn.Module, "an nn.Module")
        self.value = one_of_types("value", value, nn.Module, "an nn.Module")

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """gate(x) * value(x). ValueError if their shapes differ."""
        gate = self.gate(_apart(input, self.gate))
        value = self.value(_apart(input, self.value))
        if isinstance(gate, torch.Tensor) and isinstance(value, torch.Tensor) and gate.shape != value.shape:
            raise ValueError(
                "gate and value must give outputs of one shape, "
                f"got {tuple(gate.shape)} and {tuple(value.shape)}"
            )
        return gate * value
