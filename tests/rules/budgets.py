"""Rules about how many links there are and in which layers, written slowly.

Each function takes a scene and the rule (for its options alone) and says, layer by layer, what goes and what
comes. Budgets are split with exact fractions, one slot after the other where that is plainer.
"""

import itertools
import math
from fractions import Fraction

import numpy as np

import rewire as rw
from rewire.rewiring.context import REBALANCE
from rules.scene import (
    alike,
    at_random,
    empty_links,
    largest,
    links_of,
    smallest,
    smallest_links,
    width,
)


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


def emptied(layer, drop):
    """The positions that are empty once these links are removed."""
    among = ~layer.live
    for position in drop:
        among[position] = True
    return among


def shared(layers, total, shares, most):
    """The same of links, in whole slots where those of all layers are alike."""
    each = alike(*layers) or 1
    most = [m // each for m in most]
    return [n * each for n in apportion(min(total // each, sum(most)), shares, most)]


def rebalance(scene, found):
    """As many links come as go, over all layers: the fewest slots are taken back, tried one by one."""
    drop = [(a, p) for a in scene.layers for p in sorted(found[a.name][0])]
    grow = [(a, p) for a in scene.layers for p in sorted(found[a.name][1])]
    missing = sum(links_of(a, found[a.name][0]) - links_of(a, found[a.name][1]) + scene.owed(a)
                  for a in scene.layers)  # fmt: skip
    if not missing:
        return found
    drop = [(a, p) for a, p in drop if p not in found[a.name][1]]
    sizes = sorted({width(a, p[0]) for a, p in drop + grow})
    stay = [[(a, p) for a, p in drop if width(a, p[0]) == size] for size in sizes]
    away = [[(a, p) for a, p in grow if width(a, p[0]) == size] for size in sizes]
    tried = [range(-min(12, len(b)), min(12, len(a)) + 1) for a, b in zip(stay, away, strict=True)]
    fits = [
        counts for counts in itertools.product(*tried)
        if sum(n * size for n, size in zip(counts, sizes, strict=True)) == missing
    ]  # fmt: skip
    best = min(fits, key=lambda counts: (sum(map(abs, counts)), counts))
    rng = scene.context.generator(scene.layers[0].layer, REBALANCE)
    stays, absent = set(), set()
    for n, olds, news in zip(best, stay, away, strict=True):
        olds = sorted(olds, key=lambda one: -one[0].magnitude()[one[1]])
        stays |= {(a.name, p) for a, p in olds[: max(n, 0)]}
        if n < 0:
            absent |= {(news[i][0].name, news[i][1]) for i in rng.permutation(len(news))[:-n]}
    return {
        name: (
            {p for p in out if (name, p) not in stays}, {p for p in new if (name, p) not in absent}
        )
        for name, (out, new) in found.items()
    }  # fmt: skip


def comes_back(scene, layer, removed):
    """As many links as went, and those that are owed."""
    return min(links_of(layer, removed) + scene.owed(layer), links_of(layer, removed) + empty_links(layer))


def steps_of(when, progress):
    return when * progress.steps if isinstance(when, float) else when


def smallest_of_all(scene, total, scores=None, links=None, keep=None):
    """The ``total`` smallest slots of all layers, or so many ``links``, one by one; ``keep`` of each stay."""
    scores = [layer.magnitude() for layer in scene.layers] if scores is None else scores
    order = sorted(
        (scores[i][g, j], i, scene.tie(layer, g, j), g, j)
        for i, layer in enumerate(scene.layers)
        for g, j in np.argwhere(layer.live).tolist()
    )
    drop = [set() for _ in scene.layers]
    for _, i, _, g, j in order:
        layer = scene.layers[i]
        if keep is not None and live(layer) - len(drop[i]) <= keep[i]:
            continue
        total, links = total - 1, None if links is None else links - width(layer, g)
        if total < 0 or (links is not None and links < 0):
            break
        drop[i].add((g, j))
    return drop


def magnitude(scene, rule):
    if rule.scope == "global":
        total = math.floor(scene.fraction * sum(live(layer) for layer in scene.layers))
        drop = smallest_of_all(scene, total)
    else:
        drop = [
            smallest(scene, layer, layer.magnitude(), math.floor(scene.fraction * live(layer)))
            for layer in scene.layers
        ]
    return {
        layer.name: (removed, at_random(scene, layer, comes_back(scene, layer, removed), removed))
        for layer, removed in zip(scene.layers, drop, strict=True)
    }


def dsr(scene, rule):
    """Everything below the threshold but one slot a layer; as many links in proportion to what is left."""
    threshold = scene.memory.get("threshold", rule.threshold)
    drop = []
    for layer in scene.layers:
        mean = layer.magnitude() / layer.store.group
        below = [position for position in map(tuple, np.argwhere(layer.live)) if mean[position] < threshold]
        drop.append(smallest(scene, layer, mean, max(0, min(len(below), live(layer) - 1))))
    lost = [links_of(layer, removed) for layer, removed in zip(scene.layers, drop, strict=True)]
    total = sum(lost) + sum(scene.owed(layer) for layer in scene.layers)
    room = [empty_links(layer) for layer in scene.layers]
    if sum(room) < total:
        room = [r + n for r, n in zip(room, lost, strict=True)]
    survivors = [links_of(layer) - n for layer, n in zip(scene.layers, lost, strict=True)]
    counts = shared(scene.layers, total, survivors, room)
    return rebalance(scene, {
        layer.name: (removed, at_random(scene, layer, n, removed, refill=n > empty_links(layer)))
        for layer, removed, n in zip(scene.layers, drop, counts, strict=True)
    })  # fmt: skip


def snfs(scene, rule):
    """Layers by the mean |momentum| of their links, positions by the |gradient| over weighted batches."""
    means = []
    for layer in scene.layers:
        if "momentum" in layer.values:
            values = layer.values["momentum"].astype(float)
        elif "adam_m" in layer.values:
            values = layer.values["adam_m"] / (np.sqrt(layer.values["adam_v"].astype(float)) + 1e-8)
        else:
            values = layer.gradient()
        means.append(np.abs(values[layer.live]).sum() / layer.layer.nnz if live(layer) else 0.0)
    drop = []
    for layer, mean in zip(scene.layers, means, strict=True):
        rate, sparsity = scene.fraction, empty(layer) / layer.live.size
        if sparsity < 0.2 and mean * len(means) > sum(means):
            rate = min(rate, sparsity)
        count = max(0, min(math.ceil(rate * live(layer)), live(layer) - 1))  # one stays
        drop.append(smallest(scene, layer, layer.magnitude(), count))
    lost = [links_of(layer, removed) for layer, removed in zip(scene.layers, drop, strict=True)]
    total = sum(lost) + sum(scene.owed(layer) for layer in scene.layers)
    room = [empty_links(layer) + n for layer, n in zip(scene.layers, lost, strict=True)]
    each = alike(*scene.layers) or 1
    most = [math.floor(0.99 * (r // each)) * each for r in room]
    counts = shared(scene.layers, total, means, most if sum(most) >= total else room)
    return rebalance(scene, {
        layer.name: by_gradient(scene, layer, removed, n)
        for layer, removed, n in zip(scene.layers, drop, counts, strict=True)
    })  # fmt: skip


def by_gradient(scene, layer, removed, links):
    """Who would go and come again was never away."""
    grow = largest(scene, layer, abs(layer.gradient()).sum(axis=2), links, emptied(layer, removed))
    return removed - grow, grow - removed


def cubic(rule, first, progress):
    """Zhu and Gupta's equation 1, for densities, and at the latest over before the last step."""
    begin, end = (math.ceil(steps_of(when, progress)) for when in (rule.cubic.begin, rule.cubic.end))
    end = min(end, progress.steps - 1)
    done = min(max((progress.step - begin) / (end - begin), 0), 1)
    return rule.cubic.final + (first - rule.cubic.final) * (1 - done) ** 3


def kept(rule, first, size, each, progress):
    """Links that stay, of ``size`` positions for links: whole slots where these are alike."""
    each = each or 1
    return math.floor(size // each * min(first / size, cubic(rule, first / size, progress)) + 0.5) * each


def reserves(scene, rule):
    """What stays of each layer whatever its scores."""
    shapes = [(layer.store.n_in, layer.store.n_groups) for layer in scene.layers]
    return [max(1, math.floor(rule.reserve * n)) for n in rw.link_counts.erk_links(shapes, rule.density)]


def gradually(scene, rule):
    """What gradual pruning takes from each layer."""
    progress = scene.context.progress
    start = scene.memory.get("initial_links") or {layer.name: links_of(layer) for layer in scene.layers}
    sizes = [layer.store.n_out * layer.store.n_in for layer in scene.layers]
    if rule.scope == "global":
        now = sum(map(links_of, scene.layers))
        wanted = kept(rule, sum(start.values()), sum(sizes), alike(*scene.layers), progress)
        return smallest_of_all(scene, 10**9, links=max(0, now - wanted), keep=reserves(scene, rule))
    drop = []
    for layer, size in zip(scene.layers, sizes, strict=True):
        wanted = kept(rule, start[layer.name], size, alike(layer), progress)
        magnitudes = layer.magnitude()
        removed = smallest_links(scene, layer, magnitudes, max(0, links_of(layer) - wanted))
        drop.append(smallest(scene, layer, magnitudes, min(len(removed), live(layer) - 1)))
    return drop


def gmp(scene, rule):
    drop = gradually(scene, rule)
    return {layer.name: (removed, set()) for layer, removed in zip(scene.layers, drop, strict=True)}


def granet(scene, rule):
    """After that a fraction of each layer's smallest links moves to where the gradient is largest."""
    found = {}
    for layer, pruned in zip(scene.layers, gradually(scene, rule), strict=True):
        moves = math.ceil(scene.fraction * (live(layer) - len(pruned)))
        removed = smallest(scene, layer, layer.magnitude(), len(pruned) + moves)
        links = links_of(layer, removed - pruned) + (0 if pruned else scene.owed(layer))
        found[layer.name] = by_gradient(scene, layer, removed, links)
    return found


def mest(scene, rule):
    """Down to the lower bound by importance, and up to the upper bound at random."""
    progress = scene.context.progress
    stage = sum(progress.step >= math.ceil(steps_of(end, progress)) for end in rule.stages.ends)
    budget = scene.memory.get("budget") or {layer.name: links_of(layer) for layer in scene.layers}
    found = {}
    for layer in scene.layers:
        full, each = layer.store.n_out * layer.store.n_in, alike(layer) or 1
        wanted = budget[layer.name]
        moves = math.floor(rule.stages.fractions[stage] * (wanted // each)) * each
        lower, upper = (wanted - moves, wanted) if rule.mode == "em" else (wanted, wanted + moves)
        importance = layer.magnitude()
        if rule.gradient:
            importance = importance + rule.gradient * abs(layer.gradient()).sum(axis=2)
        drop = smallest_links(scene, layer, importance, max(0, links_of(layer) - lower))
        links = max(0, min(upper, full) - (links_of(layer) - links_of(layer, drop)))
        found[layer.name] = drop, at_random(scene, layer, links, drop)
        if wanted == full:
            found[layer.name] = set(), set()
    return found
