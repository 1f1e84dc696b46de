"""RigL in which layers compete: links grow where gradients are largest in the whole network."""

import numpy as np

import rewire as rw
from rewire.rewiring import DropSmallest, GrowByGradient, Swap, register_rule


class GrowAnywhere(GrowByGradient):
    """Each layer grows as many links as it has among the largest gradients of all empty positions."""

    moves = True

    def place_all(self, plans, parameters, counts, context):
        scores = []
        for parameter in parameters:
            gradient = np.abs(context.probe.outputs(parameter).T @ context.probe.inputs(parameter))
            rows, cols, _ = parameter.to_arrays()
            gradient[rows, cols] = 0
            scores.append(gradient.ravel())
        threshold = np.sort(np.concatenate(scores))[::-1][: sum(counts) + 1][-1]
        counts = [int((score > threshold).sum()) for score in scores]
        return super().place_all(plans, parameters, counts, context)


@register_rule
class GlobalRigL(Swap):
    """Drops the smallest weights of all layers, and grows the largest gradients of all layers."""

    name = "global-rigl"

    def __init__(self, fraction=0.3, *, every=100):
        super().__init__(every, fraction, DropSmallest(scope="global"), GrowAnywhere(rw.Zeros()))
