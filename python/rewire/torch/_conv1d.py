"""Linear layers whose matrix lies transposed, (inputs, outputs), as GPT-2 has them under the name ``Conv1D``.

They are known by what they have and compute: the class is that of the package transformers, or a copy of it.
"""

from __future__ import annotations

from typing import Any, Self, cast

import torch
from torch import nn
from torch.nn import functional as F

from rewire.torch._strangers import computes, facts_of
from rewire.torch.linear import SparseLinear

__all__ = ["SparseConv1D", "is_conv1d"]


def is_conv1d(module: nn.Module) -> bool:
    """Whether a module is one of these; real convolutions have a matrix for each place of their kernels."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    outputs = (getattr(module, "nf", None),)
    kind = type(module)
    return (
        kind.__name__ == "Conv1D"
        and isinstance(weight, torch.Tensor)
        and isinstance(bias, torch.Tensor)
        and weight.ndim == 2
        and outputs == tuple(weight.shape[1:]) == tuple(bias.shape)
        and (kind.__module__ == "transformers.pytorch_utils" or _multiplies(module))
    )


def _multiplies(module: nn.Module) -> bool:
    """Whether a class of that name does no more than multiply and add; asked by a copy with few numbers."""
    kind: Any = type(module)
    twin: Any = kind.__new__(kind)
    nn.Module.__init__(twin)
    vars(twin).update(facts_of(module) | {"nx": 4, "nf": 3})
    with torch.inference_mode(False):
        inputs = torch.linspace(-2.0, 2.0, 24).view(2, 3, 4)
        weight = twin.weight = nn.Parameter(torch.linspace(-1.0, 1.0, 12).view(4, 3))
        bias = twin.bias = nn.Parameter(torch.linspace(0.5, -0.5, 3))
    return computes(kind, twin, lambda x: F.linear(x, weight.t(), bias), (inputs, inputs[0]))


class SparseConv1D(SparseLinear):
    """A sparse layer in the place of one of these; its own state is that of any :class:`SparseLinear`.

    Attributes
    ----------
    dense_type : type
        The class of the dense layer, for the way back.
    dense_facts : dict
        Its other attributes, likewise.
    """

    dense_type: type[nn.Module]
    dense_facts: dict[str, Any]

    @classmethod
    def _from_dense(cls, weight: torch.Tensor, bias: torch.Tensor | None, key: Any, **options: Any) -> Self:
        return super()._from_dense(weight.t().contiguous(), bias, key, **options)

    def to_conv1d(self) -> nn.Module:
        """A dense layer of the same class as before that computes the same; a copy."""
        linear, kind = self.to_linear(), cast(Any, self.dense_type)
        made: Any = kind.__new__(kind)  # whatever its constructor takes, which differs
        nn.Module.__init__(made)
        vars(made).update(self.dense_facts)
        made.nx, made.nf = self.in_features, self.out_features
        made.weight = nn.Parameter(linear.weight.detach().t().contiguous())
        made.bias = linear.bias
        found: nn.Module = made.train(self.training)
        return found
