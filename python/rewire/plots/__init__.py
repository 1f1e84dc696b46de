"""Pictures of sparse networks, with matplotlib.

Every function takes plain arrays and returns a `matplotlib.figure.Figure` (or draws into the axes it is
given); none shows a window or touches pyplot's state, so they work in notebooks, scripts and on machines
without a display.
"""

from rewire.analysis import input_strength
from rewire.plots.comparison import comparison
from rewire.plots.curves import accuracy_by_rule, accuracy_curves, exploration_curves, link_survival
from rewire.plots.inputs import connectivity, demo, linear_map
from rewire.plots.structure import animate, degree_histograms, link_map
from rewire.plots.style import available, save

__all__ = [
    "accuracy_by_rule", "accuracy_curves", "animate", "available", "comparison", "connectivity",
    "degree_histograms", "demo", "exploration_curves", "input_strength", "linear_map", "link_map",
    "link_survival", "save",
]  # fmt: skip
