"""Cross entropies: of classes, and of outputs that are a yes or no each.

Both work on logits: a final softmax or sigmoid is *fused* (left out while training), which is exact where the
plain formula would overflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire import _checks, _core
from rewire._moments import quiet
from rewire._targets import Targets, Truth, class_labels, is_sparse, real_array, refuse_where, target_values
from rewire.activations import Activation, Linear, Sigmoid, Softmax
from rewire.losses.base import Loss, register_loss, unfit
from rewire.metrics import Accuracy, Metric

__all__ = ["BinaryCrossEntropy", "CrossEntropy"]


@register_loss
class CrossEntropy(Loss):
    """Cross entropy over classes: -sum_i w_i t_i log softmax(z)_i.

    The final layer is softmax (fused) or linear (taken as logits). Targets are class labels, integers in
    [0, n_out), or probabilities (n, n_out) whose rows sum to 1: one-hot or soft.

    Parameters
    ----------
    label_smoothing : float in [0, 1]
        Targets t become (1 - label_smoothing) t + label_smoothing / n_out.
    class_weight : array-like, shape (n_out,), optional
        The weights w_i of the classes, at least 0 and not all 0. The mean over samples is weighted by those
        of their labels, too, as in torch; rows of probabilities have no label, and count once.

    References
    ----------
    Szegedy et al., *Rethinking the Inception architecture for computer vision*, CVPR 2016, section 7.
    """

    name = "cross_entropy"
    kind = "softmax_ce"
    finds_right = True

    def __init__(self, label_smoothing: float = 0.0, class_weight: ArrayLike | None = None) -> None:
        self.label_smoothing = _checks.number("label_smoothing", label_smoothing, low=0.0, high=1.0)
        self.class_weight: list[float] | None = None
        self._weights: NDArray[np.float64] | None = None
        if class_weight is not None:
            if isinstance(class_weight, (str, Mapping)):
                raise TypeError(
                    "class_weight must be a list of numbers, one for each class in their order (classes_ of "
                    f"an estimator), got {_checks.describe(class_weight)}: give fit sample_weight="
                    "sklearn.utils.class_weight.compute_sample_weight(class_weight, y), or of "
                    "compute_class_weight the numbers here"
                )
            found = np.asarray(_checks.detached(class_weight, "class_weight"))
            size = len(found) if found.ndim == 1 else 0
            weights = _checks.float_vector("class_weight", class_weight, size, low=0.0).copy()
            if not weights.any():
                raise ValueError("class_weight must have a positive sum, got 0")
            self.class_weight, self._weights = weights.tolist(), weights

    def fused(self, final: Activation) -> bool:
        if not isinstance(final, (Softmax, Linear)):
            raise unfit(
                self,
                final,
                "'softmax' or 'linear' (taken as logits)",
                "its outputs are no distribution over classes",
            )
        return True

    def check_outputs(self, n_out: int) -> None:
        if n_out < 2:
            raise ValueError(
                "loss 'cross_entropy' needs at least 2 outputs, one for each class, got 1: "
                "use 'binary_cross_entropy' with a sigmoid"
            )
        if self._weights is not None and len(self._weights) != n_out:
            raise ValueError(
                f"class_weight must have {n_out} numbers, one for each class, got {len(self._weights)}"
            )

    def metric(self, final: Activation) -> Metric:
        return Accuracy()

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        sparse = is_sparse(y)
        a = y if sparse else real_array(y, name)
        if a.ndim == 2 and a.shape[1] == 1 and n_out > 1:
            raise ValueError(
                f"{name} must have shape (samples,), or (samples, {n_out}) for probabilities, got {a.shape}: "
                f"give labels as a vector, {name}.ravel()"
            )
        if a.ndim == 2:
            found = target_values(a, n_out, name)
            found.refuse_where(found.numbers() < 0, name, "hold probabilities >= 0")
            with quiet():
                total = np.asarray(a.sum(axis=1, dtype=np.float64)).reshape(-1)
            refuse_where(np.abs(total - 1.0) > 1e-3, total, name, "have rows that sum to 1")
            return found
        if a.ndim != 1 or sparse:
            raise ValueError(f"{name} must have shape (samples,) or (samples, {n_out}), got {a.shape}")
        return class_labels(a, n_out, name)

    def evaluate(
        self,
        z: _core.Tiles,
        truth: Truth,
        weight: NDArray[np.float64] | None,
        dz: _core.Tiles | None,
        threads: int = 1,
    ) -> float:
        if truth.targets.labels is not None:
            truth.right = np.empty(len(truth.rows), np.bool_)
        return _core.loss(
            self.kind, z, truth.targets.core, truth.rows, weight, dz, threads,
            smoothing=self.label_smoothing, class_weight=self._weights, right=truth.right,
        )  # fmt: skip

    def counts(self, truth: Truth, weight: NDArray[np.float64] | None) -> float:
        if self._weights is None or truth.targets.labels is None:
            return 1.0
        of_classes = self._weights[truth.array()]
        return float(of_classes.mean() if weight is None else (of_classes * weight).sum() / weight.sum())


@register_loss
class BinaryCrossEntropy(Loss):
    """Binary cross entropy, averaged over the outputs of a sample: each is a yes or no of its own.

    The final layer is sigmoid (fused) or linear (taken as logits). Targets (n, n_out), or (n,) for one
    output, lie in [0, 1]. A SciPy CSR matrix of them stays sparse: of many labels a sample has few.
    """

    name = "binary_cross_entropy"
    kind = "sigmoid_bce"

    def fused(self, final: Activation) -> bool:
        if not isinstance(final, (Sigmoid, Linear)):
            raise unfit(
                self,
                final,
                "'sigmoid' or 'linear' (taken as logits)",
                "its outputs are no probabilities of yes",
            )
        return True

    def metric(self, final: Activation) -> Metric:
        return Accuracy(threshold=0.0)  # of logits: probability 1/2

    def targets(self, y: Any, n_out: int, name: str = "y") -> Targets:
        found = target_values(y, n_out, name)
        a = found.numbers()
        if a.dtype.kind != "b":
            found.refuse_where((a < 0) | (a > 1), name, "lie in [0, 1]")
        return found
