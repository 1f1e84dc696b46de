"""Pictures of sparse networks, with matplotlib.

Every function takes plain arrays and returns a `matplotlib.figure.Figure` (or draws into the axes it is
given); none shows a window or touches pyplot's state, so they work in notebooks, scripts and on machines
without a display.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire._fileio import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["accuracy_curves", "available", "connectivity", "demo", "input_strength", "save"]

# Okabe and Ito's colours, told apart with every common kind of colour blindness; grey for what is
# compared against.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#767676"
INK = "#222222"
FAINT = "#D9D9D9"
LISTENING = ("#FFFFFF", "#F6C9A8", "#D55E00", "#4A1F00")  # white to dark through the colour of SET

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 11,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def available() -> bool:
    """Whether matplotlib can be imported."""
    try:
        _matplotlib()
    except ImportError:
        return False
    return True


def input_strength(layer: Any) -> NDArray[np.float64]:
    """How much a sparse layer listens to each of its inputs: the sum of |w| over the links that leave it.

    Returns
    -------
    ndarray of float64, shape (n_in,)
    """
    store = layer.store
    weights = np.abs(store.get_field("weight"), dtype=np.float64).sum(axis=1)
    return np.bincount(store.sources(), weights=weights, minlength=store.n_in)


def connectivity(before: ArrayLike, after: ArrayLike, shape: tuple[int, int]) -> Figure:
    """Which inputs a network listens to, before and after training, as two maps of the image.

    Parameters
    ----------
    before, after : array_like, shape (n_in,)
        See `input_strength`; the shares of their sums are drawn.
    shape : (int, int)
        Height and width of the image.
    """
    matplotlib = _matplotlib()
    with matplotlib.rc_context(_STYLE):
        figure = _figure(7, 3.6)
        _two_maps(figure, *figure.subplots(1, 2), before, after, shape)
    return figure


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
    matplotlib = _matplotlib()
    with matplotlib.rc_context(_STYLE):
        figure = axes.figure if axes is not None else _figure(6, 4)
        _curves(figure.subplots() if axes is None else axes, curves, title)
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
        How much SET listens to each pixel, see `input_strength`.
    curves : mapping of str to array_like, shape (n_seeds, n_epochs)
        Test accuracy after each epoch, by network.
    links : mapping of str to int
        Number of weights, by network.
    """
    matplotlib = _matplotlib()
    with matplotlib.rc_context(_STYLE):
        figure = _figure(12, 5.4)
        left, right = figure.subfigures(1, 2, width_ratios=[1.12, 1], wspace=0.06)
        top, bottom = left.subfigures(2, 1, height_ratios=[1, 3.4])
        _heading(top, "The mean image of each digit")
        for axes, image in zip(top.subplots(1, len(means)), means, strict=True):
            axes.imshow(image, cmap="Greys", interpolation="nearest")
            axes.set_axis_off()
        _heading(bottom, "The pixels that SET listens to")
        _two_maps(bottom, *bottom.subplots(1, 2), before, after, means.shape[1:])
        _heading(right, "Accuracy on images never seen in training")
        named = {f"{name}\n{links[name]:,} weights": curve for name, curve in curves.items()}
        _curves(right.subplots(), named, "")
    return figure


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> None:
    """Write a figure to a file, atomically; the extension says the format (PNG, PDF, SVG)."""
    kind = os.path.splitext(os.fspath(path))[1].lstrip(".").lower() or "png"
    with _matplotlib().rc_context(_STYLE), atomic_write(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=dpi)


# --- pieces


def _matplotlib() -> Any:
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "rewire[plot]"') from error
    return matplotlib


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.get_layout_engine().set(w_pad=0.05, h_pad=0.08)
    return figure


def _heading(figure: Any, words: str) -> None:
    figure.suptitle(words, x=0.01, ha="left", fontsize=12, fontweight="bold")


def _two_maps(
    figure: Any, left: Axes, right: Axes, before: ArrayLike, after: ArrayLike, shape: tuple[int, ...]
) -> None:
    """Two maps on one scale, with one colour bar below them."""
    from matplotlib.colors import LinearSegmentedColormap

    shares = [np.asarray(values, dtype=float).reshape(shape) for values in (before, after)]
    shares = [100 * values / max(values.sum(), np.finfo(float).tiny) for values in shares]
    colours = LinearSegmentedColormap.from_list("listening", LISTENING)
    top = max(values.max() for values in shares)
    for axes, values, title in zip((left, right), shares, ("before training", "after training"), strict=True):
        image = axes.pcolormesh(values, cmap=colours, vmin=0, vmax=top, edgecolors="white", linewidth=1)
        axes.invert_yaxis()
        axes.set_aspect("equal")
        axes.set_title(title)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    bar = figure.colorbar(image, ax=[left, right], location="bottom", shrink=0.55, aspect=35, pad=0.02)
    bar.outline.set_edgecolor(FAINT)
    bar.ax.xaxis.set_major_formatter(lambda value, _: f"{value:g} %")
    bar.set_label("share of all |weights| that leave the pixels")


def _curves(axes: Axes, curves: Mapping[str, ArrayLike], title: str) -> None:
    ends, lowest, highest = [], 1.0, 0.0
    for (name, values), colour in zip(curves.items(), (GREY, *COLOURS), strict=False):
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
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.grid(axis="y", color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(lowest, min(1.0, highest + 0.005))
    axes.set_xlim(1, max(epoch for *_, epoch in ends))
    _label_ends(axes, ends)


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
