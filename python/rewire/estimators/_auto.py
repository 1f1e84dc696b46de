"""What estimators take from the number of rows: weight decay, and when SET moves links.

Few rows are soon learnt by heart, noise and all, and an epoch of few rows has few steps. These defaults were
chosen on half of the data sets of ``bench/small_data.py``, which prints them beside scikit-learn's MLP and a
linear model.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _checks
from rewire.rewiring import Epochs, Steps

__all__ = ["Amount", "counted", "decay", "period"]

# weight_decay="auto". A Gaussian prior of precision DECAY on every weight is a penalty of DECAY / 2 times the
# sum of squares, and of its rows-th part where the loss is a mean over rows: as `alpha` of scikit-learn's
# MLP, and MacKay, A Practical Bayesian Framework for Backpropagation Networks, Neural Computation 4 (1992).
DECAY = 10.0
# With 20 rows and fewer. A penalty that outweighs all there is to learn would take several layers to zero.
MOST = 0.5
OFTEN = 10  # weights make at most so many rows of one: a single one near zero would switch the decay off
DECOUPLED = 0.01  # AdamW's own: beside its steps decay is no penalty on the loss, so rows say nothing of it

# Evci et al., Rigging the Lottery, ICML 2020, move links every 100 steps. A new link is 0 and needs steps to
# grow: where an epoch is one step, SET would drop it again before the next one.
PERIOD = 100


class Amount(NamedTuple):
    """How much data a call brings."""

    targets: int  # to learn from, each as often as its weight says; of a stream, all so far
    steps: int | None  # of an epoch; None for a stream, where an epoch is a piece


def counted(rows: int, weight: NDArray[np.float64] | None) -> int:
    """Rows, each as often as its weight says; weights are > 0.

    The least weight is once: in what unit weights are given makes no difference.
    """
    if weight is None:
        return rows
    return round(min(float((weight / weight.min()).sum()), float(OFTEN * rows)))


def decay(weight_decay: float | str, optimizer: str, amount: Amount) -> float:
    """The weight decay of an optimizer that an estimator names."""
    if not isinstance(weight_decay, str):
        return _checks.number("weight_decay", weight_decay, low=0.0)
    _checks.choice("weight_decay", weight_decay, ("auto",))
    return DECOUPLED if optimizer == "adamw" else min(MOST, DECAY / amount.targets)


def period(amount: Amount) -> Epochs | Steps:
    """When SET moves links: after every epoch, but not before PERIOD steps."""
    return Epochs(1) if amount.steps is not None and amount.steps >= PERIOD else Steps(PERIOD)
