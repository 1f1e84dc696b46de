"""How all pictures look, and what every drawing function needs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rewire._fileio import atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["available", "save"]

# Okabe and Ito's colours, told apart with every common kind of colour blindness; grey for what is
# compared against.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
GREY = "#767676"
INK = "#222222"
FAINT = "#D9D9D9"
LISTENING = ("#FFFFFF", "#F6C9A8", "#D55E00", "#4A1F00")  # white to dark through the colour of SET

STYLE = {
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
        load_matplotlib()
    except ImportError:
        return False
    return True


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: int = 150) -> None:
    """Write a figure to a file, atomically; the extension says the format (PNG, PDF, SVG)."""
    with load_matplotlib().rc_context(STYLE), atomic_write(path) as temporary:
        figure.savefig(temporary, format=kind_of(path), dpi=dpi)


def kind_of(path: str | os.PathLike[str]) -> str:
    """The format that the name of a picture asks for."""
    return os.path.splitext(os.fspath(path))[1].lstrip(".").lower() or "png"


def kinds() -> list[str]:
    """The formats that matplotlib writes."""
    load_matplotlib()
    from matplotlib.backend_bases import FigureCanvasBase

    return sorted(FigureCanvasBase.get_supported_filetypes())


# --- pieces


def load_matplotlib() -> Any:
    """matplotlib, or an ImportError that says how to install it."""
    try:
        import matplotlib
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "rewire[plot]"') from error
    return matplotlib


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches, without pyplot."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.05, h_pad=0.08))


@contextlib.contextmanager
def canvas(axes: Axes | None, width: float, height: float) -> Iterator[tuple[Any, Axes]]:
    """The axes to draw into, and their figure, under the house style; new ones if none are given."""
    with load_matplotlib().rc_context(STYLE):
        if axes is not None:
            yield axes.figure, axes
        else:
            figure = new_figure(width, height)
            yield figure, figure.subplots()


def colour_map() -> Any:
    """From nothing to much: white through orange to dark."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("listening", LISTENING)


def percent_bar(figure: Any, image: Any, axes: Any, label: str, **place: Any) -> None:
    """A colour bar in percent."""
    bar = figure.colorbar(image, ax=axes, **place)
    bar.outline.set_edgecolor(FAINT)
    bar.long_axis.set_major_formatter(lambda value, _: f"{value:g} %")
    bar.set_label(label)


def percent_axis(axis: Any) -> None:
    """Shares on an axis as percent."""
    axis.set_major_formatter(lambda value, _: f"{100 * value:g} %")


def heading(figure: Any, words: str) -> None:
    """A title over a figure, to the left."""
    figure.suptitle(words, x=0.01, ha="left", fontsize=12, fontweight="bold")
