"""Rewiring rules as anybody would write them first: dense, slow, and plainly what the papers say."""

import math

from rules.scene import largest, links_of, smallest


def rigl(scene):
    """floor(fraction * n) of smallest |w| go; as many of largest |gradient| of all that are not kept come."""
    found = {}
    for layer in scene.layers:
        count = math.floor(scene.fraction * layer.live.sum())
        drop = smallest(scene, layer, layer.magnitude(), count)
        empty = ~layer.live
        for position in drop:
            empty[position] = True
        links = links_of(layer, drop) + scene.owed(layer)
        grow = largest(scene, layer, abs(layer.gradient()).sum(axis=2), links, empty)
        found[layer.name] = drop - grow, grow - drop  # who comes back was never away
    return found
