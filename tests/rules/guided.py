"""Rules that choose candidates, neurons or a start by gradient, written slowly."""

import math

import numpy as np

from rewire import _core
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
    found = {}
    for layer in scene.layers:
        gone, empty = goes[layer.index], int((~layer.live).sum())
        if len(gone) > empty:
            gone = smallest(scene, layer, layer.magnitude(), empty)
        score = abs(layer.gradient()).sum(axis=2)
        if 2 * layer.live.sum() > layer.live.size:
            found[layer.index] = gone, largest(scene, layer, score, len(gone), ~layer.live)
            continue
        drawn = {p for p in draws(scene, layer, rule) if not layer.live[p]}
        best = sorted(drawn, key=lambda p: (-score[p], p))[: len(gone)]
        found[layer.index] = gone, set(best) | filled(scene, layer, best, len(gone) - len(best))
    return found


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
        chosen = []
        for i, often in enumerate(rng.multinomial(count, np.array(chances) / sum(chances))):
            chosen += [i] * often
        return chosen

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
