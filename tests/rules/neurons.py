"""The removal of neurons, as anybody would write it first: whole matrices, until nothing changes."""

import numpy as np


def dense(layer):
    """What is connected, and the weights: (n_out, n_in) bool, float."""
    rows, cols, values = layer.store.to_arrays()
    live, weight = np.zeros((layer.n_out, layer.n_in), bool), np.zeros((layer.n_out, layer.n_in))
    live[rows, cols] = True
    weight[rows, cols] = values
    return live, weight


def connected_both_ways(live, removed, groups):
    """Hidden neurons that stay: not those in ``removed``, nor any without inputs or without outputs."""
    stays = [np.ones(a.shape[0], bool) for a in live]
    for i, neurons in removed.items():
        stays[i][list(neurons)] = False
    changed = True
    while changed:
        changed = False
        for i in range(len(live) - 1):
            for begin in range(0, len(stays[i]), groups[i]):
                unit = range(begin, min(begin + groups[i], len(stays[i])))
                if not any(stays[i][n] for n in unit):
                    continue
                below = stays[i - 1] if i else np.ones(live[0].shape[1], bool)
                inputs = any((live[i][n] & below).any() for n in unit)
                outputs = any((live[i + 1][:, n] & stays[i + 1]).any() for n in unit)
                if not (inputs and outputs):
                    stays[i][list(unit)] = False
                    changed = True
    return stays


def folded(weight, bias, stays, activations, named):
    """Biases, with what removed neurons still give: the activation of their bias.

    Named neurons have lost their links from removed neurons too, so that nothing was added to their bias.
    """
    weight = [w.copy() for w in weight]
    for i, lost in named.items():
        weight[i][list(lost)] = 0.0
    bias = [b.astype(np.float64) for b in bias]
    for i in range(len(weight) - 1):
        for n in np.flatnonzero(~stays[i]):
            bias[i + 1] = bias[i + 1] + weight[i + 1][:, n] * activations[i](bias[i][n])
    return bias


def least_important(live, weight, fraction, groups):
    """By layer: of the units with links the floor(fraction * n) of smallest mean importance."""
    found = {}
    for i in range(len(live) - 1):
        sums = []
        for begin in range(0, live[i].shape[0], groups[i]):
            unit = slice(begin, begin + groups[i])
            if live[i][unit].any():
                sums.append((np.abs(weight[i][unit]).sum(axis=1).mean(), begin))
        sums.sort()
        chosen = sums[: int(fraction * len(sums))]
        found[i] = [n for _, b in chosen for n in range(b, min(b + groups[i], live[i].shape[0]))]
    return found


def at_most_the_percentile(live, weight, fraction, groups):
    """By layer: every unit, dead or alive, whose mean importance is at most that percentile of all."""
    found = {}
    for i in range(len(live) - 1):
        begins = range(0, live[i].shape[0], groups[i])
        sums = [np.abs(weight[i][b : b + groups[i]]).sum(axis=1).mean() for b in begins]
        limit = np.percentile(sums, 100 * fraction)
        found[i] = [
            n for s, b in zip(sums, begins, strict=True) if s <= limit
            for n in range(b, min(b + groups[i], live[i].shape[0]))
        ]  # fmt: skip
    return found
