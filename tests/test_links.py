"""Budgets are kept in links: whatever the groups, and wherever a last one is not whole, nothing drifts."""

import numpy as np
import pytest

import rewire as rw
from rules.table import CASES

# Groups of the three layers, and neurons of the hidden ones and of the output.
SHAPES = {
    "ones": ((1, 1, 1), (19, 13, 10)),
    "fours": ((4, 4, 4), (19, 13, 10)),
    "eights": ((8, 8, 8), (21, 10, 10)),
    "mixed": ((4, 2, 1), (20, 14, 10)),
    "mixed, not whole": ((8, 4, 2), (19, 14, 9)),
    "hidden whole": ((4, 4, 2), (20, 16, 9)),
    "one and eight": ((8, 1, 8), (19, 14, 10)),
    "one, four, eight": ((1, 4, 8), (20, 13, 9)),
    "few outputs": ((8, 8, 8), (13, 11, 3)),
}
# Rules that keep the number of links of every layer, or of the network, in a run without an end.
KEEP = {name: case for name, case in CASES.items() if case.keeps in ("layer", "network") and name != "static"}


class Links(rw.Callback):
    """The links of every layer after each rewiring."""

    def __init__(self):
        self.rows, self.removed, self.grown = [], [], []

    def on_rewire(self, state):
        self.rows.append([layer.nnz for layer in state.network.layers])
        removed, grown = state.rewired.by_layer(state.network.weight_names)
        self.removed.append(removed)
        self.grown.append(grown)


def run(rule, shape, density, steps):
    """A network that a rule has rewired, the links of its layers before, and what rewirings left."""
    (groups, sizes), seen = SHAPES[shape], Links()
    widths = (16, *sizes)
    net = rw.Sequential(
        [
            rw.Sparse(n, m, density=density, group=group,
                      activation="softmax" if i == 2 else "all-relu")
            for i, (n, m, group) in enumerate(zip(widths[:-1], widths[1:], groups, strict=True))
        ],
        seed=5,
    )  # fmt: skip
    before = [layer.nnz for layer in net.layers]
    rng = np.random.default_rng(0)
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=rw.SGD(0.02, momentum=0.9), rewiring=rule, callbacks=[seen]
    )
    X, y = rng.normal(size=(96, 16)), rng.integers(0, min(9, sizes[-1]), 96)
    trainer.fit(X, y, epochs=steps // 12, batch_size=8, verbose=0)
    net.validate()
    return net, before, seen


@pytest.mark.in_turn(9)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", KEEP)
def test_links_are_kept(name, shape):
    """After fifty rewirings as after one: each layer to within a slot, or all together exactly."""
    case = KEEP[name]
    net, before, seen = run(case.make(), shape, case.density, 108)
    slots = [layer.group if layer.group > 1 else 1 for layer in net.layers]
    assert len(seen.rows) >= 25
    for row in seen.rows:
        if case.keeps == "layer":
            for n, links, slot, layer in zip(row, before, slots, net.layers, strict=True):
                exact = layer.n_out % slot == 0
                assert n == links if exact else abs(n - links) < slot
        else:
            assert sum(row) == sum(before)
    for i, links in enumerate(before):  # what is told is what happened
        grown, removed = (sum(row[i] for row in rows) for rows in (seen.grown, seen.removed))
        assert links + grown - removed == seen.rows[-1][i]


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", ["gmp", "granet", "snip"])
@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_density_is_one_of_links(name, shape, scope):
    rule = rw.rewiring.rewiring({"name": name, "density": 0.25, "scope": scope, "reserve": 0.3})
    net, _, seen = run(rule, shape, 0.9, 48)
    sizes = [layer.n_out * layer.n_in for layer in net.layers]
    if scope == "global":
        assert abs(sum(seen.rows[-1]) - 0.25 * sum(sizes)) < 2 * max(layer.group for layer in net.layers)
    else:
        for n, size, layer in zip(seen.rows[-1], sizes, net.layers, strict=True):
            assert abs(n - 0.25 * size) < 2 * layer.group


@pytest.mark.parametrize("rule", ["gmp", "granet", "snip"])
def test_no_layer_starves_beside_others(rule):
    """One threshold for all, and weights of the output a hundredth of the others': half of its part stays."""
    net = rw.Sequential([
        rw.Sparse(40, 60, density=0.9, activation="relu"),
        rw.Sparse(60, 10, density=0.9, activation="softmax"),
    ])  # fmt: skip
    last = net.layers[1].store
    last.set_field("weight", last.get_field("weight") / 100)
    rng = np.random.default_rng(0)
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=rw.SGD(1e-4), rewiring={"name": rule, "density": 0.1}
    )
    trainer.fit(rng.normal(size=(96, 40)), rng.integers(0, 10, 96), epochs=4, batch_size=8, verbose=0)
    assert net.nnz == round(0.1 * net.size)
    assert net.layers[1].nnz >= rw.link_counts.erk_links([(40, 60), (60, 10)], 0.1)[1] // 2
