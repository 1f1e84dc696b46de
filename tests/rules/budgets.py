"""Rules about how many links there are and in which layers, written slowly.

Each function takes a scene and the rule (for its options alone) and says, layer by layer, what goes and what
comes. Budgets are split with exact fractions, one slot after the other where that is plainer.
"""

import math
from fractions import Fraction

import numpy as np

from rules.scene import at_random, largest, smallest


def apportion(total, shares, most):
    """``total`` in proportion to ``shares``, with limits: overflow goes round again until all have room."""
    counts = [0] * len(shares)
    while total:
        room = [m - c for m, c in zip(most, counts, strict=True)]
        weights = [Fraction(float(s)) if r else Fraction(0) for s, r in zip(shares, room, strict=True)]
        if not sum(weights):
            weights = [Fraction(r) for r in room]
        wanted = [total * w / sum(weights) for w in weights]
        if any(w > r for w, r in zip(wanted, room, strict=True)):
            given = [r if w > r else 0 for w, r in zip(wanted, room, strict=True)]
        else:
            given = [math.floor(w) for w in wanted]
            order = sorted(range(len(given)), key=lambda i: (given[i] - wanted[i], i))
            for i in order[: total - sum(given)]:
                given[i] += 1
        counts = [c + g for c, g in zip(counts, given, strict=True)]
        total -= sum(given)
    return counts


def live(layer):
    return int(layer.live.sum())


def empty(layer):
    return int((~layer.live).sum())


def emptied(layer, goes):
    """The places that are empty once these have gone."""
    among = ~layer.live
    for place in goes:
        among[place] = True
    return among


def steps_of(when, moment):
    return when * moment.steps if isinstance(when, float) else when


def smallest_of_all(scene, total, keep=0):
    """The ``total`` smallest links of all layers, but ``keep`` of each stay: one link at a time."""
    magnitudes = [layer.magnitude() for layer in scene.layers]
    order = sorted(
        (magnitudes[i][g, j], i, scene.tie(layer, g, j), g, j)
        for i, layer in enumerate(scene.layers)
        for g, j in np.argwhere(layer.live).tolist()
    )
    goes = [set() for _ in scene.layers]
    for _, i, _, g, j in order:
        if total > 0 and live(scene.layers[i]) - len(goes[i]) > keep:
            goes[i].add((g, j))
            total -= 1
    return goes


def magnitude(scene, rule):
    if rule.scope == "global":
        total = math.floor(scene.share * sum(live(layer) for layer in scene.layers))
        goes = smallest_of_all(scene, total)
    else:
        goes = [
            smallest(scene, layer, layer.magnitude(), math.floor(scene.share * live(layer)))
            for layer in scene.layers
        ]
    return {
        layer.index: (gone, at_random(scene, layer, len(gone), gone))
        for layer, gone in zip(scene.layers, goes, strict=True)
    }


def dsr(scene, rule):
    """Everything below the threshold but one link a layer; the same number in proportion to what is left."""
    threshold = scene.memory.get("threshold", rule.threshold)
    goes = []
    for layer in scene.layers:
        mean = layer.magnitude() / layer.store.group
        below = [place for place in map(tuple, np.argwhere(layer.live)) if mean[place] < threshold]
        goes.append(smallest(scene, layer, mean, max(0, min(len(below), live(layer) - 1))))
    total = sum(map(len, goes))
    room = [empty(layer) for layer in scene.layers]
    if sum(room) < total:
        room = [r + len(gone) for r, gone in zip(room, goes, strict=True)]
    survivors = [live(layer) - len(gone) for layer, gone in zip(scene.layers, goes, strict=True)]
    return {
        layer.index: (gone, at_random(scene, layer, n, gone, returns=n > empty(layer)))
        for layer, gone, n in zip(scene.layers, goes, apportion(total, survivors, room), strict=True)
    }


def snfs(scene, rule):
    """Layers by the mean |momentum| of their links, places by the |gradient| summed over weighted batches."""
    means = []
    for layer in scene.layers:
        if "momentum" in layer.values:
            values = layer.values["momentum"].astype(float)
        elif "adam_m" in layer.values:
            values = layer.values["adam_m"] / (np.sqrt(layer.values["adam_v"].astype(float)) + 1e-8)
        else:
            values = layer.gradient()
        means.append(np.abs(values[layer.live]).sum() / layer.layer.nnz if live(layer) else 0.0)
    goes = []
    for layer, mean in zip(scene.layers, means, strict=True):
        rate, sparsity = scene.share, empty(layer) / layer.live.size
        if sparsity < 0.2 and mean * len(means) > sum(means):
            rate = min(rate, sparsity)
        goes.append(smallest(scene, layer, layer.magnitude(), math.ceil(rate * live(layer))))
    total = sum(map(len, goes))
    room = [empty(layer) + len(gone) for layer, gone in zip(scene.layers, goes, strict=True)]
    most = [math.floor(0.99 * r) for r in room]
    counts = apportion(total, means, most if sum(most) >= total else room)
    return {
        layer.index: by_gradient(scene, layer, gone, n)
        for layer, gone, n in zip(scene.layers, goes, counts, strict=True)
    }


def by_gradient(scene, layer, gone, count):
    """Who would go and come again was never away."""
    comes = largest(scene, layer, abs(layer.gradient()).sum(axis=2), count, emptied(layer, gone))
    return gone - comes, comes - gone


def cubic(rule, first, moment):
    """Zhu and Gupta's equation 1, for densities, and at the latest over before the last step."""
    begin, end = (math.ceil(steps_of(when, moment)) for when in (rule.cubic.begin, rule.cubic.end))
    end = min(end, moment.steps - 1)
    done = min(max((moment.step - begin) / (end - begin), 0), 1)
    return rule.cubic.final + (first - rule.cubic.final) * (1 - done) ** 3


def gradually(scene, rule):
    """What gradual pruning takes from each layer."""
    moment = scene.occasion.moment
    start = scene.memory.get("start") or {str(layer.index): live(layer) for layer in scene.layers}
    if rule.scope == "global":
        size, now = (sum(f(a) for a in scene.layers) for f in (lambda a: a.live.size, live))
        first = sum(start.values()) / size
        wanted = size * min(first, cubic(rule, first, moment))
        return smallest_of_all(scene, max(0, now - math.floor(wanted + 0.5)), keep=1)
    goes = []
    for layer in scene.layers:
        first = start[str(layer.index)] / layer.live.size
        kept = math.floor(layer.live.size * min(first, cubic(rule, first, moment)) + 0.5)
        goes.append(smallest(scene, layer, layer.magnitude(), max(0, live(layer) - max(kept, 1))))
    return goes


def gmp(scene, rule):
    goes = gradually(scene, rule)
    return {layer.index: (gone, set()) for layer, gone in zip(scene.layers, goes, strict=True)}


def granet(scene, rule):
    """After that a share of each layer's smallest links moves to where the gradient is largest."""
    found = {}
    for layer, gone in zip(scene.layers, gradually(scene, rule), strict=True):
        moves = math.ceil(scene.share * (live(layer) - len(gone)))
        gone = smallest(scene, layer, layer.magnitude(), len(gone) + moves)
        found[layer.index] = by_gradient(scene, layer, gone, moves)
    return found


def mest(scene, rule):
    """Down to the lower bound by importance, and up to the upper bound at random."""
    moment = scene.occasion.moment
    stage = sum(moment.step >= math.ceil(steps_of(end, moment)) for end in rule.stages.ends)
    budget = scene.memory.get("budget") or {str(layer.index): live(layer) for layer in scene.layers}
    found = {}
    for layer in scene.layers:
        kept, size = budget[str(layer.index)], layer.live.size
        moves = math.floor(rule.stages.shares[stage] * kept)
        lower, upper = (kept - moves, kept) if rule.mode == "em" else (kept, kept + moves)
        importance = layer.magnitude()
        if rule.gradient:
            importance = importance + rule.gradient * abs(layer.gradient()).sum(axis=2)
        goes = smallest(scene, layer, importance, max(0, live(layer) - lower))
        count = max(0, min(upper, size) - (live(layer) - len(goes)))
        found[layer.index] = goes, at_random(scene, layer, count, goes)
        if kept == size:
            found[layer.index] = set(), set()
    return found
