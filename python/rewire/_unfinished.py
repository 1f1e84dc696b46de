"""An epoch that has begun and not ended: how far it is, and what its row in the history will be made of.

A trainer keeps it while it trains, saves it, and the next ``fit`` goes on from there if it brings as many
samples in batches of the same size; so does a loop of the user's own, which knows itself where its data are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _checks, _core
from rewire._targets import Truth
from rewire.metrics import Metric

__all__ = ["Unfinished"]

_METRIC = "metric."
_COUNTS = ("n_samples", "batch", "window", "steps", "epoch", "first_step", "done", "passed")
_FLAGS = ("shuffle", "rewired", "closed")
_SUMS = ("total", "weights", "seconds_training", "seconds_rewiring", "seconds_callbacks")


@dataclass
class Unfinished:
    """How far an epoch is.

    Attributes
    ----------
    n_samples, batch, window, steps : int
    shuffle : bool
        Of the call of ``fit`` that began it; 0 and False in a loop of the user's own. Data that come in
        pieces have a window or steps: samples are 0 where nobody knows how many there are, and so is the
        batch where pieces are batches.
    epoch, first_step : int
        The trainer's counts when it began.
    metric : Metric or None
        With what its batches gave; None where nobody asked for it.
    removed, grown : list of int
        Links, by layer with weights.
    done : int
        Samples that are behind it, in the epoch's order.
    passed : int
        Batches behind it that were no steps, because they had no weight.
    rewired : bool
        Whether the rewiring that is due before the coming step has taken place.
    closed : bool
        Whether the removal after the last epoch has.
    total, weights : float
        Sums over batches: of loss times weight, and of weight.
    seconds_training, seconds_rewiring, seconds_callbacks : float
    """

    n_samples: int
    batch: int
    window: int
    steps: int
    shuffle: bool
    epoch: int
    first_step: int
    metric: Metric | None
    removed: list[int]
    grown: list[int]
    done: int = 0
    passed: int = 0
    rewired: bool = False
    closed: bool = False
    total: float = 0.0
    weights: float = 0.0
    seconds_training: float = field(default=0.0, compare=False)
    seconds_rewiring: float = field(default=0.0, compare=False)
    seconds_callbacks: float = field(default=0.0, compare=False)

    @classmethod
    def of_own_loop(cls, epoch: int, step: int, metric: Metric | None, layers: int) -> Unfinished:
        """An epoch that begins in a loop of the user's own, in which it has no known length."""
        return cls(0, 0, 0, 0, False, epoch, step, metric, [0] * layers, [0] * layers)

    @property
    def in_own_loop(self) -> bool:
        """Whether no call of ``fit`` began it."""
        return self.n_samples == self.steps == 0

    def learnt(self, loss: float, amount: float) -> None:
        """Count the loss of a batch that was learnt from; ``amount`` is its weight."""
        self.total += amount * loss
        self.weights += amount

    def look(self, z: _core.Tiles, truth: Truth, apart: NDArray[np.float64] | None, threads: int) -> Any:
        """What the metric needs of a batch's outputs."""
        return None if self.metric is None else self.metric.look(z, truth, apart, threads)

    def count(self, seen: Any, truth: Truth, apart: NDArray[np.float64] | None) -> None:
        """Let the metric count samples that were learnt from; ``seen`` is what :meth:`look` gave of them."""
        if self.metric is not None:
            self.metric.count(seen, truth, apart)

    def counted(self, removed: list[int], grown: list[int]) -> None:
        """Count the links of a rewiring."""
        self.removed = [a + b for a, b in zip(self.removed, removed, strict=True)]
        self.grown = [a + b for a, b in zip(self.grown, grown, strict=True)]

    def figures(self) -> dict[str, Any]:
        """The mean loss and the metric over what was learnt of, by name; none where there is no weight."""
        if self.weights == 0.0:
            return {}
        found = {"loss": self.total / self.weights}
        if self.metric is not None:
            found[self.metric.name] = self.metric.value()
        return found

    def continues(self, other: Unfinished) -> bool:
        """Whether an epoch that a call of ``fit`` is about to begin would be this one."""
        names = "epoch", "n_samples", "batch", "window", "steps", "shuffle"
        same = all(getattr(self, name) == getattr(other, name) for name in names)
        return same and type(self.metric) is type(other.metric)

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any] | None:
        """JSON-able description, with :meth:`arrays`; None where the metric keeps what no file can hold."""
        state = {} if self.metric is None else vars(self.metric)
        if not all(v is None or isinstance(v, int | float | np.ndarray) for v in state.values()):
            return None
        found = {name: getattr(self, name) for name in (*_COUNTS, *_FLAGS, *_SUMS)}
        metric = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
        return {**found, "removed": self.removed, "grown": self.grown, "metric": metric}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of the arrays that belong to :meth:`config`."""
        return {
            _METRIC + name: value.copy()
            for name, value in ({} if self.metric is None else vars(self.metric)).items()
            if isinstance(value, np.ndarray)
        }

    @classmethod
    def from_config(
        cls,
        config: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
        metric: Metric | None,
        layers: int,
        n_out: int,
    ) -> Unfinished:
        """From ``config()`` and ``arrays()``, for a network of so many layers with weights and outputs.

        ``metric`` is a fresh one; it takes up what the saved one had.

        Raises
        ------
        KeyError, TypeError, ValueError
            If they do not describe an epoch.
        """
        _checks.one_of_types("unfinished", config, Mapping, "a dict as config() gives")
        known = {*_COUNTS, *_FLAGS, *_SUMS, "removed", "grown", "metric"}
        if set(config) != known:
            strange = sorted(set(config) ^ known)
            raise ValueError(f"unfinished must hold {', '.join(sorted(known))}: {strange[0]!r} is wrong")
        found: dict[str, Any] = {name: _checks.integer(name, config[name], low=0) for name in _COUNTS}
        found |= {name: _checks.boolean(name, config[name]) for name in _FLAGS}
        found |= {name: _checks.number(name, config[name]) for name in _SUMS}
        sizes = [found[name] for name in ("n_samples", "batch", "window", "steps")]
        own = not any(sizes) and not found["shuffle"]
        counted: bool = found["n_samples"] > 0 or not found["steps"]
        if not own and counted and not (1 <= found["batch"] <= found["n_samples"] >= found["done"]):
            raise ValueError(
                f"unfinished must have done <= n_samples and batch in [1, n_samples], "
                f"got done={found['done']}, batch={found['batch']}, n_samples={found['n_samples']}"
            )
        ended = not own and counted and found["done"] == found["n_samples"]
        if found["weights"] < 0.0 or (found["weights"] == 0.0 and ended):
            raise ValueError(
                f"weights must be >= 0, and > 0 when all samples are done, got {found['weights']} "
                f"after {found['done']} of {found['n_samples']}"
            )
        for name in ("removed", "grown"):
            counts = _checks.one_of_types(name, config[name], list, "a list of link counts")
            if len(counts) != layers:
                raise ValueError(f"{name} must have {layers} counts, one a layer, got {len(counts)}")
            found[name] = [_checks.integer(name, count, low=0) for count in counts]
        _restore_metric(metric, config["metric"], arrays, n_out)
        return cls(metric=metric, **found)


def _restore_metric(
    metric: Metric | None, numbers: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], n_out: int
) -> None:
    """Give a fresh metric the state of a saved one."""
    fresh = {} if metric is None else vars(metric)
    own = {k.removeprefix(_METRIC): a for k, a in arrays.items() if k.startswith(_METRIC)}
    _checks.one_of_types("metric", numbers, Mapping, "a dict of numbers")
    if {*numbers, *own} != set(fresh) or set(numbers) & set(own):
        raise ValueError(f"metric must keep {', '.join(fresh)}, got {', '.join([*numbers, *own])}")
    for name, value in numbers.items():
        if value is not None and (isinstance(value, str | bool) or not math.isfinite(value)):
            raise ValueError(f"metric {name!r} must be a number or None, got {_checks.describe(value)}")
        if value is None and fresh[name] is not None:
            raise ValueError(f"metric {name!r} must be a number, got None")
    sizes = {array.shape for array in own.values()}
    if len(sizes) > 1 or not sizes <= {(n_out,), (0,)}:
        raise ValueError(f"metric must keep arrays of {n_out} numbers each, or all empty, got {sizes}")
    for name, array in own.items():
        kinds = [np.dtype("i8"), np.dtype("f8")] if fresh[name] is None else [np.asarray(fresh[name]).dtype]
        if array.dtype not in kinds or not np.isfinite(array).all():
            raise ValueError(f"metric {name!r} must be finite numbers, got {_checks.describe(array)}")
    fresh.update(numbers)
    fresh.update({name: array.copy() for name, array in own.items()})
