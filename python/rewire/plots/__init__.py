"""Pictures of sparse networks, with matplotlib.

Every function takes plain arrays and returns a `matplotlib.figure.Figure` (or draws into the axes it is
given); none shows a window or touches pyplot's state, so they work in notebooks, scripts and on machines
without a display.
"""

from rewire.analysis import input_strength
from rewire.plots._comparison import comparison
from rewire.plots._curves import (
    accuracy_by_rule,
    accuracy_curves,
    curves,
    exploration_curves,
    link_survival,
)
from rewire.plots._inputs import connectivity, demo, linear_map
from rewire.plots._structure import animate, degree_histograms, link_map
from rewire.plots._style import available, save

__all__ = [
    "accuracy_by_rule", "accuracy_curves", "animate", "available", "comparison", "connectivity",
    "curves", "degree_histograms", "demo", "exploration_curves", "input_strength", "linear_map", "link_map",
    "link_survival", "save",
]  # fmt: skip
