"""Means and deviations that neither overflow nor vanish, and how those of two sets of samples are merged.

Squares of numbers beyond 1e154 overflow and those below 1e-162 vanish. Where numbers are so far from 1,
they are brought near it by a power of two first, which is exact; all others are left alone, so that their
results keep their bits.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Extremes", "Moments", "SampleWeights", "Weighed", "balanced", "level_of", "levels", "near_one", "quiet",
    "shifted", "within",
]  # fmt: skip

SAFE = 200  # numbers within 2^-200 and 2^200 can be squared, weighted and summed as they are
_FEW = 16  # numbers that Python looks at sooner than NumPy
NEAR, FAR = 2.0**-SAFE, 2.0**SAFE
LOWEST, HIGHEST = 2.0**-700, 2.0**800  # weighted sums of squares in between had no number beyond 2^450
_MOST = float(np.finfo(np.float64).max)
_EPS = float(np.finfo(np.float64).eps)


def quiet() -> np.errstate:
    """Whoever calls may have NumPy raise at every underflow: what is out of range is looked for by name."""
    return np.errstate(all="ignore")


def levels(largest: Any) -> NDArray[np.int64]:
    """Exponents of 2 that bring numbers of these magnitudes near 1; 0 where they are near enough."""
    _, exponent = np.frexp(np.asarray(largest, np.float64))
    return np.where(np.abs(exponent) <= SAFE, 0, exponent).astype(np.int64)


def near_one(largest: NDArray[np.float64]) -> bool:
    """Whether :func:`levels` of these magnitudes are all 0; in doubt False. A fifth of its time."""
    return within(largest, NEAR, FAR)


def within(x: NDArray[np.float64], low: float, high: float) -> bool:
    """Whether all of ``x`` are in [low, high); so are those of nothing."""
    if len(x) <= _FEW:
        few = x.tolist()  # a sum is no number if one of them is none, which `min` and `max` may pass over
        return not few or (low <= min(few) and max(few) < high and not math.isnan(sum(few)))
    return bool(np.minimum.reduce(x) >= low and np.maximum.reduce(x) < high)


def _near(*arrays: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """:func:`levels` of the largest of these, column by column; None if all are near 1."""
    top = np.abs(arrays).max(axis=0)
    if near_one(top):
        return None
    if np.all((top < FAR) & ((top >= NEAR) | (top == 0.0))):
        return None
    return levels(top)


def level_of(largest: float) -> int:
    """:func:`levels` of one number, in a tenth of the time."""
    exponent = math.frexp(largest)[1]
    return 0 if abs(exponent) <= SAFE else exponent


def shifted(x: Any, by: Any) -> Any:
    """x * 2**by, exact as long as it is a number; x itself where there is nothing to do."""
    return np.ldexp(x, by) if (by.any() if isinstance(by, np.ndarray) else by) else x


def balanced(weight: NDArray[np.float64] | None) -> tuple[NDArray[np.float64] | None, int]:
    """Weights whose largest is near 1, and the exponent that has been taken out of them."""
    if weight is None:
        return None, 0
    level = int(levels(weight.max()))
    return shifted(weight, -level), level


class Weighed(NamedTuple):
    """Weights of some samples."""

    near: NDArray[np.float64] | None  # near 1: only ratios within these samples matter
    apart: NDArray[np.float64] | None  # comparable with those of other samples; tiny ones may be 0 here
    amount: float  # the sum of the latter; more than 0 if anything is


class SampleWeights:
    """Weights of samples, at least 0 and not all 0; None for all 1.

    Only ratios matter, so that powers of two are taken out where sums would be out of range.
    """

    def __init__(self, values: NDArray[np.float64] | None) -> None:
        self.values, self._unit, self._plain = values, 0, True
        if values is not None:
            self._unit = int(levels(values.max()))
            self._plain = not levels(values[values > 0]).any()

    def of(self, rows: NDArray[np.int64]) -> Weighed:
        """Of these samples."""
        if self.values is None:
            return Weighed(None, None, float(len(rows)))
        found = self.values[rows]
        if self._plain:
            return Weighed(found, found, float(found.sum()))
        with quiet():
            near, level = balanced(found)
            assert near is not None
            amount = float(np.ldexp(near.sum(), level - self._unit))
            return Weighed(near, np.ldexp(found, -self._unit), max(amount, 5e-324) if near.any() else 0.0)


def _joined(m0: Any, m1: Any, d0: Any, d1: Any, fraction: float) -> tuple[Any, Any]:
    """Mean and variance of two sets of samples from theirs; the second has this fraction of the weight."""
    delta = m1 - m0
    variance = (1 - fraction) * d0 * d0 + fraction * d1 * d1 + fraction * (1 - fraction) * delta * delta
    return m0 + fraction * delta, variance


class Extremes(NamedTuple):
    """The least and the largest value of every column of some samples."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def merged(self, other: Extremes) -> Extremes:
        """Of both sets of samples together."""
        return Extremes(np.minimum(self.low, other.low), np.maximum(self.high, other.high))


class Moments(NamedTuple):
    """Mean and standard deviation (that of the population) of every column of some samples.

    ``deviation`` is 0 where a column never varied by more than rounding, which grows with ``rows``: the bound
    is that of scikit-learn's ``StandardScaler``, variance <= rows * eps * variance + (rows * mean * eps)^2.
    """

    total: float  # the sum of weights
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    rows: int

    @classmethod
    def of(
        cls,
        total: float,
        level: int,
        rows: int,
        mean: NDArray[np.float64],
        variance: NDArray[np.float64],
        exponent: NDArray[np.int64] | None,
    ) -> Self:
        """From sums over columns that were brought near 1 by ``exponent``, with weights so by ``level``."""
        # A column that never varies keeps rounding noise as its variance; dividing by that makes it huge.
        still = variance <= rows * _EPS * variance + np.square(mean * (rows * _EPS))
        deviation = np.sqrt(variance)
        if still.any():
            deviation[still] = 0.0
        count = min(float(np.ldexp(total, level)), _MOST) if level else total
        if exponent is None:
            return cls(count, mean, deviation, rows)
        return cls(count, shifted(mean, exponent), shifted(deviation, exponent), rows)

    def rounding(self) -> NDArray[np.float64]:
        """What a column may vary by and is still taken for constant."""
        return np.abs(self.mean) * (self.rows * _EPS)

    def merged(self, other: Moments) -> Moments:
        """Of both sets of samples together, as in Chan, Golub, LeVeque (1983); call it :func:`quiet`."""
        both = self.mean, other.mean, self.deviation, other.deviation
        by = -level_of(max(self.total, other.total))
        theirs = math.ldexp(other.total, by)
        fraction = theirs / (math.ldexp(self.total, by) + theirs)
        rows, count = self.rows + other.rows, min(self.total + other.total, _MOST)
        if len(self.mean) == 1 and all(NEAR <= abs(a.item()) < FAR for a in both):
            a, b, c, d = (column.item() for column in both)  # in a tenth of the time
            one_mean, one_variance = _joined(a, b, c, d, fraction)
            return Moments(count, np.array([one_mean]), np.array([math.sqrt(one_variance)]), rows)
        if within(np.abs(np.concatenate(both)), NEAR, FAR):
            mean, variance = _joined(*both, fraction)
            return Moments(count, mean, np.sqrt(variance), rows)
        exponent = _near(*both)
        m0, m1, d0, d1 = both if exponent is None else (shifted(a, -exponent) for a in both)
        if not (d0.all() or d1.all()):
            # Equal columns of two pieces have means that differ by the rounding of their sums.
            noise = (d0 == 0) & (d1 == 0) & (np.abs(m1 - m0) <= rows * _EPS * np.abs(m0))
            m1 = np.where(noise, m0, m1)
        mean, variance = _joined(m0, m1, d0, d1, fraction)
        deviation = np.sqrt(variance)
        if exponent is not None:
            mean, deviation = shifted(mean, exponent), shifted(deviation, exponent)
        return Moments(count, mean, deviation, rows)

    def digest(self) -> str:
        """A name for exactly these numbers."""
        numbers = struct.pack("=dd", self.total, self.rows), self.mean.tobytes(), self.deviation.tobytes()
        return hashlib.blake2b(b"".join(numbers), digest_size=16).hexdigest()
