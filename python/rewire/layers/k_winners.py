"""k-winners: of a sample's values the k largest stay, and neurons that seldom win are helped."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, describe, integer, number
from rewire.layers.affine import Affine
from rewire.layers.base import register_layer
from rewire.layers.mixing import Mixing
from rewire.layers.passing import Pass, Report
from rewire.layers.two_sided import MOST
from rewire.parameters import Buffer

__all__ = ["KWinners"]

USUAL = 0.1  # the fraction of winners where nothing else is said
MOST_BOOST = 50.0  # a factor of exp(-50) is still a number of either dtype


@register_layer
class KWinners(Mixing):
    """The k largest values of each sample stay as they are, all others become 0.

    Which are the largest is decided after boosting: a value is multiplied by exp(boost * (k / n - duty)),
    duty being how often its neuron has won lately. What the layer gives is the value itself. It stands in the
    place of an activation.

    Parameters
    ----------
    fraction : float in (0, 1], optional
        k is round(fraction * n), at least 1. By default a tenth of the values win.
    k : int, optional
        Winners of a sample, instead of ``fraction``.
    k_inference_factor : float >= 1
        After training, round(k * k_inference_factor) values stay, at most n.
    boost : float in [0, 50]
        How much neurons that seldom win are helped; 0: not at all.
    boost_factor : float in [0, 1]
        What ``boost`` is multiplied by after every epoch.
    duty_cycle_period : int
        Samples that duty cycles average over, about.
    two_sided : bool
        Whether the k smallest stay as well, as values of their own: the next layer has weights for either,
        and twice as many inputs.
    n_in : int, optional
        Only for ``two_sided`` where it stands first in a network.

    Attributes
    ----------
    duty : Buffer, shape (n_out,)
        Duty cycles: the fraction of samples in which each neuron won, a running mean. It follows training, is
        saved and resumed, and is not trained.
    strength : Buffer, shape ()
        The boost of the present epoch, which prediction uses too.
    seen : Buffer, shape ()
        Samples of training so far. Duty cycles begin as plain means.

    Notes
    -----
    Gradients go to winners alone. Of equal scores the first neuron's is ahead. Every output depends on every
    input: where neurons are removed, those before and after it stay. It works tile by tile, so a batch of up
    to 64 samples (32 in float64) is the work of one thread. Epochs are the trainer's, in loops of one's own
    those that its ``end_epoch`` counts.

    Ahmad, Scheinkman, *How Can We Be So Dense? The Benefits of Using Highly Sparse Representations*,
    arXiv:1903.11257, section 3. The defaults are those that its authors published for MNIST, but for the
    fraction, which is 0.1 to 0.143 there.

    Examples
    --------
    >>> import rewire as rw
    >>> net = rw.Sequential(
    ...     [rw.Sparse(64, 100), rw.KWinners(0.2), rw.Sparse(100, 10, activation="softmax")], seed=0
    ... )
    >>> net.layers[1].winners
    20
    """

    may_end = False
    keeps = True

    def __init__(
        self,
        fraction: float | None = None,
        *,
        k: int | None = None,
        k_inference_factor: float = 1.5,
        boost: float = 1.5,
        boost_factor: float = 0.85,
        duty_cycle_period: int = 1000,
        two_sided: bool = False,
        n_in: int | None = None,
    ) -> None:
        if k is not None and fraction is not None:
            raise ValueError(f"give fraction or k, got fraction={describe(fraction)} and k={describe(k)}")
        if k is None and fraction is None:
            fraction = USUAL
        self.fraction = (
            None if fraction is None else number("fraction", fraction, low=0.0, high=1.0, open_low=True)
        )
        self.k = None if k is None else integer("k", k, low=1)
        self.k_inference_factor = number("k_inference_factor", k_inference_factor, low=1.0)
        self.boost = number("boost", boost, low=0.0, high=MOST_BOOST)
        self.boost_factor = number("boost_factor", boost_factor, low=0.0, high=1.0)
        self.duty_cycle_period = integer("duty_cycle_period", duty_cycle_period, low=1)
        self.two_sided = boolean("two_sided", two_sided)
        self.n_in = 0 if n_in is None else integer("n_in", n_in, low=1, high=MOST)

    def connect(self, n_in: int) -> None:
        if self.k is not None and self.k > n_in:
            raise ValueError(f"k must be at most the number of values, {n_in}, got {self.k}")
        if self.two_sided and n_in > MOST:
            raise ValueError(f"KWinners takes at most {MOST} values where it is two-sided, got {n_in}")
        self.n_in, self.n_out = n_in, n_in * len(self._signs)
        self.duty = Buffer(self.n_out)
        self.strength = Buffer((), fill=self.boost)
        self.seen = Buffer((), dtype="int64")

    @property
    def winners(self) -> int:
        """k: winners of a sample, on each side."""
        return self.k or max(1, round((self.fraction or USUAL) * self.n_in))

    @property
    def winners_after(self) -> int:
        """The same once training is over."""
        return min(self.n_in, round(self.winners * self.k_inference_factor))

    @property
    def _signs(self) -> tuple[float, ...]:
        """1 for the largest, and -1 for the smallest where they count."""
        return (1.0, -1.0) if self.two_sided else (1.0,)

    @property
    def input_gain(self) -> float:  # type: ignore[override]
        """Of normal values, the k largest have this much of the squares: as `Activation.gain` of a ReLU."""
        kept = self.winners / self.n_in
        if kept == 1.0:
            return 1.0
        # By halving: the standard library's module with this quantile takes as long to import as ten of ours.
        low, high = -9.0, 9.0
        for _ in range(60):
            least = (low + high) / 2.0
            low, high = (least, high) if math.erfc(least / math.sqrt(2.0)) / 2.0 > kept else (low, least)
        density = math.exp(-least * least / 2.0) / math.sqrt(2.0 * math.pi)
        return 1.0 / math.sqrt(kept + least * density)

    def _factors(self) -> NDArray[np.float64]:
        """What scores are values times, shape (sides, n_in)."""
        boosts = np.exp(float(self.strength.values) * (self.winners / self.n_in - self.duty.values))
        return boosts.reshape(-1, self.n_in)

    def forward(self, x: _core.Tiles, p: Pass) -> _core.Tiles:
        if p.learning:
            self._set_strength(p.epoch)
        y = p.output(self) if p.keeping else p.ws.other(self.n_out, x)
        k = self.winners if p.training else self.winners_after
        factors = self._factors().astype(self.dtype)
        for side, sign in enumerate(self._signs):
            _core.winners(x, factors[side], sign, k, y, side * self.n_in, p.threads)
        if p.keeping:
            p.save(self, y)
        if p.learning:
            wins = np.empty(self.n_out)
            _core.count_winners(y, wins, p.threads)
            p.report(self, wins)
        return y

    def follow(self, reports: Sequence[Report], epoch: int) -> None:
        """Move the duty cycles towards how often each neuron won in these samples; of shards, in all."""
        wins = np.sum([report.values for report in reports], axis=0)
        batch = sum(report.samples for report in reports)
        self._set_strength(epoch)
        self.seen.values += batch
        part = min(1.0, batch / min(self.duty_cycle_period, int(self.seen.values)))
        self.duty.values += part * (wins / batch - self.duty.values)

    def _set_strength(self, epoch: int) -> None:
        self.strength.values[...] = self.boost * self.boost_factor**epoch

    def backward(self, dy: _core.Tiles, x: _core.Tiles, p: Pass, need_dx: bool) -> _core.Tiles | None:
        if not need_dx:
            return None
        (y,) = p.saved(self)
        dx = p.ws.other(self.n_in, dy)
        for side in range(len(self._signs)):
            _core.winners_back(y, dy, side * self.n_in, dx, side > 0, p.threads)
        return dx

    def affine_at(self, x: NDArray[np.float64], *, final: bool = False) -> Affine:
        scores = self._factors() * np.outer(self._signs, x)
        order = np.argsort(-scores, axis=1, kind="stable")[:, : self.winners_after]
        wins = np.zeros(scores.shape, bool)
        np.put_along_axis(wins, order, True, axis=1)
        rows = np.flatnonzero(wins)
        return Affine(
            rows, rows % self.n_in, np.ones(rows.size), np.zeros(self.n_out), wins.ravel().astype(np.int8)
        )
