"""Does a degree distribution follow a power law? Fit by maximum likelihood, test by bootstrap.

After Clauset, Shalizi and Newman, *Power-law distributions in empirical data*, SIAM Review 51:661 (2009),
for whole numbers. The density is p(x) = x^-alpha / zeta(alpha, xmin) from xmin on; all that is needed of
the Hurwitz zeta function stands at the end of this file, scaled so that it does not underflow where
degrees are large.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire._checks import describe, integer
from rewire._checks import seed as checked_seed
from rewire._record import record

__all__ = ["PowerLaw", "power_law"]

FARTHEST = 2**62  # where draws end: a tail with alpha near 1 has no end of its own


@record
class PowerLaw:
    """A power law fitted to the upper tail of a distribution of whole numbers.

    Attributes
    ----------
    alpha : float
        The exponent, > 1.
    xmin : int
        Where the tail begins.
    sigma : float
        Standard error of alpha at this xmin.
    ks : float
        Kolmogorov-Smirnov distance between tail and fit.
    n_tail : int
        Numbers that are at least xmin.
    p_value : float or None
        Fraction of samples of the fitted model that lie farther from their own fit than the data from theirs.
        At most 0.1 rules the power law out (section 4.1); more does not prove it. None unless asked for.
    """

    alpha: float
    xmin: int
    sigma: float
    ks: float
    n_tail: int
    p_value: float | None = None

    def survival(self, x: ArrayLike) -> NDArray[np.float64]:
        """P(X >= x) in the tail, for x >= xmin."""
        x = np.asarray(x, dtype=np.float64)
        flat = _log_survival(self.alpha, float(self.xmin), x.ravel())
        return np.exp(flat).reshape(x.shape)


def power_law(degrees: ArrayLike, *, xmin: int | None = None, bootstrap: int = 0, seed: int = 0) -> PowerLaw:
    """Fit a power law to degrees.

    Parameters
    ----------
    degrees : array_like of int
        At least 0, at least two of them different from each other and from 0. Zeros are left out.
    xmin : int >= 1, optional
        Where the tail begins. By default the value whose tail is nearest to its own fit in the
        Kolmogorov-Smirnov distance, the smaller of equals; all values but the largest are tried.
    bootstrap : int >= 0
        Samples of the model for the p-value. 100 tell 0.1 from 0.2, 2500 give two digits. A few
        hundredths of a second each.
    seed : int
        Of the bootstrap.

    Returns
    -------
    PowerLaw

    Raises
    ------
    TypeError, ValueError
        If ``degrees`` are not such numbers, or the tail from ``xmin`` on does not hold two different ones.

    Notes
    -----
    Exponent from the exact discrete likelihood (equation 3.5), standard error from its curvature (3.6),
    bootstrap as in section 4.1: numbers below xmin are drawn from the data, the others from the fit.
    """
    x = _counts("degrees", degrees)
    bootstrap = integer("bootstrap", bootstrap, low=0)
    if xmin is not None:
        xmin = integer("xmin", xmin, low=1)
    if np.unique(x[x >= (xmin or 1)]).size < 2:
        start = "" if xmin is None else f" from xmin={xmin} on"
        raise ValueError(f"degrees must hold two different numbers > 0{start}, got {describe(degrees)}")
    fit = _fit(x, xmin)
    if not bootstrap:
        return fit
    rng = np.random.Generator(np.random.Philox(checked_seed("seed", seed)))
    farther = drawn = 0
    while drawn < bootstrap:
        sample = _sample(fit, x, rng)
        if np.unique(sample[sample >= (xmin or 1)]).size >= 2:
            farther += _fit(sample, xmin).ks >= fit.ks
            drawn += 1
    return replace(fit, p_value=farther / bootstrap)


def _counts(name: str, values: Any) -> NDArray[np.int64]:
    """Whole numbers >= 0 as a flat array without the zeros."""
    x = np.asarray(values)
    if x.dtype.kind not in "iu":
        raise TypeError(f"{name} must be whole numbers, got {describe(values)}")
    if x.size and x.min() < 0:
        raise ValueError(f"{name} must be >= 0, got {x.min()}")
    return x[x > 0].astype(np.int64)


def _fit(x: NDArray[np.int64], xmin: int | None) -> PowerLaw:
    """The fit for numbers > 0, at least two of them different (from xmin on)."""
    values, counts = np.unique(x, return_counts=True)
    if xmin is None:
        starts = values[:-1].astype(np.float64)
    else:
        starts = np.array([xmin], dtype=np.float64)
    first = np.searchsorted(values, starts)
    tail = np.cumsum(counts[::-1])[::-1][first]
    logs = np.cumsum((counts * np.log(values))[::-1])[::-1][first]
    alphas = _most_likely(starts, logs / tail - np.log(starts))
    distances = [
        _distance(alpha, start, values[i:], counts[i:])
        for alpha, start, i in zip(alphas, starts, first, strict=True)
    ]
    best = int(np.argmin(distances))
    alpha, start, n = alphas[best : best + 1], starts[best : best + 1], int(tail[best])
    sigma = 1.0 / math.sqrt(n * _slope(alpha, start)[0])
    return PowerLaw(float(alpha[0]), int(start[0]), sigma, float(distances[best]), n)


def _most_likely(q: NDArray[np.float64], mean_log: NDArray[np.float64]) -> NDArray[np.float64]:
    """The exponent of each tail from q on whose mean of ln(x / q) is given.

    It solves E[ln(X / q)] = mean_log, whose left side falls and is convex in alpha: Newton's method comes
    from below without overshooting; from above it is kept over 1.
    """
    # A good start for q >= 6 (equation 3.7); for smaller q it lies below the solution.
    alpha = 1.0 + 1.0 / (mean_log + np.log(q / (q - 0.5)))
    for _ in range(100):
        step = (_tilt(alpha, q) + mean_log) / _slope(alpha, q)
        new = np.maximum(alpha - step, 1.0 + 0.5 * (alpha - 1.0))
        done = np.all(np.abs(new - alpha) <= 1e-10 * alpha)
        alpha = new
        if done:
            break
    return alpha


def _distance(alpha: float, q: float, values: NDArray[np.int64], counts: NDArray[np.int64]) -> float:
    """Largest difference between the two distribution functions at any whole number."""
    seen = np.cumsum(counts) / counts.sum()
    below = -np.expm1(_log_survival(alpha, q, values.astype(np.float64)))  # P(X < value)
    upto = -np.expm1(_log_survival(alpha, q, (values + 1).astype(np.float64)))  # P(X <= value)
    before = np.concatenate(([0.0], seen[:-1]))
    return float(max(np.abs(seen - upto).max(), np.abs(before - below).max()))


def _sample(fit: PowerLaw, x: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """As many numbers as ``x``, distributed like ``x`` below xmin and like the fit from there on."""
    n_tail = int(rng.binomial(x.size, fit.n_tail / x.size))
    body = x[x < fit.xmin]
    low = rng.choice(body, x.size - n_tail) if body.size else body
    return np.concatenate([low, _draw(fit, n_tail, rng)])


def _draw(fit: PowerLaw, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers from the fitted tail: the largest x with P(X >= x) >= u, by doubling and halving."""
    u = 1.0 - rng.random(n)
    low = np.full(n, fit.xmin, dtype=np.int64)
    high = 2 * low
    while True:
        open_end = (fit.survival(high) >= u) & (high < FARTHEST)
        if not open_end.any():
            break
        low, high = np.where(open_end, high, low), np.where(open_end, np.minimum(2 * high, FARTHEST), high)
    while np.any(high - low > 1):
        middle = low + (high - low) // 2
        above = fit.survival(middle) >= u
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    return low


# --- the Hurwitz zeta function ----------------------------------------------------------

_BERNOULLI = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160)  # B_2j / (2j)!


def _zeta(alpha: NDArray[Any], q: NDArray[np.float64]) -> NDArray[Any]:
    """zeta(alpha, q) * q^alpha, element by element, for alpha > 1 (real part) and q >= 1.

    The first terms are added, the rest comes from the Euler-Maclaurin formula, which needs a start beyond
    about alpha; or all terms are added until they are below e^-40.
    """
    real = alpha.real
    enough = np.minimum(real, q * np.expm1(40.0 / real))
    terms = 12 + math.ceil(float(enough.max()))
    total = np.exp(-alpha[:, None] * np.log1p(np.arange(terms) / q[:, None])).sum(axis=1)
    a = q + terms
    rest = a / (alpha - 1.0) + 0.5
    factor = alpha / a
    for j, bernoulli in enumerate(_BERNOULLI, start=1):
        rest = rest + bernoulli * factor
        factor = factor * (alpha + 2 * j - 1) * (alpha + 2 * j) / a**2
    return total + rest * np.exp(-alpha * np.log(a / q))


def _tilt(alpha: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """d/dalpha ln(zeta(alpha, q) q^alpha) = -E[ln(X / q)]; exact, by a step into the complex plane."""
    return np.log(_zeta(alpha + 1e-30j, q)).imag / 1e-30


def _slope(alpha: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """d^2/dalpha^2 ln(zeta(alpha, q) q^alpha) = Var[ln X]."""
    h = 1e-4 * (alpha - 1.0)
    return (_tilt(alpha + h, q) - _tilt(alpha - h, q)) / (2.0 * h)


def _log_survival(alpha: float, q: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
    """ln P(X >= x) for a tail from q on."""
    start = _zeta(np.array([alpha]), np.array([q]))
    return np.log(_zeta(np.full(x.shape, alpha), x) / start) - alpha * np.log(x / q)
