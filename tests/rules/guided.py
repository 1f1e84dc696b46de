"""Rules that choose candidates, neurons or a start by gradient, written slowly."""

import math
from bisect import bisect_right
from itertools import accumulate

import numpy as np

from rewire import _core
from rewire.rewiring.spread import split  # test_budgets.py tests it
from rules.budgets import by_gradient, smallest_of_all
from rules.scene import at_random, largest, smallest


def itop(scene, rule):
    found = {}
    for layer in scene.layers:
        goes = smallest(scene, layer, layer.magnitude(), math.floor(scene.share * layer.live.sum()))
        if rule.mode == "set":
            found[layer.index] = goes, at_random(scene, layer, len(goes), goes)
        else:
            found[layer.index] = by_gradient(scene, layer, goes, len(goes))
    return found


def snip(scene, rule):
    """All but the largest |gradient * weight| go."""
    scores = {a.index: abs(a.gradient() * a.weight).sum(axis=2) for a in scene.layers}
    size = sum(a.live.size for a in scene.layers)
    order = sorted(
        (scores[a.index][place], i, scene.tie(a, *place), place)
        for i, a in enumerate(scene.layers)
        for place in map(tuple, np.argwhere(a.live).tolist())
    )
    goes = {a.index: set() for a in scene.layers}
    total = len(order) - math.floor(rule.density * size + 0.5)
    for _, i, _, place in order:
        layer = scene.layers[i]
        if sum(map(len, goes.values())) < total and len(goes[layer.index]) < layer.live.sum() - 1:
            goes[layer.index].add(place)
    return {index: (gone, set()) for index, gone in goes.items()}


def gse(scene, rule):
    """Draw pairs one by one; what is new and empty competes by its gradient."""
    if rule.scope == "global":
        goes = smallest_of_all(scene, math.floor(scene.share * sum(a.live.sum() for a in scene.layers)))
    else:
        goes = {
            a.index: smallest(scene, a, a.magnitude(), math.floor(scene.share * a.live.sum()))
            for a in scene.layers
        }
    gone, looked = {}, {}
    for layer in scene.layers:
        empty = int((~layer.live).sum())
        gone[layer.index] = goes[layer.index]
        if len(gone[layer.index]) > empty:
            gone[layer.index] = smallest(scene, layer, layer.magnitude(), empty)
        score = abs(layer.gradient()).sum(axis=2)
        drawn = draws(scene, layer, rule)
        if 2 * layer.live.sum() > layer.live.size:
            drawn = set(np.ndindex(layer.live.shape))
        looked[layer.index] = [(-score[p], p) for p in sorted(drawn) if not layer.live[p]]
    counts = {a.index: len(gone[a.index]) for a in scene.layers}
    if rule.scope == "global":
        ranked = sorted((s, i, p) for i, those in looked.items() for s, p in those)[: sum(counts.values())]
        best = {a.index: [p for _, i, p in ranked if i == a.index] for a in scene.layers}
        room = [int((~a.live).sum()) - len(best[a.index]) for a in scene.layers]
        more = split(sum(counts.values()) - len(ranked), list(counts.values()), room)
        counts = {a.index: len(best[a.index]) + n for a, n in zip(scene.layers, more, strict=True)}
    else:
        best = {i: [p for _, p in sorted(those)[: counts[i]]] for i, those in looked.items()}
    return {
        a.index: (gone[a.index], set(best[a.index])
                  | filled(scene, a, best[a.index], counts[a.index] - len(best[a.index])))
        for a in scene.layers
    }  # fmt: skip


def draws(scene, layer, rule):
    """The pairs that are drawn."""
    groups, n_in = layer.live.shape
    rng = scene.occasion.generator(layer.layer, "candidates")
    count = math.ceil(rule.gamma * layer.live.sum())
    if rule.candidates == "uniform":
        at = rng.integers(groups, size=count)
        return set(zip(at.tolist(), rng.integers(n_in, size=count).tolist(), strict=True))
    if rule.candidates == "graest":
        sign = rng.integers(0, 2, size=len(layer.x)) * 2.0 - 1.0
        left, right = abs(sign @ layer.x), abs(sign @ layer.dz)
    else:
        left, right = abs(layer.x).sum(axis=0), abs(layer.dz).sum(axis=0)
    width = layer.store.group
    right = [sum(right[g * width : (g + 1) * width]) for g in range(groups)]

    def pick(chances):
        ends = list(accumulate(chances))
        return sorted(bisect_right(ends, u * ends[-1]) for u in rng.random(count))

    groups = pick(right)  # in order, and sources in any order: pairs are independent
    return set(zip(groups, rng.permutation(pick(left)).tolist(), strict=True))


def filled(scene, layer, best, count):
    """Others at random outside what is connected and what was chosen."""
    if count == 0:
        return set()
    grown = layer.store.clone()
    chosen = np.array(sorted(best), np.int32).reshape(-1, 2)
    plan = _core.Plan(grown)
    plan.insert(chosen[:, 0].copy(), chosen[:, 1].copy())
    _core.commit([plan])
    plan = _core.Plan(grown)
    plan.grow_random(count, *scene.occasion.key(layer.layer), 1)
    return set(zip(*(a.tolist() for a in plan.inserted()), strict=True))


def srigl(scene, rule):
    """RigL says what is salient; then every neuron that stays keeps its largest and grows to one fan-in."""
    found = {}
    for layer in scene.layers:
        live, n_in = layer.live, layer.live.shape[1]
        total, groups = int(live.sum()), range(len(live))
        size, score = layer.magnitude(), abs(layer.gradient()).sum(axis=2)
        gone = smallest(scene, layer, size, math.floor(scene.share * total))
        empty = ~live
        for place in gone:
            empty[place] = True
        grown = largest(scene, layer, score, len(gone), empty)
        salient = {g: sum(1 for j in np.flatnonzero(live[g]) if (g, j) not in gone) for g in groups}
        for g, _ in grown:
            salient[g] += 1
        active = [g for g in groups if live[g].any()]
        least = 0 if layer.layer is scene.occasion.network.layers[-1] else rule.salient
        weak = sorted(
            (g for g in active if salient[g] < least * total / len(active)), key=lambda g: salient[g]
        )
        weak = weak[: len(active) - max(1, math.ceil(total / n_in))]
        stay = [g for g in active if g not in weak]
        goes, comes = set(), set()
        for g in active:
            wanted = 0 if g in weak else total // len(stay) + (stay.index(g) < total % len(stay))
            kept = [j for j in np.flatnonzero(live[g]).tolist() if (g, j) not in gone]
            kept = sorted(kept, key=lambda j: (-size[g, j], j))[:wanted]
            goes |= {(g, j) for j in np.flatnonzero(live[g]).tolist() if j not in kept}
            free = np.zeros_like(live)
            free[g] = [j not in kept for j in range(n_in)]
            comes |= largest(scene, layer, score, wanted - len(kept), free)
        found[layer.index] = goes - comes, comes - goes
    return found
