"""Curves over epochs: accuracy, exploration, survival of links; accuracy rule by rule."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain, cycle
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from rewire._checks import choice
from rewire.plots.style import COLOURS, FAINT, GREY, INK, canvas, colour_map, percent_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_by_rule", "accuracy_curves", "exploration_curves", "link_survival"]

COHORTS = 12  # lines of link_survival beside the start


def accuracy_curves(
    curves: Mapping[str, ArrayLike], *, axes: Axes | None = None, title: str = "Accuracy"
) -> Figure:
    """One line per network over the epochs; the first is drawn grey, as the one compared against.

    Parameters
    ----------
    curves : mapping of str to array_like, shape (n_epochs,) or (n_seeds, n_epochs)
        Accuracy in [0, 1] after each epoch. Of several seeds the mean is drawn, in a band from least to most.
    axes : matplotlib Axes, optional
        Drawn into these, else into a new figure.
    title : str
    """
    with canvas(axes, 6, 4) as (figure, axes):
        draw_curves(axes, curves, title)
    return figure


def exploration_curves(
    rates: Mapping[str, ArrayLike], *, axes: Axes | None = None, title: str = "Places that have been tried"
) -> Figure:
    """How much of all places has ever been connected, one line per network, as for `accuracy_curves`.

    Parameters
    ----------
    rates : mapping of str to array_like, shape (n_epochs,) or (n_seeds, n_epochs)
        In [0, 1]: ``history["exploration_rate"]``, which `rewire.LinkLog` writes.
    axes : matplotlib Axes, optional
    title : str
    """
    with canvas(axes, 6, 4) as (figure, axes):
        draw_curves(axes, rates, title, from_zero=True)
    return figure


def link_survival(
    shares: ArrayLike, *, axes: Axes | None = None, title: str = "Links that are still there"
) -> Figure:
    """Share of links still alive, one line for those born in the same epoch; the start is drawn black.

    Parameters
    ----------
    shares : array_like, shape (n_epochs, n_epochs + 1)
        As `rewire.LinkLog.survival` gives it. Of many epochs some are drawn, evenly chosen.
    axes : matplotlib Axes, optional
    title : str
    """
    shares = np.asarray(shares, dtype=float)
    if shares.ndim != 2 or not len(shares) or shares.shape[1] != len(shares) + 1:
        raise ValueError(f"shares must have shape (n_epochs, n_epochs + 1), got {shares.shape}")
    born = 1 + np.flatnonzero(np.isfinite(shares[:, 1:]).any(axis=0))
    born = born[np.unique(np.linspace(0, born.size - 1, min(born.size, COHORTS)).astype(int))]
    epochs = np.arange(1, len(shares) + 1)
    with canvas(axes, 6, 4) as (figure, axes):
        shade = colour_map()
        for k in born:
            axes.plot(epochs, shares[:, k], color=shade(0.3 + 0.5 * k / len(shares)), linewidth=1.5)
            axes.plot(k, shares[k - 1, k], ".", color=shade(0.3 + 0.5 * k / len(shares)), markersize=5)
        axes.plot(epochs, shares[:, 0], color=INK, linewidth=2.2, solid_capstyle="round")
        axes.annotate(
            "start", (epochs[-1], shares[-1, 0]), xytext=(8, 0), textcoords="offset points", color=INK,
            va="center", fontweight="bold", annotation_clip=False,
        )  # fmt: skip
        axes.set_title(title)
        axes.set_xlabel("epoch; a dot is where a group was born")
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


def draw_curves(axes: Axes, curves: Mapping[str, ArrayLike], title: str, *, from_zero: bool = False) -> None:
    """Curves with their names at their ends, the first one grey."""
    ends, lowest, highest = [], 1.0, 0.0
    for (name, values), colour in zip(curves.items(), chain((GREY,), cycle(COLOURS)), strict=False):
        values = np.atleast_2d(np.asarray(values, dtype=float))
        mean, epochs = values.mean(axis=0), np.arange(1, values.shape[1] + 1)
        if len(values) > 1:
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(epochs, mean, color=colour, linewidth=2.2, solid_capstyle="round")
        ends.append((mean[-1], name, colour, epochs[-1]))
        # The first epochs would press all the rest together at the top.
        lowest = min(lowest, float(np.quantile(mean, 0.08)))
        highest = max(highest, float(values.max()))
    axes.set_title(title)
    axes.set_xlabel("epoch")
    percent_axis(axes.yaxis)
    _quiet(axes, "y")
    axes.set_ylim(0.0 if from_zero else lowest, min(1.0, highest + 0.005))
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
    places: list[float] = []
    for value, name, colour, epoch in sorted(ends, reverse=True):
        place = min(value, places[-1] - gap) if places else value
        places.append(place)
        axes.annotate(
            name, (epoch, place), xytext=(8, 0), textcoords="offset points", color=colour,
            va="center", fontsize=11, fontweight="bold", annotation_clip=False,
        )  # fmt: skip
