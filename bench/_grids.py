"""The grids of both sides, and how the best of one is chosen: successive halving on held-out samples.

Every setting of a grid is trained for the time of the first rung, the better half for that of the second, the
better half of these for that of the third. A rung is a time, the same for everybody: whoever takes less for
an epoch gets more of them.
"""

from __future__ import annotations

import itertools
import json
import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from _trials import Ledger, Trial

Setting = dict[str, Any]
COMMON = {"lr": (0.01, 0.03, 0.05, 0.1), "dropout": (0.0, 0.2, 0.3), "batch-size": (128, 512)}
DENSE = {**COMMON, "dtype": ("float32", "bfloat16")}
SPARSE = {**COMMON, "group": (1, 4), "rewiring": (None, "static")}  # None: the rule that is the default


def grid(axes: dict[str, Sequence[Any]], **fixed: Any) -> list[Setting]:
    """All combinations; an option that is None is left to the package."""
    combined = (dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values()))
    return [fixed | {name: v for name, v in setting.items() if v is not None} for setting in combined]


def rates_for(axes: dict[str, Sequence[Any]], regression: bool) -> dict[str, Sequence[Any]]:
    """The axes, with a tenth of the learning rates for a regression: with all of them most runs diverge."""
    return {**axes, "lr": tuple(round(rate / 10, 6) for rate in axes["lr"])} if regression else axes


def drawn(settings: Sequence[Setting], count: int) -> list[Setting]:
    """So many of them, drawn by one fixed seed."""
    return random.Random(0).sample(list(settings), min(count, len(settings)))


def speed_class(setting: Setting) -> str:
    """What decides the time of an epoch: everything but the learning rate and how much is dropped out."""
    return json.dumps({k: v for k, v in setting.items() if k not in ("lr", "dropout")}, sort_keys=True)


class UnfinishedError(Exception):
    """A rung was not finished, or left nothing: the time is over, trials failed, or all diverged."""


def halving(
    ledger: Ledger, settings: Sequence[Setting], rungs: Sequence[float],
    trial_of: Callable[[Setting, float], Trial],
) -> list[list[tuple[float, Setting]]]:  # fmt: skip
    """Validation scores and settings of each rung, best first; what diverged has the score -inf.

    Parameters
    ----------
    rungs : sequence of float
        Times, shortest first.
    trial_of : callable
        The trial of a setting for the time of a rung.

    Raises
    ------
    UnfinishedError
    """
    found: list[list[tuple[float, Setting]]] = []
    for rung in rungs:
        results = [(ledger.result(trial_of(setting, rung)), setting) for setting in settings]
        missing = sum(result is None for result, _ in results)
        if missing:
            raise UnfinishedError(f"{missing} of {len(results)} trials of the rung at {rung:g} are missing")
        scored = [
            (-math.inf if result is None or result["score"] is None else result["score"], setting)
            for result, setting in results
        ]
        found.append(sorted(scored, key=lambda pair: pair[0], reverse=True))
        half = found[-1][: math.ceil(len(scored) / 2)]
        settings = [setting for score, setting in half if score > -math.inf]
        if not settings:
            raise UnfinishedError(f"every setting diverges in the rung at {rung:g}")
    return found


def best(rungs: Sequence[float], scores: Sequence[list[tuple[float, Setting]]], length: float) -> Setting:
    """The best setting of the rung that is nearest to a length, as a ratio."""
    nearest = min(range(len(rungs)), key=lambda i: abs(math.log(rungs[i] / length)))
    return scores[nearest][0][1]
