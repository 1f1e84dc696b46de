"""The squared hinge: the loss of support vector machines, without the corner."""

from __future__ import annotations

from typing import Any

from rewire._targets import Targets, class_labels, is_sparse, real_array, target_values
from rewire.activations import Activation, Linear
from rewire.losses.base import Loss, register_loss, unfit
from rewire.metrics import Accuracy, Metric

__all__ = ["SquaredHinge"]


@register_loss
class SquaredHinge(Loss):
    """max(0, 1 - s z)^2 with s = 1 for yes and -1 for no, averaged over the outputs of a sample.

    The final layer is linear: outputs are scores, and yes is above 0. Targets are class labels (m,), integers
    in [0, n_out), of which every output tells one from all others; or a yes or no for each output,
    (m, n_out), or (m,) for one output: True and False, 1 and 0, or 1 and -1.
    """

    name = "squared_hinge"
    kind = "squared_hinge"

    def fused(self, final: Activation) -> bool:
        if not isinstance(final, Linear):
            raise unfit(self, final, "'linear'", "its outputs are to be scores on either side of 0")
        return False

    def metric(self, final: Activation) -> Metric:
        return Accuracy(threshold=0.0)

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        a = y if is_sparse(y) else real_array(y, name)
        if a.ndim == 1 and n_out > 1 and not is_sparse(y):
            return class_labels(a, n_out, name)
        found = target_values(a, n_out, name)
        numbers = found.numbers()
        if numbers.dtype.kind == "b":
            return found
        if found.sparse is None and (numbers == -1).any():
            found.refuse_where((numbers != -1) & (numbers != 1), name, "hold 1 and 0, or 1 and -1")
            return Targets(values=numbers > 0)
        found.refuse_where((numbers != 0) & (numbers != 1), name, "hold 1 and 0, or 1 and -1")
        return found
