"""PyTorch modules whose linear layers are truly sparse, on the CPU.

Imported as ``rewire.torch``, and never by ``import rewire``: ``pip install "rewire[torch]"``.
"""

from __future__ import annotations

try:
    import torch as _torch  # noqa: F401  the first line that needs it
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError(
        'rewire.torch needs PyTorch, which is not installed: pip install "rewire[torch]"'
    ) from error

from rewire.torch._densify import densify
from rewire.torch._sparsify import SparsifyReport, sparsify
from rewire.torch.branches import Gated, Residual
from rewire.torch.conv import SparseConv1x1
from rewire.torch.linear import SparseLinear
from rewire.torch.mlp import SparseMLP
from rewire.torch.module import Module
from rewire.torch.rewirer import Rewirer
from rewire.torch.tiled import Tiled

__all__ = [
    "Gated", "Module", "Residual", "Rewirer", "SparseConv1x1", "SparseLinear", "SparseMLP", "SparsifyReport",
    "Tiled", "densify", "sparsify",
]  # fmt: skip
