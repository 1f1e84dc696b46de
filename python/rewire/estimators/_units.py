"""The units of a regressor's targets: what they are taken from, and how a network is put into new ones.

Targets are standardised, and what is known of their mean and deviation grows with every call. Two things are
then apart. *Units* are a matter of numbers: a change of them leaves what the network computes as it is. The
*level* of its predictions is a matter of learning, for which steps of a fixed size are slow: a network that
has begun at 7 deviations from where the targets are now would take thousands. So each ``partial_fit`` first
moves the level by a fraction of the mean residual. That is not the move of the mean: where a network already
follows targets that rise with a feature, in rows sorted by it, the mean moves and residuals do not.
"""

from __future__ import annotations

import contextlib
import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._inputs import Source
from rewire._moments import (
    EPS,
    LEAST,
    MOST,
    Moments,
    balanced,
    deviations,
    level_of,
    levels,
    near_one,
    shifted,
)

__all__ = ["OutputUnits", "elsewhere", "followed", "fraction_of", "moments_of", "near_enough"]

REMEMBERED = (
    50  # rows as many as which the level has behind it at most: the fraction of n more is n / (n + 50)
)
LOOKED_AT = 1000  # rows, about, that the mean residual is taken from
FEW = 50  # targets that Python looks at sooner than NumPy
NOISE = 1e-12  # a deviation, by the mean, that is nothing but rounding
ELSEWHERE = 5.0  # deviations, of those before and of the latest, beyond which targets are at another level
TOLERANCE = 0.05  # by which units may be off, as a part of the deviation: they need not move in every call
RULES = ELSEWHERE, float(REMEMBERED), TOLERANCE


class OutputUnits:
    """A callback that puts a network's outputs into other units, and at the level of the coming targets.

    In ``fit``, so that a call that fails takes it back with all else. ``done`` tells whether it has.

    Parameters
    ----------
    gain, shift : ndarray of float64, shape (n_outputs,), or None
        ``outputs * gain + shift`` are those of now in the new units; None where they stay the same.
    fraction : ndarray of float64, shape (n_outputs,)
        Of the mean residual, by which the level moves.
    logs : bool
        Whether outputs are logarithms of rates: targets and residuals are those of the rates.
    """

    def __init__(
        self,
        gain: NDArray[np.float64] | None,
        shift: NDArray[np.float64] | None,
        fraction: NDArray[np.float64],
        *,
        logs: bool = False,
    ) -> None:
        self.gain, self.shift, self.fraction, self.logs, self.done = gain, shift, fraction, logs, False
        self._rows: tuple[Source, NDArray[np.float64], NDArray[np.float64] | None] | None = None

    def see(self, source: Source, targets: NDArray[np.float64], weight: NDArray[np.float64] | None) -> None:
        """Take the residuals from these rows, with targets in the new units."""
        self._rows = source, targets, weight

    def on_fit_begin(self, state: Any) -> None:
        """Rescale the last layer."""
        network, shift = state.network, self.shift
        if self._rows is not None:
            source, targets, weight = self._rows
            some = slice(None, None, -(-source.n_samples // LOOKED_AT))
            rows, weight = np.arange(source.n_samples)[some], None if weight is None else weight[some]
            n_threads = network.threads_for(len(rows), state.trainer.threads)
            with contextlib.suppress(ValueError):  # inputs are out of range: training says so
                outputs = network.outputs(source, rows, n_threads, refuse=False).astype(np.float64)
                if self.gain is not None:
                    outputs = outputs * self.gain
                if self.shift is not None:
                    outputs = outputs + self.shift
                level = self._level(outputs, targets[some], balanced(weight)[0])
                if not math.isfinite(sum(level.tolist())):  # outputs overflow: training says what there is
                    level = np.where(np.isfinite(level), level, 0.0)
                shift = level if shift is None else shift + level
        if shift is not None:
            network.change_outputs(self.gain, shift)
        self.done = True

    def _level(
        self, outputs: NDArray[np.float64], targets: NDArray[np.float64], weight: NDArray[np.float64] | None
    ) -> NDArray[np.float64]:
        """What is added to outputs, so that predictions move by the fraction of their mean residual."""
        if not self.logs:
            return self.fraction * _average(targets - outputs, weight)
        rate = _average(np.exp(outputs), weight)
        return np.log1p(self.fraction * (_average(targets, weight) - rate) / rate)


def _average(x: NDArray[np.float64], weight: NDArray[np.float64] | None) -> NDArray[np.float64]:
    found: NDArray[np.float64] = (
        np.add.reduce(x) / len(x) if weight is None else np.average(x, axis=0, weights=weight)
    )
    return found


def _moments_of_few(values: list[float]) -> Moments:
    """:func:`moments_of` a few numbers, in a tenth of NumPy's time."""
    level = level_of(max(map(abs, values)))
    if level:
        values = [math.ldexp(value, -level) for value in values]
    mean = math.fsum(values) / len(values)
    errors = [value - mean for value in values]
    deviation = math.sqrt(math.fsum(error * error for error in errors) / len(values))
    if not deviation > NOISE * abs(mean):
        mean, deviation = values[0] + 0.0, 0.0
    if level:
        varies = deviation > 0
        mean, deviation = math.ldexp(mean, level), math.ldexp(deviation, level)
        deviation = max(deviation, LEAST) if varies else 0.0
    return Moments(float(len(values)), np.array([mean]), np.array([deviation]), len(values))


def moments_of(y: NDArray[np.float64], weight: NDArray[np.float64] | None) -> Moments:
    """Of targets, in the units of y whatever they are."""
    if weight is None and y.size <= FEW and y.shape[1] == 1:
        return _moments_of_few(y[:, 0].tolist())  # whatever the units: they must make no difference
    weight, level = balanced(weight)
    top = np.abs(y) if weight is None else np.abs(y[weight > 0])
    largest = top.max(axis=0, initial=0.0)
    by = None if near_one(largest) else levels(largest)
    near = y if by is None else shifted(y, -by)
    if weight is not None and not weight.all():
        near = np.where(weight[:, None] > 0, near, 0.0)
    mean = _average(near, weight)
    deviation = np.sqrt(_average(np.square(near - mean), weight))
    # A target that never changes has nothing but rounding noise as its deviation.
    varies = deviation > NOISE * np.abs(mean)
    if not varies.all():
        deviation = np.where(varies, deviation, 0.0)
        # Nor does its mean keep the rounding of a sum, which no deviation would divide.
        first = near[0 if weight is None else int(np.argmax(weight))]
        mean = np.where(varies, mean, first + 0.0)
    total = float(len(y) if weight is None else weight.sum())
    count = min(float(np.ldexp(total, level)), float(np.finfo(np.float64).max))
    if by is not None:
        mean, deviation = shifted(mean, by), deviations(deviation, by)
    return Moments(count, mean, deviation, len(y))


def elsewhere(before: Moments, found: Moments) -> NDArray[np.bool_]:
    """Columns in which the latest targets are further from those before than either set varies.

    Of one row nobody knows how much its kind varies: it may be an outlier.
    """
    return _core.elsewhere(before, found, ELSEWHERE)


class Followed(NamedTuple):
    """Units of targets after the latest: outputs become ``outputs * gain + shift``, None if they stay."""

    moments: Moments
    scale: NDArray[np.float64]
    gain: NDArray[np.float64] | None
    shift: NDArray[np.float64] | None
    fraction: NDArray[np.float64]


def followed(
    before: Moments, found: Moments, mean: NDArray[np.float64], scale: NDArray[np.float64], *, stream: bool
) -> Followed:
    """Units that follow all targets so far, ``found`` the latest.

    However many they are, rows in which a target was constant tell neither its deviation nor its mean: what
    is found when it varies stands for them too. Nor do those that are :func:`elsewhere` if they have varied
    next to nothing in comparison. The pieces of a ``stream`` may come from the one and the other level in
    turn: other far rows count there, but no more than the latest. Of two calls of ``fit`` the latter is the
    set to learn.
    """
    columns, equal, near = _core.follow_targets(before, found, mean, scale, RULES, EPS, stream)
    both, deviation, width, gain, shift, fraction = columns
    total, rows = before.total, before.rows
    if equal:
        total, rows = min(total, found.total), min(rows, found.rows)
    moments = Moments(min(total + found.total, MOST), both, deviation, rows + found.rows)
    return Followed(moments, width, None if near else gain, None if near else shift, fraction)


def fraction_of(
    before: Moments, found: Moments, whole: NDArray[np.bool_], stream: bool
) -> NDArray[np.float64]:
    """Of the mean residual, by which the level moves at once: in these columns all of it.

    In a call of ``fit`` that is all there is to do, for it has many steps to learn the rest.
    """
    usual = found.rows / (found.rows + min(before.rows, REMEMBERED)) if stream else 0.0
    return np.where(whole, 1.0, usual)


def near_enough(gain: NDArray[np.float64]) -> bool:
    """Whether a change of units is so small that it can wait."""
    return all(abs(x) <= TOLERANCE for x in (gain - 1).tolist())
