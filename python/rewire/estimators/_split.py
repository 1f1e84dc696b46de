"""Which samples early stopping holds out: few enough to train, enough to tell epochs apart."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rewire.link_counts import largest_remainder

__all__ = ["hold_out"]

LEAST = 2  # samples on either side: R2 of one is undefined, accuracy of one is 0 or 1

_TAG = 0x486F6C64  # "Hold": keeps the samples apart from other uses of the seed


def hold_out(
    n_samples: int,
    fraction: float,
    seed: int,
    labels: NDArray[np.int64] | None,
    numbers: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Samples to train on and samples to validate on, both in random order.

    Parameters
    ----------
    n_samples : int
    fraction : float in (0, 1)
        ``validation_fraction``. ceil(fraction * n_samples) are held out, at least two.
    seed : int
    labels : ndarray of int64, shape (n_samples,), or None
        Classes, which are held out in proportion (by largest remainder); one sample of each stays in
        training, so that a class with a single one is not held out.
    numbers : ndarray of float64, shape (n_samples, n_outputs), or None
        Targets that vary on both sides: where those of one do not, a sample changes places. R2 of targets
        that are all equal is 0 whatever is learnt.

    Raises
    ------
    ValueError
        If fewer than two samples would be left on either side, what would do is named; if numbers cannot
        vary on both.
    """
    wanted = max(LEAST, math.ceil(fraction * n_samples))
    asked = f"early_stopping=True with validation_fraction={fraction:g}"
    if n_samples < 2 * LEAST:
        raise ValueError(
            f"{asked} needs at least {2 * LEAST} samples, {LEAST} to hold out and {LEAST} to train on, "
            f"got {n_samples} sample{'s' * (n_samples != 1)}"
        )
    if n_samples - wanted < LEAST:
        raise ValueError(
            f"{asked} holds out {wanted} of {n_samples} samples and leaves {n_samples - wanted} to train on: "
            f"validation_fraction must be at most {_down((n_samples - LEAST) / n_samples)} for as many"
        )
    rng = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, _TAG])))
    order = rng.permutation(n_samples)
    if labels is None:
        if numbers is not None and not _vary_both(order, wanted, numbers):
            raise ValueError(
                f"{asked} needs targets that vary among those held out and among the others, got "
                f"{n_samples} of which {n_samples - 1} or more are equal: early_stopping=False trains on all"
            )
        return order[wanted:], order[:wanted]

    classes, counts = np.unique(labels, return_counts=True)
    chance = rng.permutation(len(classes))  # of equal remainders any may come first
    classes, counts = classes[chance], counts[chance]
    most = (counts - 1).tolist()
    if sum(most) < LEAST:
        raise ValueError(
            f"{asked} holds out samples of classes that have at least two, got {n_samples} samples of "
            f"{len(classes)} classes: early_stopping=False trains on all of them"
        )
    wanted = min(wanted, sum(most))
    parts = largest_remainder([wanted * count / n_samples for count in counts.tolist()], wanted, most)
    held = np.zeros(n_samples, dtype=bool)
    for name, count in zip(classes, parts, strict=True):
        held[order[labels[order] == name][:count]] = True
    return order[~held[order]], order[held[order]]


def _vary_both(order: NDArray[np.int64], wanted: int, numbers: NDArray[np.float64]) -> bool:
    """Exchange one sample if targets of the first ``wanted`` or of the others are all equal.

    Whether targets vary on both sides then: they do, unless all samples but one have the same.
    """
    sides = slice(None, wanted), slice(wanted, None)
    for mine, its in (sides, sides[::-1]):
        rows, others = order[mine], order[its]
        same = numbers[rows[0]]
        if (numbers[rows] == same).all():
            different = np.flatnonzero((numbers[others] != same).any(axis=1))
            if len(different) < 2:  # one that changes places leaves the others without
                return False
            rows[-1], others[different[0]] = others[different[0]], rows[-1]
    return True


def _down(value: float) -> str:
    """Rounded down to two places."""
    return f"{math.floor(100 * value) / 100:g}"
