"""Means and deviations that neither overflow nor vanish, and how those of two sets of samples are merged.

Squares of numbers beyond 1e154 overflow and those below 1e-162 vanish. Where numbers are so far from 1,
they are brought near it by a power of two first, which is exact; all others are left alone, so that their
results keep their bits.
"""

from __future__ import annotations

import hashlib
import math
import struct
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._core import SAFE

__all__ = [
    "LEAST", "Extremes", "Moments", "SampleWeights", "Weighed", "balanced", "deviations", "level_of",
    "levels", "near_one", "quiet", "shifted", "within",
]  # fmt: skip

_FEW = 16  # numbers that Python looks at sooner than NumPy
NEAR, FAR = 2.0**-SAFE, 2.0**SAFE
LOWEST, HIGHEST = 2.0**-700, 2.0**800  # weighted sums of squares in between had no number beyond 2^450
MOST = float(np.finfo(np.float64).max)
EPS = float(np.finfo(np.float64).eps)
LEAST = math.ulp(0.0)  # the least number above 0


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


def level_of(largest: float) -> int:
    """:func:`levels` of one number, in a tenth of the time."""
    exponent = math.frexp(largest)[1]
    return 0 if abs(exponent) <= SAFE else exponent


def shifted(x: Any, by: Any) -> Any:
    """x * 2**by, exact as long as it is a number; x itself where there is nothing to do."""
    return np.ldexp(x, by) if (by.any() if isinstance(by, np.ndarray) else by) else x


def deviations(near: NDArray[np.float64], by: Any) -> NDArray[np.float64]:
    """Deviations near 1 in the units that they are of: what varies by half the least number varies."""
    found: NDArray[np.float64] = shifted(near, by)
    return np.where(near > 0, np.maximum(found, LEAST), found)


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
            return Weighed(near, np.ldexp(found, -self._unit), max(amount, LEAST) if near.any() else 0.0)


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

    @property
    def tolerance(self) -> float:
        """What a column may vary by, as a part of its mean, and is still taken for constant."""
        return self.rows * EPS

    def merged(self, other: Moments) -> Moments:
        """Of both sets of samples together, as in Chan, Golub, LeVeque (1983)."""
        rows = self.rows + other.rows
        mean, deviation = _core.merge_moments(
            self.mean, self.deviation, self.total, other.mean, other.deviation, other.total, rows * EPS
        )
        return Moments(min(self.total + other.total, MOST), mean, deviation, rows)

    def same_as(self, other: Moments | str) -> bool:
        """Whether these are exactly the numbers of others, or of those that have this :meth:`digest`."""
        if isinstance(other, str):
            return other == self.digest()
        return (
            self.total == other.total
            and self.rows == other.rows
            and self.mean.tobytes() == other.mean.tobytes()
            and self.deviation.tobytes() == other.deviation.tobytes()
        )

    def digest(self) -> str:
        """A name for exactly these numbers."""
        numbers = struct.pack("=dd", self.total, self.rows), self.mean.tobytes(), self.deviation.tobytes()
        return hashlib.blake2b(b"".join(numbers), digest_size=16).hexdigest()
