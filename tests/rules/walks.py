"""Rules that do something after every step, written slowly."""

import math

import numpy as np

from rewire import _core
from rewire.rewiring.context import DORMANT_LINKS
from rules.budgets import comes_back
from rules.scene import alike, at_random, drawn, links_of, smallest, smallest_links

VALUE = 3  # RW_DRAW_VALUE


def deviation(rule, lr):
    return lr * rule.noise if rule.temperature is None else (2 * lr * rule.temperature) ** 0.5


def walk(layer, progress, rule, seed):
    """L1 and noise on every theta > 0; what is not above zero, before or after, rests at zero."""
    weight, sign = layer.weight.copy(), layer.values["sign"].copy()
    group = layer.store.group
    for g in range(layer.store.n_groups):
        sources = np.flatnonzero(layer.live[g])
        noise = _core.normals(len(sources) * group, seed, layer.layer.stream, progress.step, g).astype(float)
        for k, j in enumerate(sources):
            for r in range(group):
                if sign[g, j, r] == 0:
                    sign[g, j, r] = 2 if weight[g, j, r] < 0 else 1
                s = {1: 1.0, 2: -1.0}[sign[g, j, r]]
                theta = s * weight[g, j, r]
                if theta > 0:
                    theta = (
                        theta - progress.lr * rule.l1 + deviation(rule, progress.lr) * noise[k * group + r]
                    )
                weight[g, j, r] = s * theta if theta > 0 else 0.0
    return {"weight": weight, "sign": sign}


def draws(scene, layer, position):
    """The words that name the weights of a new link, row by row; rows that are not there are left out."""
    seed, stream, step = scene.context.key(layer.layer)
    g, j = position
    for r in range(layer.store.group):
        row = g * layer.store.group + r
        if row < layer.store.n_out:
            yield r, _core.philox((seed, stream), (j, row, step, VALUE))


def at_zero(layer):
    return {(g, j) for g, j in np.argwhere(layer.live).tolist() if not layer.weight[g, j].any()}


def signed(layer, drop, weights):
    """The field of signs once the new links are there, each with the sign of its weight."""
    sign = layer.values["sign"].copy()
    for position in drop:
        sign[position] = 0
    for position, weight in weights.items():
        sign[position] = np.where(weight > 0, 1, np.where(weight < 0, 2, 0))
    return {"sign": sign}


def deepr(scene):
    found = {}
    for layer in scene.layers:
        drop = at_zero(layer)
        grow = at_random(scene, layer, comes_back(scene, layer, drop), drop)
        weights = {position: np.zeros(layer.store.group) for position in grow}
        for position, weight in weights.items():
            for r, words in draws(scene, layer, position):
                weight[r] = 1e-12 if words[0] >= 2**63 else -1e-12
        found[layer.name] = drop, grow, weights, signed(layer, drop, weights)
    return found


def upper_tail(x):
    return 0.5 * math.erfc(x / math.sqrt(2))


def crossing_chance(rule, p, lr):
    """The chance of a theta in [-d, 0] to be above zero after a step, by Simpson's rule over theta."""
    sigma = deviation(rule, lr)
    beta = 2 * lr * rule.l1 / sigma**2
    d = (1 - p) / (p * beta)
    if d == 0:
        return 0.5
    depth = np.linspace(0.0, min(d, 12 * sigma), 4001)
    values = np.array([upper_tail(x / sigma) for x in depth])
    weights = np.array([1, *[4, 2] * 1999, 4, 1]) * (depth[1] / 3)
    return float(weights @ values) / d


def soft_deepr(scene, rule):
    found, progress = {}, scene.context.progress
    first = {a.name: a.live.mean() for a in scene.layers}
    chances = scene.context.generator(scene.layers[0].layer, DORMANT_LINKS)
    for layer in scene.layers:
        drop = at_zero(layer)
        initial = scene.memory.get("initial_density", first)
        p = initial[layer.name] if rule.density is None else rule.density
        steps = progress.step - scene.memory.get("step", 0)
        chance = 1 - (1 - crossing_chance(rule, p, progress.lr)) ** steps
        count = chances.binomial(int((~layer.live).sum()), chance)
        grow = drawn(scene, layer, count, drop, refill=False)
        weights = {position: np.zeros(layer.store.group) for position in grow}
        for position, weight in weights.items():
            for r, words in draws(scene, layer, position):
                radius, part = [(word >> 11) / 2**53 for word in words[:2]]
                size = deviation(rule, progress.lr) * math.sqrt(-2 * math.log(1 - radius)) * (1 - part)
                weight[r] = size if words[2] >= 2**63 else -size
        found[layer.name] = drop, grow, weights, signed(layer, drop, weights)
    return found


def top_kast(scene, rule):
    """A: the largest of B. Of the others some go, as many come; or, at the end, all go."""
    found, progress = {}, scene.context.progress
    end = math.ceil(rule.end * progress.steps) if isinstance(rule.end, float) else rule.end
    for layer in scene.layers:
        n, empty, each = links_of(layer), int((~layer.live).sum()), alike(layer) or 1
        budget = scene.memory.get("links", {}).get(layer.name, n)
        outside = n - max(1, math.floor(rule.forward_fraction * (budget // each) + 0.5)) * each
        theta = layer.values["theta"]
        score = np.abs(theta).sum(axis=2)
        others = smallest_links(scene, layer, score, max(0, outside))
        if len(others) == layer.live.sum():
            others = smallest(scene, layer, score, len(others) - 1)
        drop, grow = set(), set()
        if progress.step >= end:
            drop = others
        elif scene.memory:
            drop = smallest(scene, layer, score, min(math.floor(rule.fraction * len(others)), empty))
            grow = at_random(scene, layer, budget - (n - links_of(layer, drop)), drop)
        fields = {name: np.zeros_like(layer.values[name]) for name in ("weight", "theta", "mask")}
        for position in map(tuple, np.argwhere(layer.live).tolist()):
            if position not in drop:
                fields["theta"][position] = theta[position]
            if position not in others:
                fields["weight"][position] = theta[position]
                fields["mask"][position] = 1
        found[layer.name] = drop, grow, {}, fields
    return found


def masked(layer, progress, rule, seed):
    """The exploration loss; then set A has its theta as weights, and the others have none."""
    n, size = layer.live.sum(), layer.live.size
    theta = layer.values["theta"]
    forward = layer.values["mask"].astype(bool)
    rate = np.where(
        forward, progress.lr * rule.penalty, progress.lr * rule.penalty / (rule.forward_fraction * n / size)
    )
    if rule.norm == "l2":
        theta = theta - theta * rate
    else:
        theta = np.sign(theta) * np.maximum(np.abs(theta) - rate, 0)
    return {"weight": np.where(forward, theta, 0), "theta": theta}
