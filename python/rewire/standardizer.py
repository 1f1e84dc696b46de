"""Features brought to mean 0 and deviation 1, none of them far from 0, by what the training sets say.

Applied while a batch is packed into tiles, so neither a converted copy of X nor
a pass over it is ever made. It belongs to the network: ``predict`` applies it
and files keep it. It learns from every call of ``fit`` or ``partial_fit``; the
network's first layer is rescaled when it does (see :mod:`rewire.network`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, float_vector, integer, number, one_of_types, text
from rewire._inputs import Source, as_source, numbers_of
from rewire._moments import EPS, MOST, Extremes, Moments, quiet

__all__ = ["Change", "Standardizer"]

_SEEN = "seen_mean", "seen_deviation", "seen_low", "seen_high"
_NORMAL = float(np.finfo(np.float64).tiny)  # 1 / less is no number
TRUSTED = 1000  # rows from which on a deviation is half to be trusted
FARTHEST = 5.0  # deviations from the mean
LEAST_GAIN = 2.0**-20  # so that what optimizers keep, which goes with the square of 1 / gain, stays a number


class Change(NamedTuple):
    """What the inputs of before are of those of now: ``before = now * gain + offset``, by feature."""

    gain: NDArray[np.float64]
    offset: NDArray[np.float64]


class Folded(NamedTuple):
    """How few inputs that are not zero are standardised: ``(x - shift) * scale + zero``, by feature.

    ``shift`` is 0 but for the features in ``whole``, ``zero`` is 0 for these; None where all are 0.
    """

    shift: NDArray[np.float64] | None
    zero: NDArray[Any] | None
    whole: NDArray[np.int32] | None


class Standardizer:
    """x -> (x - mean) * scale.

    Parameters
    ----------
    mean, scale : array_like of float, shape (n_features,)
        ``scale`` is 1 / standard deviation, or less where a training value would be further than 5 from 0
        then: that one is brought to 5. Where the feature is constant it is 1, or less where values are so
        large that their rounding alone is more than 1: from about 4e12 on after 1000 rows.

    Attributes
    ----------
    mean, scale : ndarray of float64, shape (n_features,)
    moments : Moments or None
        What has been learnt from: the sum of weights, means and deviations. None for one that was made by
        hand; it stays as it is.
    extremes : Extremes or None
        The least and the largest value of every feature.

    Notes
    -----
    A feature that is nearly always the same, a pixel in the corner say, has a small deviation: its rare
    values would be tens of deviations from the mean. A step that such a sample takes is too large for all
    others, and training needs small rates or diverges. 5,000 images of MNIST have 211 features of 784 with a
    value beyond 10 deviations; ``docs/tried.md`` has what the bound brings.
    """

    def __init__(self, mean: NDArray[np.float64], scale: NDArray[np.float64]) -> None:
        mean = float_vector("mean", mean, np.size(mean))
        scale = float_vector("scale", scale, len(mean))
        with quiet():
            reach, steepest = (np.abs(of).max(initial=0.0) for of in (mean * scale, scale))
        self._take(mean, scale, float(reach), float(steepest))

    def _take(
        self, mean: NDArray[np.float64], scale: NDArray[np.float64], reach: float, steepest: float
    ) -> None:
        """Begin with these, and know of nothing that was seen."""
        self.mean, self.scale, self.reach, self.steepest = mean, scale, reach, steepest
        self.moments: Moments | None = None
        self.extremes: Extremes | None = None
        self._latest: Moments | str = ""  # of what was learnt from last, or their digest out of a file
        self._folded: dict[str, Folded] = {}

    @classmethod
    def fit(cls, X: Any, weight: Any = None, *, center: bool = True) -> Standardizer:
        """Mean and deviation (that of the population, as scikit-learn's) of every feature.

        Parameters
        ----------
        X : array-like or SciPy sparse, shape (m, n_features)
            Real and finite.
        weight : array-like, shape (m,), optional
            How often each sample counts.
        center : bool
            False subtracts no mean, so that zeros stay zeros: ``mean`` is 0, and ``scale`` brings the
            largest value to 5 at most, those of constant features too.

        Notes
        -----
        A feature whose deviation is within the rounding of its sum, m * 2.2e-16 * ``abs(mean)``, is constant,
        as in scikit-learn: 1e8 with noise of 1e-9, say, or 1e300 with noise of 1e285.
        """
        source = X if isinstance(X, Source) else as_source(X, None)
        center = boolean("center", center)
        if weight is not None:
            weight = float_vector("weight", weight, source.n_samples, low=0.0)
            if not weight.any():
                raise ValueError("weight must hold at least one weight > 0, got only zero weights")
        with quiet():
            found, extremes = source.seen(weight)
            mean = found.mean.copy() if center else np.zeros_like(found.mean)
            return cls._of(found, extremes, found, mean)

    @classmethod
    def of_targets(cls, targets: Source, weight: NDArray[np.float64] | None) -> Standardizer:
        """Mean and deviation of every column of targets; it learns no more.

        Where a column is constant its scale is 1. Nothing is brought nearer than its deviation says: a target
        that is far off is to be predicted, not to be bounded.
        """
        with quiet():
            found = targets.moments(weight)
            width = np.where(found.deviation > 0, np.maximum(found.deviation, _NORMAL), 1.0)
            return cls(found.mean, 1.0 / width)

    def check_of_targets(self, n_out: int) -> None:
        """ValueError unless outputs can be brought back from what it makes of targets."""
        if len(self.scale) != n_out:
            raise ValueError(
                f"target_standardizer must have mean and scale of {n_out} outputs, got {len(self.scale)}"
            )
        with quiet():
            good = (self.scale > 0) & np.isfinite(1.0 / self.scale)
        if not good.all():
            raise ValueError(
                "target_standardizer.scale must be > 0, and so large that outputs can be divided by it, "
                f"got {self.scale[good.argmin()]:g}"
            )

    @classmethod
    def _of(
        cls, moments: Moments, extremes: Extremes, latest: Moments, mean: NDArray[np.float64]
    ) -> Standardizer:
        of_columns = mean, moments.mean, moments.deviation, extremes.low, extremes.high
        made = cls._made(mean, *_core.column_scales(*of_columns, moments.tolerance, FARTHEST))
        made.moments, made.extremes, made._latest = moments, extremes, latest
        return made

    @classmethod
    def _made(
        cls, mean: NDArray[np.float64], scale: NDArray[np.float64], reach: float, steepest: float
    ) -> Standardizer:
        made = cls.__new__(cls)
        made._take(mean, scale, reach, steepest)
        return made

    def fits(self, largest: float, limit: float) -> bool:
        """Whether ``(x - mean) * scale`` is right and within ``limit``, for any ``|x|`` up to ``largest``."""
        return largest * self.steepest + self.reach <= limit and self.steepest * _NORMAL < 1.0

    def folded(self, dtype: str) -> Folded:
        """For inputs most of which are 0: what these are is left out, as long as it is near 0.

        A 0 further from its mean than 1 is a feature that is stored in most rows: sqrt(p / (1 - p)) is the
        most that mean / deviation can be where only the part p is not 0. Such a feature is centred as it is
        stored, so that no large numbers cancel. So is one that never varied: its inputs are 0 then, and with
        them the gradients of its links, which otherwise are what rounding leaves of a difference and which
        Adam would take for something. Of a standardizer that was made by hand nobody knows which these are.
        """
        if dtype not in self._folded:
            zero = (0.0 - self.mean) * self.scale
            far = np.abs(zero) > 1.0
            if self.moments is not None:
                far |= (self.moments.deviation == 0) & (zero != 0)
            whole = np.flatnonzero(far).astype(np.int32)
            near = np.where(far, 0.0, zero).astype(dtype)
            self._folded[dtype] = Folded(
                np.where(far, self.mean, 0.0) if whole.size else None,
                near if near.any() else None,
                whole if whole.size else None,
            )
        return self._folded[dtype]

    @quiet()
    def apply(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standardised rows, shape (m, n_features): right wherever the result is a number."""
        if isinstance(x, np.ndarray) and x.dtype == object:
            x = numbers_of(x, "x")
        z = (x - self.mean) * self.scale
        far = ~np.isfinite(z)
        if far.any():  # the difference may have overflowed
            z[far] = ((x / 4 - self.mean / 4) * self.scale * 4)[far]
        if self.moments is not None and self.extremes is not None:
            tiny = (self.moments.deviation > 0) & (self.scale * _NORMAL >= 1.0)  # 1 / width is no number
            mean, low, high = self.mean[tiny], self.extremes.low[tiny], self.extremes.high[tiny]
            width = np.maximum(self.moments.deviation[tiny], np.maximum(high - mean, mean - low) / FARTHEST)
            z[:, tiny] = (x[:, tiny] - mean) / width
        return z

    def restored(self, z: NDArray[Any]) -> NDArray[np.float64]:
        """What is standardised as ``z``, shape (m, n_features); call it :func:`rewire._moments.quiet`."""
        return z / self.scale + self.mean

    def learn(
        self, source: Source, weight: NDArray[np.float64] | None, *, center: bool = True
    ) -> tuple[Standardizer, Change] | None:
        """The standardiser that has seen these samples as well; None if that makes no difference.

        Call it :func:`rewire._moments.quiet`.

        Samples that are exactly those of the latest call are the same set again and count once: a loop of
        ``fit(epochs=1)`` is one ``fit``, and a resumed run the run that was stopped.

        Parameters
        ----------
        center : bool
            False leaves the mean that is subtracted where it is.

        Returns
        -------
        Standardizer, Change
            With what to do to the weights behind this one, so that they go on behind the new one. They
            compute the same, but for two kinds of features, of whose scale too little was known. Where the
            deviation has grown, weights grow by at most a factor between 1 (after few rows) and 2 (after
            many): what was nearly constant so far would drown everything else. And weights of a feature that
            never varied have learnt nothing: they shrink to the fraction of rows that are new.
        """
        if self.moments is None or self.extremes is None:
            return None
        found, extremes = source.seen(weight)
        if found.same_as(self._latest):
            return None
        old, rows = self.moments, self.moments.rows + found.rows
        columns, reach, steepest = _core.learn_columns(
            (self.mean, self.scale), (*old[:3], *self.extremes), (*found[:3], *extremes), center,
            rows * EPS, FARTHEST, LEAST_GAIN, 1 + old.rows / (old.rows + TRUSTED), 1 - old.rows / rows,
        )  # fmt: skip
        mean, deviation, low, high, scale, gain, offset = columns
        made = self._made(mean if center else self.mean, scale, reach, steepest)
        made.moments = Moments(min(old.total + found.total, MOST), mean, deviation, rows)
        made.extremes, made._latest = Extremes(low, high), found
        return made, Change(gain, offset)

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """JSON-able description; with :meth:`arrays` all there is."""
        if self.moments is None:
            return {}
        latest = self._latest if isinstance(self._latest, str) else self._latest.digest()
        return {"total": self.moments.total, "rows": self.moments.rows, "latest": latest}

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """Copies of all arrays."""
        found = {"mean": self.mean.copy(), "scale": self.scale.copy()}
        if self.moments is not None and self.extremes is not None:
            found |= {"seen_mean": self.moments.mean.copy(), "seen_deviation": self.moments.deviation.copy()}
            found |= {"seen_low": self.extremes.low.copy(), "seen_high": self.extremes.high.copy()}
        return found

    @classmethod
    def from_config(cls, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Standardizer:
        """From :meth:`config` and :meth:`arrays`; KeyError, TypeError or ValueError if they do not fit."""
        one_of_types("standardizer", config, Mapping, "a dict")
        made = cls(arrays["mean"], arrays["scale"])
        expected = {"mean", "scale", *(_SEEN if config else ())}
        if set(arrays) != expected or set(config) not in (set(), {"total", "rows", "latest"}):
            found = ", ".join(sorted({*arrays, *config}))
            raise ValueError(f"the standardizer must have what belongs together, got {found}")
        if config:
            n = len(made.mean)
            made.moments = Moments(
                number("total", config["total"], low=0.0, open_low=True),
                float_vector("seen_mean", arrays["seen_mean"], n),
                float_vector("seen_deviation", arrays["seen_deviation"], n, low=0.0),
                integer("rows", config["rows"], low=1, high=2**62),
            )
            low, high = (float_vector(name, arrays[name], n) for name in ("seen_low", "seen_high"))
            if np.any(low > high):
                raise ValueError("seen_low must be at most seen_high, got a larger one")
            made.extremes = Extremes(low, high)
            made._latest = text("latest", config["latest"])
        return made
