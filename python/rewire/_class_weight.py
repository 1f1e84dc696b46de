"""How much a sample counts by its class: ``class_weight`` of classifiers, as scikit-learn has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import describe, number

__all__ = ["class_weights", "weighed"]


def class_weights(
    given: Any, classes: NDArray[Any], targets: NDArray[np.int64], weight: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """The weight of every class.

    Parameters
    ----------
    given : mapping or "balanced"
        Weights by class, 1 for those that it lacks. Balanced are n / (k * n_i) for the i-th of the k classes
        that are there, n and n_i being sums of sample weights.
    classes : ndarray, shape (n_classes,)
    targets : ndarray of int64, shape (n_samples,)
        Positions in ``classes``.
    weight : ndarray of float64, shape (n_samples,), or None

    Returns
    -------
    ndarray of float64, shape (n_classes,)

    Raises
    ------
    TypeError, ValueError
        For anything else; for a key that is no class where a class has no weight, which is a slip of the pen:
        labels that are strings, say, and keys that are numbers.

    References
    ----------
    King and Zeng, *Logistic regression in rare events data*, Political Analysis 9 (2001), of "balanced".
    """
    if isinstance(given, str) and given == "balanced":
        if weight is not None and weight.any():
            weight = weight / weight.max()  # their unit makes no difference, and sums stay numbers
        there = np.bincount(targets if weight is None else targets[weight > 0.0], None, len(classes)) > 0
        sums = np.bincount(targets, weight, len(classes))
        with np.errstate(over="ignore"):
            each = sums.sum() / max(1, there.sum())
            found = np.divide(each, sums, out=np.ones(len(classes)), where=there)
        if not np.isfinite(found).all():
            raise ValueError(
                "sample_weight must be less unequal for class_weight='balanced', got weights of class "
                f"{classes.tolist()[int(np.argmin(np.isfinite(found)))]!r} that are nothing beside others"
            )
        return found
    if not isinstance(given, Mapping):
        raise (ValueError if isinstance(given, str) else TypeError)(
            f"class_weight must be a dict of weights by class, 'balanced' or None, got {describe(given)}"
        )
    labels = classes.tolist()
    without = [label for label in labels if label not in given]
    strange = [key for key in given if key not in labels]
    if without and strange:
        raise ValueError(
            f"class_weight must have classes of y as keys, {_some(labels)}, got {describe(strange[0])}"
        )
    return np.array(
        [number(f"class_weight[{label!r}]", given.get(label, 1.0), low=0.0) for label in labels], np.float64
    )


def weighed(of_class: NDArray[np.float64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    """What samples weigh by their classes, times their own weights.

    Raises
    ------
    ValueError
        If a product is no number any more, or 0 though neither weight is.
    """
    if weight is None:
        return of_class
    with np.errstate(over="ignore", under="ignore"):
        found = of_class * weight
    lost = ~np.isfinite(found) | ((found == 0.0) & (of_class > 0.0) & (weight > 0.0))
    if lost.any():
        at = int(np.argmax(lost))
        raise ValueError(
            f"class_weight must leave weights times sample_weight within float64, got {of_class[at]:g} times "
            f"{weight[at]:g} in row {at}"
        )
    return found


def _some(labels: list[Any]) -> str:
    """The first of them, as they are written."""
    return ", ".join(map(repr, labels[:8])) + (", ..." if len(labels) > 8 else "")
