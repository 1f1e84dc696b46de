"""Rules that choose candidates, neurons or a start by gradient, written slowly."""

import math
from bisect import bisect_right
from itertools import accumulate

import numpy as np

from rewire import _core
from rewire.rewiring.context import CANDIDATES, WHOLE_SLOTS
from rules.budgets import by_gradient, comes_back, rebalance, reserves, shared, smallest_of_all
from rules.scene import alike, at_random, empty_links, largest, links_of, smallest, until, width


def itop(scene, rule):
    found = {}
    for layer in scene.layers:
        drop = smallest(scene, layer, layer.magnitude(), math.floor(scene.fraction * layer.live.sum()))
        if rule.mode == "set":
            found[layer.name] = drop, at_random(scene, layer, comes_back(scene, layer, drop), drop)
        else:
            found[layer.name] = by_gradient(scene, layer, drop, comes_back(scene, layer, drop))
    return found


def snip(scene, rule):
    """All but the largest |gradient * weight| go."""
    scores = [abs(a.gradient() * a.weight).sum(axis=2) for a in scene.layers]
    each = alike(*scene.layers) or 1
    size = sum(a.store.n_out * a.store.n_in for a in scene.layers) // each
    surplus = sum(map(links_of, scene.layers)) - math.floor(rule.density * size + 0.5) * each
    drop = smallest_of_all(scene, 10**9, scores, surplus, reserves(scene, rule))
    return {a.name: (removed, set()) for a, removed in zip(scene.layers, drop, strict=True)}


def gse(scene, rule):
    """Draw pairs one by one; what is new and empty competes by its gradient."""
    if rule.scope == "global":
        found = smallest_of_all(scene, math.floor(scene.fraction * sum(a.live.sum() for a in scene.layers)))
        drop = {a.name: positions for a, positions in zip(scene.layers, found, strict=True)}
    else:
        drop = {
            a.name: smallest(scene, a, a.magnitude(), math.floor(scene.fraction * a.live.sum()))
            for a in scene.layers
        }
    removed, looked = {}, {}
    for layer in scene.layers:
        empty = int((~layer.live).sum())
        removed[layer.name] = drop[layer.name]
        if len(removed[layer.name]) > empty:
            removed[layer.name] = smallest(scene, layer, layer.magnitude(), empty)
        score = abs(layer.gradient()).sum(axis=2)
        drawn = draws(scene, layer, rule)
        if 2 * layer.live.sum() > layer.live.size:
            drawn = set(np.ndindex(layer.live.shape))
        looked[layer.name] = [(-score[p], p) for p in sorted(drawn) if not layer.live[p]]
    lost = [links_of(a, removed[a.name]) for a in scene.layers]
    if rule.scope == "global":
        total = sum(lost) + sum(map(scene.owed, scene.layers))
        by_name = {a.name: a for a in scene.layers}
        best, left = {i: [] for i in by_name}, total
        for _, i, p in sorted((s, i, p) for i, those in looked.items() for s, p in those):
            left -= width(by_name[i], p[0])
            if left < 0:
                break
            best[i].append(p)
        took = [links_of(a, best[a.name]) for a in scene.layers]
        room = [empty_links(a) - n for a, n in zip(scene.layers, took, strict=True)]
        more = shared(scene.layers, total - sum(took), lost, room)
    else:
        wanted = [min(comes_back(scene, a, removed[a.name]), empty_links(a)) for a in scene.layers]
        best = {
            a.name: until(a, [p for _, p in sorted(looked[a.name])], n)
            for a, n in zip(scene.layers, wanted, strict=True)
        }
        more = [n - links_of(a, best[a.name]) for a, n in zip(scene.layers, wanted, strict=True)]
    found = {
        a.name: (removed[a.name], set(best[a.name]) | filled(scene, a, best[a.name], n))
        for a, n in zip(scene.layers, more, strict=True)
    }
    return rebalance(scene, found) if rule.scope == "global" else found


def draws(scene, layer, rule):
    """The pairs that are drawn."""
    groups, n_in = layer.live.shape
    rng = scene.context.generator(layer.layer, CANDIDATES)
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


def filled(scene, layer, best, links):
    """Others at random outside what is connected and what was chosen."""
    each = alike(layer)
    room = int((~layer.live).sum()) - len(best)
    count = links // each if each else min(-(-links // width(layer, layer.store.n_groups - 1)), room)
    if count == 0:
        return set()
    grown = layer.store.clone()
    chosen = np.array(sorted(best), np.int32).reshape(-1, 2)
    plan = _core.Plan(grown)
    plan.insert(chosen[:, 0].copy(), chosen[:, 1].copy())
    _core.commit([plan])
    plan = _core.Plan(grown)
    plan.grow_random(count, *scene.context.key(layer.layer), 1)
    positions = list(zip(*(a.tolist() for a in plan.inserted()), strict=True))
    if not each:
        order = scene.context.generator(layer.layer, WHOLE_SLOTS).permutation(count)
        positions = until(layer, [positions[i] for i in order], links)
    return set(positions)


def srigl(scene, rule):
    """RigL says what is salient; then every neuron that stays keeps its largest and grows to one fan-in."""
    found = {}
    for layer in scene.layers:
        live, n_in = layer.live, layer.live.shape[1]
        total, groups = int(live.sum()), range(len(live))
        size, score = layer.magnitude(), abs(layer.gradient()).sum(axis=2)
        removed = smallest(scene, layer, size, math.floor(scene.fraction * total))
        empty = ~live
        for position in removed:
            empty[position] = True
        order = sorted((-score[p], -scene.tie(layer, *p), p) for p in map(tuple, np.argwhere(empty).tolist()))
        grown = {p for _, _, p in order[: len(removed)]}
        salient = {g: sum(1 for j in np.flatnonzero(live[g]) if (g, j) not in removed) for g in groups}
        for g, _ in grown:
            salient[g] += 1
        active = [g for g in groups if live[g].any()]
        least = 0 if layer.layer.owner is scene.context.network.layers[-1] else rule.salient
        weak = sorted(
            (g for g in active if salient[g] < least * total / len(active)), key=lambda g: salient[g]
        )
        rows = {g: width(layer, g) for g in groups}
        links = links_of(layer) + scene.owed(layer)
        while weak and n_in * sum(rows[g] for g in active if g not in weak) < links:
            weak = weak[:-1]  # no more go than leave room
        stay = [g for g in active if g not in weak]
        fan_in = {g: links // sum(rows[h] for h in stay) if g in stay else 0 for g in groups}
        rest = links - sum(fan_in[g] * rows[g] for g in groups)
        for g in stay:
            rest -= rows[g]
            if rest < 0:
                break
            fan_in[g] += 1
        drop, grow = set(), set()
        for g in active:
            wanted = min(fan_in[g], n_in)
            kept = [j for j in np.flatnonzero(live[g]).tolist() if (g, j) not in removed]
            kept = sorted(kept, key=lambda j: (-size[g, j], j))[:wanted]
            drop |= {(g, j) for j in np.flatnonzero(live[g]).tolist() if j not in kept}
            free = np.zeros_like(live)
            free[g] = [j not in kept for j in range(n_in)]
            grow |= largest(scene, layer, score, (wanted - len(kept)) * rows[g], free)
        found[layer.name] = drop - grow, grow - drop
    return found
