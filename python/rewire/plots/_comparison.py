"""Contenders beside each other: accuracy over seconds, over weights, over epochs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rewire._checks import choice, describe, one_of_types, text
from rewire.plots._curves import draw_curves
from rewire.plots._style import COLOURS, FAINT, INK, canvas, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["comparison"]

OVER = {
    "seconds": "seconds of training", "weights": "weights", "parameters": "trained values",
    "network_bytes": "bytes of the network", "peak_memory": "bytes of the process at most",
    "curve": "epoch",
}  # fmt: skip
_MARKERS = "osD^vP"
_LOGARITHMIC = 20.0  # ratio of the largest to the smallest from which on an axis is logarithmic


def comparison(
    runs: Iterable[Mapping[str, Any]],
    *,
    over: str = "seconds",
    measure: str | None = None,
    axes: Axes | None = None,
    title: str | None = None,
) -> Figure:
    """A mark for every contender at its means, with lines from its lowest to its highest values.

    Parameters
    ----------
    runs : Comparison, or iterable of dict
        What `rewire.compare` gives. Runs that failed are left out.
    over : {"seconds", "weights", "parameters", "network_bytes", "peak_memory", "curve"}
        What is drawn from left to right. ``"curve"``: epochs, as curves on the samples that were held out.
    measure : str, optional
        The column that is drawn, such as ``"validation_accuracy"``; by default that of the test set, where
        there is one, and of the samples held out for curves.
    axes : matplotlib Axes, optional
        Drawn into these, else into a new figure.
    title : str, optional

    Raises
    ------
    TypeError, ValueError
        For something else; if no run has what is to be drawn.
    """
    choice("over", over, OVER)
    one_of_types("runs", runs, Iterable, "a Comparison, or rows of one")
    rows = [row for row in runs if "error" not in one_of_types("a run", row, Mapping, "a dict")]
    if not rows:
        raise ValueError("runs must hold at least one that has not failed, got none")
    name = _measure(rows, measure, over)
    values = _values(rows, name, over)
    with canvas(axes, 7, 4.4) as (figure, axes):
        if over == "curve":
            draw_curves(axes, values, name.replace("_", " ") if title is None else title)
        else:
            _points(axes, values, name, over)
            axes.set_title(f"{name.replace('_', ' ')} over {OVER[over]}" if title is None else title)
        if not name.endswith("accuracy"):
            axes.yaxis.set_major_formatter("{x:g}")
    return figure


def _measure(rows: list[Mapping[str, Any]], measure: str | None, over: str) -> str:
    """The column that is drawn."""
    there = [name for row in rows for name in (row["curve"] if over == "curve" else row)]
    if measure is None:
        metric = rows[0].get("metric", "accuracy")
        order = ("validation", "test") if over == "curve" else ("test", "validation")
        measure = next((f"{part}_{metric}" for part in order if f"{part}_{metric}" in there), None)
        if measure is None:
            raise ValueError(f"runs must have {metric} over epochs: hold samples out, validation=0.1")
    if text("measure", measure) not in there:
        raise ValueError(f"measure must be one of {', '.join(dict.fromkeys(there))}, got {describe(measure)}")
    return measure


def _values(rows: list[Mapping[str, Any]], name: str, over: str) -> dict[str, Any]:
    """By contender: curves (seeds, epochs), or points (seeds, 2)."""
    found: dict[str, list[Any]] = {}
    for row in rows:
        value = row["curve"][name] if over == "curve" else (row.get(over), row.get(name))
        if over == "curve" or all(v is not None for v in value):
            found.setdefault(row["contender"], []).append(value)
    if not found:
        raise ValueError(f"runs must have {over}, got none with one")
    return {one: np.array(several, dtype=float) for one, several in found.items()}


def _points(axes: Axes, values: Mapping[str, Any], name: str, over: str) -> None:
    for i, (one, points) in enumerate(values.items()):
        x, y = points.mean(axis=0)
        colour = COLOURS[i % len(COLOURS)]
        for along, fixed in ((0, y), (1, x)):
            ends = [points[:, along].min(), points[:, along].max()]
            line = (ends, [fixed, fixed]) if along == 0 else ([fixed, fixed], ends)
            axes.plot(*line, color=colour, linewidth=1.4, alpha=0.55)
        marker = _MARKERS[i // len(COLOURS) % len(_MARKERS)]
        axes.plot(x, y, marker, color=colour, markersize=6, label=one)
    every = np.concatenate([points[:, 0] for points in values.values()])
    low, high = float(every.min()), float(every.max())
    if low > 0 and high / low > _LOGARITHMIC:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, high * 1.05 if high > 0 and math.isfinite(high) else 1)
    axes.set_xlabel(OVER[over])
    if name.endswith("accuracy"):
        percent_axis(axes.yaxis)
    axes.grid(color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.legend(
        loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, labelcolor=INK, fontsize=9,
        handletextpad=0.3,
    )  # fmt: skip
