"""Curves over epochs: accuracy, exploration, survival of links; accuracy rule by rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import chain, cycle
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire._checks import choice, describe, one_of_types, text
from rewire.history import History
from rewire.plots._style import COLOURS, FAINT, GREY, INK, canvas, colour_map, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_by_rule", "accuracy_curves", "curves", "exploration_curves", "link_survival"]

COHORTS = 12  # lines of link_survival beside that of the initial links


def accuracy_curves(
    curves: History | Mapping[str, Any], *, axes: Axes | None = None, title: str = "Accuracy"
) -> Figure:
    """One line per network over the epochs; the first is drawn grey, as the one compared against.

    Parameters
    ----------
    curves : History, or mapping of str to array_like, shape (n_epochs,) or (n_seeds, n_epochs)
        Accuracy in [0, 1] after each epoch. Of several seeds the mean is drawn, in a band from least to most.
        A mapping's values may be a History or, for several seeds, a list of them: its ``val_accuracy`` is
        drawn, or where there is none its ``accuracy``. A History by itself gives a line for each of the two.
    axes : matplotlib Axes, optional
        Drawn into these, else into a new figure.
    title : str

    Raises
    ------
    TypeError, ValueError
        For something else; the curve is named.
    """
    curves = as_curves("curves", curves, {"accuracy": "training", "val_accuracy": "validation"})
    with canvas(axes, 6, 4) as (figure, axes):
        draw_curves(axes, curves, title)
    return figure


def curves(
    runs: History | Mapping[str, Any],
    column: str = "loss",
    *,
    axes: Axes | None = None,
    title: str | None = None,
) -> Figure:
    """Any column of histories over the epochs, one line per network, as for `accuracy_curves`.

    Parameters
    ----------
    runs : History, or mapping of str to array_like, shape (n_epochs,) or (n_seeds, n_epochs)
        A mapping's values may be a History or a list of them: ``val_`` and the column is drawn, or where
        there is none the column. A History by itself gives a line for each of the two.
    column : str
        ``"loss"``, ``"accuracy"``, ``"r2"``, ``"lr"``, ...
    axes : matplotlib Axes, optional
    title : str, optional
        The column by default.

    Raises
    ------
    TypeError, ValueError
        For something else; the curve is named.
    """
    name = text("column", column)
    found = as_curves("runs", runs, {name: "training", f"val_{name}": "validation"})
    with canvas(axes, 6, 4) as (figure, axes):
        draw_curves(axes, found, name if title is None else title, fractions=name == "accuracy")
    return figure


def exploration_curves(
    rates: History | Mapping[str, Any],
    *,
    axes: Axes | None = None,
    title: str = "Positions that have been tried",
) -> Figure:
    """The fraction of all positions that was ever connected, one line per network, as for `accuracy_curves`.

    Parameters
    ----------
    rates : History, or mapping of str to array_like, shape (n_epochs,) or (n_seeds, n_epochs)
        In [0, 1]: ``history["exploration_rate"]``, which `rewire.LinkLog` writes. History as for
        `accuracy_curves`.
    axes : matplotlib Axes, optional
    title : str
    """
    rates = as_curves("rates", rates, {"exploration_rate": "explored"})
    with canvas(axes, 6, 4) as (figure, axes):
        draw_curves(axes, rates, title, from_zero=True)
    return figure


def link_survival(
    fractions: ArrayLike, *, axes: Axes | None = None, title: str = "Links that are still there"
) -> Figure:
    """Fraction of links that are left, one line for those grown in the same epoch; initial links are black.

    Parameters
    ----------
    fractions : array_like, shape (n_epochs, n_epochs + 1)
        As `rewire.LinkLog.survival` gives it. Of many epochs some are drawn, evenly chosen.
    axes : matplotlib Axes, optional
    title : str
    """
    fractions = np.asarray(fractions, dtype=float)
    if fractions.ndim != 2 or not len(fractions) or fractions.shape[1] != len(fractions) + 1:
        raise ValueError(f"fractions must have shape (n_epochs, n_epochs + 1), got {fractions.shape}")
    grown = 1 + np.flatnonzero(np.isfinite(fractions[:, 1:]).any(axis=0))
    grown = grown[np.unique(np.linspace(0, grown.size - 1, min(grown.size, COHORTS)).astype(int))]
    epochs = np.arange(1, len(fractions) + 1)
    with canvas(axes, 6, 4) as (figure, axes):
        shade = colour_map()
        for k in grown:
            axes.plot(epochs, fractions[:, k], color=shade(0.3 + 0.5 * k / len(fractions)), linewidth=1.5)
            axes.plot(k, fractions[k - 1, k], ".", color=shade(0.3 + 0.5 * k / len(fractions)), markersize=5)
        axes.plot(epochs, fractions[:, 0], color=INK, linewidth=2.2, solid_capstyle="round")
        axes.annotate(
            "initial", (epochs[-1], fractions[-1, 0]), xytext=(8, 0), textcoords="offset points", color=INK,
            va="center", fontweight="bold", annotation_clip=False,
        )  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel("epoch; a dot marks the growth of a group")
        percent_axis(axes.yaxis)
        _quiet(axes, "y")
        axes.set_ylim(0, 1.02)
        axes.set_xlim(1, max(2, epochs[-1]))
    return figure


def accuracy_by_rule(
    accuracy: Mapping[str, ArrayLike],
    *,
    against: str | None = None,
    axes: Axes | None = None,
    title: str = "Accuracy",
) -> Figure:
    """Rules from worst to best: a dot for every seed and a bar at their mean.

    Parameters
    ----------
    accuracy : mapping of str to array_like, shape (n_seeds,)
        At the end, in [0, 1].
    against : str, optional
        The rule whose mean is drawn as a line through all others.
    axes : matplotlib Axes, optional
    title : str
    """
    one_of_types("accuracy", accuracy, Mapping, "a mapping of rules to their accuracies")
    if against is not None:
        choice("against", against, accuracy)
    values = {name: np.atleast_1d(np.asarray(found, dtype=float)) for name, found in accuracy.items()}
    order = sorted(values, key=lambda name: values[name].mean())
    with canvas(axes, 6, 0.7 + 0.32 * len(values)) as (figure, axes):
        for y, name in enumerate(order):
            colour = GREY if name == against else COLOURS[0]
            axes.plot(values[name], np.full(values[name].size, y), "o", color=colour, alpha=0.45, ms=5, mew=0)
            axes.plot(values[name].mean(), y, "|", color=colour, ms=14, mew=2.5)
        if against is not None:
            axes.axvline(values[against].mean(), color=GREY, linewidth=1, linestyle=":")
        axes.set_yticks(range(len(order)), order, color=INK)
        axes.set_title(title)
        percent_axis(axes.xaxis)
        _quiet(axes, "x")
    return figure


# --- pieces


def as_curves(what: str, given: Any, columns: Mapping[str, str]) -> dict[str, NDArray[np.float64]]:
    """Names and values, shape (n_seeds, n_epochs), of all curves.

    ``columns`` are those of a History that may be drawn, the best one last, and what they are called when
    there is nothing else to name a line by.
    """
    if isinstance(given, History):
        names = [name for name in columns if name in given]
        if not names:
            raise ValueError(f"{what} must have {' or '.join(columns)}, got {_columns(given)}")
        given = {columns[name]: given[name] for name in names}
    elif not isinstance(given, Mapping):
        raise TypeError(
            f"{what} must be a History, or a mapping of names to curves such as {{'SET': ...}}, "
            f"got {describe(given)}"
        )
    if not given:
        raise ValueError(f"{what} must hold at least one curve, got none")
    return {name: _curve(f"{what}[{name!r}]", values, columns) for name, values in given.items()}


def _columns(run: Any) -> str:
    return f"one with {', '.join(run.columns) or 'no rows'}" if isinstance(run, History) else describe(run)


def _curve(what: str, values: Any, columns: Mapping[str, str]) -> NDArray[np.float64]:
    runs = [values] if isinstance(values, History) else values
    if isinstance(runs, (list, tuple)) and any(isinstance(run, History) for run in runs):
        for run in runs:
            if not isinstance(run, History) or not any(column in run for column in columns):
                raise ValueError(f"{what} must be a History with {' or '.join(columns)}, got {_columns(run)}")
        column = next(c for c in reversed(list(columns)) if all(c in run for run in runs))
        values = [run[column] for run in runs]
        if len({len(value) for value in values}) > 1:
            raise ValueError(
                f"{what} must have as many epochs in every run, got {[len(value) for value in values]}"
            )
    try:
        found = np.atleast_2d(np.asarray(values, dtype=float))
    except (TypeError, ValueError):
        raise TypeError(
            f"{what} must be an array of numbers, shape (n_epochs,) or (n_seeds, n_epochs), or a History, "
            f"got {describe(values)}"
        ) from None
    if found.ndim != 2 or not np.isfinite(found).all(axis=0).any():
        raise ValueError(
            f"{what} must have shape (n_epochs,) or (n_seeds, n_epochs) and a finite value, got an array of "
            f"shape {np.shape(values)}"
        )
    return found


def draw_curves(
    axes: Axes,
    curves: Mapping[str, ArrayLike],
    title: str,
    *,
    from_zero: bool = False,
    fractions: bool = True,
) -> None:
    """Curves with their names at their ends, the first one grey. All of every curve is in the picture.

    Without ``fractions`` values may be any numbers.
    """
    ends, lowest, highest = [], math.inf, -math.inf
    for (name, values), colour in zip(curves.items(), chain((GREY,), cycle(COLOURS)), strict=False):
        values = np.atleast_2d(np.asarray(values, dtype=float))
        mean, epochs = values.mean(axis=0), np.arange(1, values.shape[1] + 1)
        if len(values) > 1:
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(epochs, mean, color=colour, linewidth=2.2, solid_capstyle="round")
        last = int(np.flatnonzero(np.isfinite(mean))[-1])
        ends.append((mean[last], name, colour, epochs[last]))
        lowest, highest = min(lowest, float(np.nanmin(values))), max(highest, float(np.nanmax(values)))
    axes.set_title(title)
    axes.set_xlabel("epoch")
    room = 0.02 * (highest - lowest)
    if fractions:
        percent_axis(axes.yaxis)
        room, lowest, highest = max(room, 0.005), min(lowest, 1.0), max(highest, 0.0)
        top = max(highest, min(1.0, highest + room))
    else:
        room = room or abs(highest) * 0.02 or 1.0
        top = highest + room
    _quiet(axes, "y")
    axes.set_ylim(0.0 if from_zero else lowest - room, top)
    axes.set_xlim(1, max(2, *(epoch for *_, epoch in ends)))
    _label_ends(axes, ends)


def _quiet(axes: Axes, along: Literal["x", "y"]) -> None:
    """A faint grid instead of a spine."""
    axes.grid(axis=along, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)


def _label_ends(axes: Axes, ends: list[tuple[float, str, str, int]]) -> None:
    """Write each curve's name at its end, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    lines = max(name.count("\n") + 1 for _, name, _, _ in ends)
    gap = (high - low) * 0.055 * lines
    heights: list[float] = []
    for value, name, colour, epoch in sorted(ends, reverse=True):
        height = min(value, heights[-1] - gap) if heights else value
        heights.append(height)
        axes.annotate(
            name, (epoch, height), xytext=(8, 0), textcoords="offset points", color=colour,
            va="center", fontsize=11, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
