"""What a sparse network looks like: degrees, distances, paths, spectra.

Functions take a layer of a network, a `WeightStore`, or a whole `Sequential`, and O(connections) memory
where they do not say otherwise; those that need SciPy import it when they are called. They look and never
touch: any of them may be called between two epochs. What happens to links *over time* is written down by
`rewire.LinkLog`; `rewire.plots` draws both.
"""

from rewire.analysis.distance import overlap, topology_distance, topology_distances
from rewire.analysis.graph import Components, components, spectral_gap, unused_inputs
from rewire.analysis.measures import Degrees, degrees, input_strength, link_map
from rewire.analysis.powerlaw import PowerLaw, power_law
from rewire.analysis.switches import LinearMap, Visits, linear_at, visited_maps, visited_sides
from rewire.neurons import neuron_importance

__all__ = [
    "Components", "Degrees", "LinearMap", "PowerLaw", "Visits", "components", "degrees",
    "input_strength", "linear_at", "link_map", "neuron_importance", "overlap", "power_law",
    "spectral_gap", "topology_distance", "topology_distances", "unused_inputs", "visited_maps",
    "visited_sides",
]  # fmt: skip
