"""Where links lie and how many a neuron has: maps, their animation, degree histograms."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire._checks import number
from rewire._fileio import atomic_write, writable_target
from rewire.analysis import PowerLaw
from rewire.plots._style import (
    COLOURS,
    FAINT,
    GREY,
    INK,
    STYLE,
    canvas,
    colour_map,
    load_matplotlib,
    new_figure,
    percent_axis,
    percent_bar,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["animate", "degree_histograms", "link_map"]

BARS = 60  # a histogram of more different degrees is drawn with wider bars


def link_map(fractions: ArrayLike, *, axes: Axes | None = None, title: str = "Connections") -> Figure:
    """A layer as a map: inputs to the right, output neurons downward, the darker the more links.

    Parameters
    ----------
    fractions : array_like, shape (rows, columns)
        Fractions of positions that are connected, as `rewire.analysis.link_map` gives them.
    axes : matplotlib Axes, optional
    title : str
    """
    values = _maps("fractions", fractions, 2)
    with canvas(axes, 5.6, 4.6) as (figure, axes):
        _draw_map(figure, axes, values, title, values.max())
    return figure


def animate(
    maps: ArrayLike, path: str | os.PathLike[str], *, epochs: Sequence[int] | None = None, fps: float = 4.0
) -> None:
    """Write an animated GIF of a layer's map over the epochs, atomically, all frames on one scale.

    Parameters
    ----------
    maps : array_like, shape (n, rows, columns)
        Fractions of positions that are connected: ``maps`` of a `rewire.MapLog`.
    path : path-like
    epochs : sequence of int, optional
        What is written over each frame: ``epochs`` of the log; 0, 1, ... by default.
    fps : float > 0
        Frames a second.
    """
    values = _maps("maps", maps, 3)
    names = list(range(len(values))) if epochs is None else list(epochs)
    if len(names) != len(values):
        raise ValueError(f"epochs must name each of the {len(values)} maps, got {len(names)}")
    fps = number("fps", fps, low=0.0, open_low=True)
    writable_target(path)
    matplotlib = load_matplotlib()
    from matplotlib.animation import PillowWriter

    # Pillow learns the format from the name, which the temporary file of an atomic write does not tell.
    with matplotlib.rc_context(STYLE), TemporaryDirectory() as folder:
        whole = Path(folder) / "map.gif"
        figure, writer = new_figure(5.6, 4.6), PillowWriter(fps=fps)  # type: ignore[arg-type]  # its stub knows whole numbers only
        with writer.saving(figure, whole, dpi=80):
            image = _draw_map(figure, figure.subplots(), values[0], " ", values.max())
            for name, frame in zip(names, values, strict=True):
                image.set_data(frame * 100)
                image.axes.set_title(f"epoch {name}")
                writer.grab_frame()
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            file.write(whole.read_bytes())


def degree_histograms(
    degrees: Mapping[str, ArrayLike], *, fits: Mapping[str, PowerLaw] | None = None
) -> Figure:
    """How many neurons have how many links, a panel for each entry.

    Parameters
    ----------
    degrees : mapping of str to array_like of int, shape (n,)
        By what they are called: ``{"fan-in": ..., "fan-out": ...}``.
    fits : mapping of str to PowerLaw, optional
        See `rewire.analysis.power_law`. An entry with a fit is drawn cumulatively on two logarithmic axes,
        the fit as a line; neurons without links, which have no place there, are counted in its title.
    """
    fits = fits or {}
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure = new_figure(4.6 * len(degrees), 3.6)
        for axes, (name, values) in zip(
            figure.subplots(1, len(degrees), squeeze=False)[0], degrees.items(), strict=True
        ):
            values = np.asarray(values)
            axes.set_title(name)
            axes.set_xlabel("links of a neuron")
            axes.spines["left"].set_visible(False)
            axes.grid(axis="y", color=FAINT, linewidth=0.8)
            axes.set_axisbelow(True)
            if name in fits:
                _draw_tail(axes, values, fits[name])
            else:
                _draw_bars(axes, values)
    return figure


# --- pieces


def _maps(name: str, values: ArrayLike, ndim: int) -> NDArray[np.float64]:
    found = np.asarray(values, dtype=float)
    if found.ndim != ndim or 0 in found.shape:
        axes = "(rows, columns)" if ndim == 2 else "(n, rows, columns)"
        raise ValueError(f"{name} must have shape {axes} and not be empty, got {found.shape}")
    return found


def _draw_map(figure: Any, axes: Axes, fractions: NDArray[np.float64], title: str, top: float) -> Any:
    image = axes.imshow(
        100 * fractions, cmap=colour_map(), vmin=0, vmax=100 * top or 1, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    axes.set_title(title)
    axes.set_xlabel("inputs")
    axes.set_ylabel("output neurons")
    axes.set_xticks([])
    axes.set_yticks([])
    percent_bar(figure, image, axes, "positions that are connected")
    return image


def _draw_bars(axes: Axes, values: NDArray[np.int64]) -> None:
    low, high = int(values.min()), int(values.max())
    step = -(-(high - low + 1) // BARS)
    edges = np.arange(low, high + step + 1, step) - 0.5
    axes.hist(values, edges.tolist(), color=COLOURS[0], rwidth=0.9)
    axes.locator_params(axis="x", integer=True)
    axes.set_ylabel("neurons")


def _draw_tail(axes: Axes, values: NDArray[np.int64], fit: PowerLaw) -> None:
    seen, counts = np.unique(values[values > 0], return_counts=True)
    n = counts.sum()
    axes.loglog(seen, np.cumsum(counts[::-1])[::-1] / n, "o", color=GREY, ms=4, mew=0)
    x = np.geomspace(fit.xmin, seen[-1], 60)
    axes.plot(x, fit.n_tail / n * fit.survival(x), color=COLOURS[1], linewidth=2.2)
    words = f"alpha = {fit.alpha:.2f} \u00b1 {fit.sigma:.2f} from {fit.xmin} on"
    if fit.p_value is not None:
        words += f"\np = {fit.p_value:.2f}"
    axes.text(0.03, 0.04, words, transform=axes.transAxes, color=INK)
    axes.set_xlabel("at least so many links")
    axes.set_ylabel("fraction of neurons")
    axes.minorticks_off()
    percent_axis(axes.yaxis)
    if values.size > n:
        axes.set_title(f"{axes.get_title(loc='left')}; {values.size - n} neurons without links")
