"""Which inputs a network is connected to, as images; the picture of ``rewire demo``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire.plots._curves import draw_curves
from rewire.plots._style import STYLE, colour_map, heading, load_matplotlib, new_figure, percent_bar

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["connectivity", "demo", "linear_map"]


def connectivity(before: ArrayLike, after: ArrayLike, shape: tuple[int, int]) -> Figure:
    """Which inputs a network is connected to, before and after training, as two maps of the image.

    Parameters
    ----------
    before, after : array_like, shape (n_in,)
        See `rewire.analysis.input_strength`; the fractions of their sums are drawn.
    shape : (int, int)
        Height and width of the image.
    """
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure = new_figure(7, 3.6)
        _two_maps(figure, figure.subplots(1, 2), before, after, shape)
    return figure


def demo(
    means: NDArray[Any],
    before: ArrayLike,
    after: ArrayLike,
    curves: Mapping[str, ArrayLike],
    links: Mapping[str, int],
) -> Figure:
    """The picture of `rewire demo`.

    Parameters
    ----------
    means : ndarray, shape (10, 8, 8)
        The mean image of each class.
    before, after : array_like, shape (64,)
        How strongly SET is connected to each pixel, see `rewire.analysis.input_strength`.
    curves : mapping of str to array_like, shape (n_seeds, n_epochs)
        Test accuracy after each epoch, by network.
    links : mapping of str to int
        Number of weights, by network.
    """
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure = new_figure(12, 5.4)
        left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[1.12, 1], wspace=0.06)[0]
        top, bottom = left.subfigures(2, 1, height_ratios=[1, 3.4])
        heading(top, "The mean image of each digit")
        for axes, image in zip(top.subplots(1, len(means)), means, strict=True):
            axes.imshow(image, cmap="Greys", interpolation="nearest")
            axes.set_axis_off()
        heading(bottom, "The pixels that SET is connected to")
        _two_maps(bottom, bottom.subplots(1, 2), before, after, means.shape[1:])
        heading(right, "Accuracy on images never seen in training")
        named = {f"{name}\n{links[name]:,} weights": curve for name, curve in curves.items()}
        draw_curves(right.subplots(), named, "")
    return figure


def linear_map(matrix: Any, shape: tuple[int, int], *, names: Iterable[Any] | None = None) -> Figure:
    """The linear map that a network is for one image: what each output is multiplied by, pixel by pixel.

    Parameters
    ----------
    matrix : array-like or SciPy sparse array, shape (n_out, height * width)
        `rewire.analysis.LinearMap.matrix`.
    shape : (int, int)
        Height and width of the image.
    names : iterable, optional
        What the outputs are called; their numbers by default.

    Raises
    ------
    ValueError
        If the map has another number of inputs than the image has pixels.
    """
    rows = np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix, dtype=float)
    if rows.ndim != 2 or rows.shape[1] != shape[0] * shape[1]:
        raise ValueError(f"matrix must have {shape[0] * shape[1]} columns, got shape {rows.shape}")
    words = list(range(len(rows)) if names is None else names)
    top = max(float(np.abs(rows).max(initial=0.0)), np.finfo(float).tiny)
    width = min(len(rows), 5)
    height = -(-len(rows) // width)
    matplotlib = load_matplotlib()
    with matplotlib.rc_context(STYLE):
        figure = new_figure(1.6 * width, 1.8 * height)
        panels = figure.subplots(height, width, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, row, word in zip(panels, rows, words, strict=False):
            axes.imshow(row.reshape(shape), cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest")
            axes.set_title(str(word))
    return figure


# --- pieces


def _two_maps(
    figure: Any, both: Iterable[Axes], before: ArrayLike, after: ArrayLike, shape: tuple[int, ...]
) -> None:
    """Two maps on one scale, with one colour bar below them."""
    fractions = [np.asarray(values, dtype=float).reshape(shape) for values in (before, after)]
    fractions = [100 * values / max(values.sum(), np.finfo(float).tiny) for values in fractions]
    top = max(values.max() for values in fractions)
    left, right = both
    titles = ("before training", "after training")
    for axes, values, title in zip((left, right), fractions, titles, strict=True):
        image = axes.pcolormesh(values, cmap=colour_map(), vmin=0, vmax=top, edgecolors="white", linewidth=1)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    percent_bar(
        figure, image, [left, right], "fraction of all |weights| that leave the pixels",
        location="bottom", shrink=0.55, aspect=35, pad=0.02,
    )  # fmt: skip
