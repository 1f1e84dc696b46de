"""What estimators take from rows and features: weight decay, how long they train, when SET moves links.

Few rows are soon learnt by heart, noise and all, and an epoch of few rows has few steps. These defaults were
chosen on half of the data sets of ``bench/small_data.py`` and of ``bench/curved.py``, which print them beside
scikit-learn's MLP and a linear model.
"""

from __future__ import annotations

import inspect
import math
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from rewire import _checks
from rewire._inputs import Source, as_source
from rewire._registry import folded
from rewire.optim import KINDS, Optimizer, optimizer_names
from rewire.rewiring import Epochs, Steps

__all__ = [
    "Amount", "counted", "decay", "epochs", "kind", "make", "patience", "period", "precision", "size_of",
]  # fmt: skip

# weight_decay="auto". A Gaussian prior of precision p on every weight is a penalty of p / 2 times the sum of
# squares, and of its rows-th part where the loss is a mean over rows: as `alpha` of scikit-learn's MLP, and
# MacKay, A Practical Bayesian Framework for Backpropagation Networks, Neural Computation 4 (1992).
# The precision is the number of pairs of features: the more there are of them, the more noise a network can
# follow, and over one or two features a curve needs large weights. From FEATURES on it grows no more, where
# it would keep down what there is to learn. For k classes it is divided by the root of k: by that a softmax
# that knows nothing misses its targets in any one direction, where standardised numbers deviate by 1.
FEATURES = 5
# Small inputs need large weights. Where a network of two layers needs a product of weights 1 / size times as
# large, each layer takes the root of that, and a penalty on squares is 1 / size times what it would be: the
# decay is the size times as large. From half a deviation on it is as for standardised inputs.
ENOUGH = 0.5
# With 50 rows and fewer. A penalty that outweighs all there is to learn would take all layers to zero.
MOST = 0.3
OFTEN = 10  # weights make at most so many rows of one: a single one near zero would switch the decay off

# Evci et al., Rigging the Lottery, ICML 2020, move links every 100 steps. A new link is 0 and needs steps to
# grow: where an epoch is one step, SET would drop it again before the next one.
PERIOD = 100


# An epoch of few rows has few steps, and the loss of a curved target rests on plateaus for a while.
# SET moves links at step 1,500 too: a run that went on from there for a few steps would end before they grow.
EPOCHS, FEW_STEPS, MOST_EPOCHS = 100, 1500, 1000  # max_iter="auto"
PATIENCE, PATIENT_STEPS = 10, 500  # n_iter_no_change="auto", in epochs and in steps: whichever is longer


class Amount(NamedTuple):
    """How much data a call brings."""

    targets: int  # to learn from, each as often as its weight says; of a stream, all so far
    steps: int | None  # of an epoch; None for a stream, where an epoch is a piece
    precision: float = 0.0  # of the prior of a weight
    size: float = 1.0  # of the inputs; of standardised ones 1


def counted(rows: int, weight: NDArray[np.float64] | None) -> int:
    """Rows, each as often as its weight says; weights are > 0.

    The least weight is once: in what unit weights are given makes no difference.
    """
    if weight is None:
        return rows
    return round(min(float((weight / weight.min()).sum()), float(OFTEN * rows)))


def precision(features: int, classes: int) -> float:
    """Of the prior of a weight; ``classes`` is 1 for numbers and 2 for labels, which are there or not."""
    few = min(features, FEATURES)
    return few * (few + 1) / 2 / math.sqrt(classes)


def size_of(X: Any, standardize: Any) -> float:
    """Root of the mean square of all inputs, or 1 if that is more, or if they are to be standardised.

    Call it :func:`rewire._moments.quiet`.
    """
    if _checks.standardizing("standardize", standardize):
        return 1.0
    source = X if isinstance(X, Source) else as_source(X, None)
    moments = source.moments(None)
    return min(1.0, float(np.sqrt(np.mean(np.square(moments.mean) + np.square(moments.deviation)))))


def kind(optimizer: Any) -> type[Optimizer]:
    """The optimizer that an estimator names."""
    words = {folded(name): name for name in optimizer_names()}
    name = words.get(folded(optimizer), optimizer) if isinstance(optimizer, str) else optimizer
    return KINDS.named(_checks.choice("optimizer", name, words.values()))


def decay(weight_decay: float | str, optimizer: type[Optimizer], amount: Amount) -> float | None:
    """The weight decay of such an optimizer; None if it takes none."""
    takes = "weight_decay" in _arguments(cast(Any, optimizer))
    if not isinstance(weight_decay, str):
        value = _checks.number("weight_decay", weight_decay, low=0.0)
        if not takes and value:
            raise ValueError(f"weight_decay must be 0 or 'auto': {optimizer.name!r} takes none, got {value}")
        return value if takes else None
    _checks.refuse_word("weight_decay", weight_decay, "a number >= 0")
    if not takes or optimizer.usual_decay is not None:
        return optimizer.usual_decay if takes else None
    return min(MOST, amount.precision / amount.targets) * min(1.0, amount.size / ENOUGH)


@lru_cache(maxsize=64)  # a call of a stream asks, and the answer takes as long as half of its step
def _arguments(optimizer: Any) -> frozenset[str]:
    return frozenset(inspect.signature(optimizer).parameters)


def make(optimizer: type[Optimizer], rate: float | str, momentum: float, decay: float | None) -> Optimizer:
    """The optimizer, with what its constructor takes of these."""
    if isinstance(rate, str):
        _checks.refuse_word("learning_rate_init", rate, "a number > 0")
        given: dict[str, Any] = {} if optimizer.usual_lr is None else {"lr": optimizer.usual_lr}
    else:
        given = {"lr": _checks.number("learning_rate_init", rate, low=0.0, open_low=True)}
    if "momentum" in _arguments(cast(Any, optimizer)):
        given["momentum"] = momentum
    if decay is not None:
        given["weight_decay"] = decay
    return optimizer(**given)


def epochs(max_iter: int | str, steps: int | None) -> int:
    """Epochs of ``fit``, each of so many steps: "auto" are 100, for few rows as many as 1,500 steps hold."""
    if not isinstance(max_iter, str):
        return _checks.integer("max_iter", max_iter, low=1)
    _checks.refuse_word("max_iter", max_iter, "an integer >= 1")
    return EPOCHS if steps is None else max(EPOCHS, min(MOST_EPOCHS, FEW_STEPS // steps))


def patience(n_iter_no_change: int | float | str | None, steps: int | None) -> int | None:
    """Epochs without improvement after which ``fit`` stops; None if it does not."""
    if n_iter_no_change is None or n_iter_no_change == math.inf:
        return None
    if not isinstance(n_iter_no_change, str):
        return _checks.integer("n_iter_no_change", n_iter_no_change, low=1)
    _checks.refuse_word("n_iter_no_change", n_iter_no_change, "an integer >= 1, None")
    return PATIENCE if steps is None else max(PATIENCE, -(-PATIENT_STEPS // steps))


def period(amount: Amount) -> Epochs | Steps:
    """When SET moves links: after every epoch, but not before PERIOD steps."""
    return Epochs(1) if amount.steps is not None and amount.steps >= PERIOD else Steps(PERIOD)
