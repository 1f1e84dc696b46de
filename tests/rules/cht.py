"""CHT as anybody would write it first: whole matrices, one pair of nodes after another, by the definition."""

import math

import numpy as np

from rewire import _core
from rewire.rewiring.context import SOFT_DROP
from rules.budgets import comes_back, steps_of
from rules.scene import alike, largest, links_of, smallest, smallest_links


def cht(*, score="ch3", removal="magnitude", soft_removal=False, soft_growth=False, chains=True, overlap=0.9):
    """A slow version with these options."""
    stopped = set()

    def slow(scene):
        if scene.context.ordinal == 1:
            stopped.clear()
        assert set(scene.memory.get("stopped", ())) == stopped
        assert not stopped & {layer.name for layer in scene.layers}  # it plans for the others alone
        going = scene.layers
        removed = {layer.name: weakest(scene, layer, removal, soft_removal) for layer in going}
        if chains:
            remove_chains(scene.every_layer, removed)
        found = {layer.name: (set(), set()) for layer in scene.layers}
        for layer in going:
            drop = removed[layer.name]
            graph = layer.live.copy()
            for position in drop:
                graph[position] = False
            scores = np.zeros(graph.shape)
            for u, v in np.argwhere(~graph).tolist():
                scores[u, v] = path_score(graph, u, v, score)
                if soft_growth and scores[u, v] > 0:
                    scores[u, v] /= -math.log1p(-luck(scene, layer, u, v))
            grow = largest(scene, layer, scores, comes_back(scene, layer, drop), ~graph)
            if overlap is not None and len(drop & grow) > overlap * len(drop):
                stopped.add(layer.name)
            found[layer.name] = drop - grow, grow - drop  # who comes back was never away
        return found

    return slow


def chtss(scene, rule):
    """First down to the density of now by relative importance, then a part of what is left moves."""
    progress = scene.context.progress
    begin = math.ceil(steps_of(rule.begin, progress))
    end = steps_of(rule.end, progress)
    end = min(math.ceil(end), progress.steps - 1) if isinstance(rule.end, float) else end
    done = min(max((progress.step - begin) / (end - begin), 0.0), 1.0)
    x, low = 1 / (1 + math.exp(-6 * (2 * done - 1))), 1 / (1 + math.exp(6))
    risen = (x - low) / (1 - 2 * low)
    first = scene.memory.get("initial_links") or {layer.name: links_of(layer) for layer in scene.layers}
    found = {}
    for layer in scene.layers:
        size, each = layer.store.n_out * layer.store.n_in, alike(layer) or 1
        start = first[layer.name] / size
        density = min(start, start + (rule.density - start) * risen)
        kept = math.floor(size // each * density + 0.5) * each
        pruned = smallest_links(scene, layer, importance(layer), max(0, links_of(layer) - kept))
        rest = layer.live.copy()
        for position in pruned:
            rest[position] = False
        count = math.floor(scene.fraction * rest.sum())
        moved = smallest(scene, layer, softened(scene, layer, rule.removal, rule.temperature), count, rest)
        graph = rest.copy()
        for position in moved:
            graph[position] = False
        links = links_of(layer, moved) + (0 if pruned else scene.owed(layer))
        grow = (
            largest(scene, layer, chances(scene, layer, graph, rule.score), links, ~graph) if moved else set()
        )
        drop = pruned | moved
        found[layer.name] = drop - grow, grow - drop
    return found


def chances(scene, layer, graph, score):
    """By which positions grow: the score over an exponential draw."""
    scores = np.zeros(graph.shape)
    for u, v in np.argwhere(~graph).tolist():
        scores[u, v] = path_score(graph, u, v, score)
        if scores[u, v] > 0:
            scores[u, v] /= -math.log1p(-luck(scene, layer, u, v))
    return scores


def importance(layer):
    """|w| over the sums of its source and of its neuron, of all rows of a position."""
    w = np.abs(layer.weight.astype(np.float64))
    found = np.zeros(layer.live.shape)
    for g, j in np.argwhere(layer.live).tolist():
        for x, row in zip(w[g, j], w[g].T, strict=True):
            if x > 0:
                found[g, j] += x / w[:, j].sum() + x / row.sum()
    return found


def softened(scene, layer, removal, ends):
    """Strength ** T over an exponential draw."""
    strength = importance(layer) if removal == "importance" else layer.magnitude()
    positions, progress = np.argwhere(layer.live), scene.context.progress
    draws = scene.context.generator(layer.layer, SOFT_DROP).standard_exponential(len(positions))
    temperature = ends[0] + (ends[1] - ends[0]) * progress.step / progress.steps
    most = strength[layer.live].max()
    for (g, j), e in zip(positions.tolist(), draws, strict=True):
        strength[g, j] = (strength[g, j] / most) ** temperature / e
    return strength


def weakest(scene, layer, removal, soft):
    """floor(fraction * n) links that go."""
    w = np.abs(layer.weight.astype(np.float64))  # (groups, n_in, group)
    strength = w.sum(axis=2)
    if removal == "importance":
        strength = np.zeros(layer.live.shape)
        for g, j in np.argwhere(layer.live).tolist():
            for x, row in zip(w[g, j], w[g].T, strict=True):
                if x > 0:
                    strength[g, j] += x / w[:, j].sum() + x / row.sum()
    if soft:
        positions = np.argwhere(layer.live)
        draws = scene.context.generator(layer.layer, SOFT_DROP).standard_exponential(len(positions))
        temperature = 1 + 2 * scene.context.progress.step / scene.context.progress.steps
        most = strength[layer.live].max()
        for (g, j), e in zip(positions.tolist(), draws, strict=True):
            strength[g, j] = (strength[g, j] / most) ** temperature / e
    return smallest(scene, layer, strength, math.floor(scene.fraction * layer.live.sum()))


def remove_chains(layers, removed):
    """Sweep over all layers until no link hangs loose."""
    live = [layer.live.copy() for layer in layers]
    for layer, links in zip(layers, live, strict=True):
        for position in removed.get(layer.name, ()):
            links[position] = False
    changed = True
    while changed:
        changed = False
        for i, layer in enumerate(layers):
            for g, j in np.argwhere(live[i]).tolist():
                rows = range(g * layer.layer.group, min((g + 1) * layer.layer.group, layer.layer.n_out))
                dead_end = i + 1 < len(layers) and not any(live[i + 1][:, r].any() for r in rows)
                dead_start = i > 0 and not live[i - 1][j // layers[i - 1].layer.group].any()
                if (dead_end or dead_start) and layer.name in removed:
                    live[i][g, j] = False
                    removed[layer.name].add((g, j))
                    changed = True


def path_score(graph, u, v, score):
    """CH3-L3p or CH2-L3p of a pair that is not connected: group u and source v."""
    paths = [(a, b) for a in np.flatnonzero(graph[u]) for b in np.flatnonzero(graph[:, a]) if graph[b, v]]
    sources, groups = {a for a, _ in paths}, {b for _, b in paths}

    def gives(neighbours, community, end):
        internal = sum(x in community for x in neighbours)
        external = sum(x not in community and x != end for x in neighbours)
        return (math.sqrt(1 + internal) if score == "ch2" else 1) * (1 / math.sqrt(1 + external))

    total = 0.0
    for a in sorted(sources):
        inner = sum(
            gives(np.flatnonzero(graph[b]).tolist(), sources, v)
            for b in sorted(b for x, b in paths if x == a)
        )
        total += inner * gives(np.flatnonzero(graph[:, a]).tolist(), groups, u)
    return total


def luck(scene, layer, group, source):
    """The number in [0, 1) that a position draws."""
    seed, stream, step = scene.context.key(layer.layer)
    return (_core.philox((seed, stream), (source, group, step, 8))[0] >> 11) * 2.0**-53  # 8: RW_DRAW_SAMPLE
