"""What rules that move budgets leave: layers they may not touch, and memory that follows the budget."""

import numpy as np
import pytest

import rewire as rw
from rules.trained import EVERY_OTHER, network, trained, weights

# --- all of them ------------------------------------------------------------------------

RULES = {
    "magnitude": lambda **k: rw.Magnitude(every=EVERY_OTHER, **k),
    "magnitude, global": lambda **k: rw.Magnitude(every=EVERY_OTHER, scope="global", **k),
    "dsr": lambda **k: rw.DSR(threshold=0.1, every=2, end=1.0, **k),
    "snfs": lambda **k: rw.SNFS(every=EVERY_OTHER, **k),
    "gmp": lambda **k: rw.GMP(0.1, every=2, **k),
    "granet": lambda **k: rw.GraNet(0.1, every=2, **k),
    "mest": lambda **k: rw.MEST(every=EVERY_OTHER, **k),
    "mest, soft": lambda **k: rw.MEST("em&s", every=EVERY_OTHER, **k),
}


@pytest.mark.parametrize("name", RULES)
def test_the_output_layer_may_be_left_out(name):
    net = network({"density": 0.7}, {"density": 0.4})
    before = sorted(weights(net.layers[2]))
    trainer, seen = trained(RULES[name](layers="hidden"), net)
    assert len(seen.rows) > 5
    assert sorted(weights(net.layers[2])) == before
    assert all(row["links_removed"][2] == row["links_grown"][2] == 0 for row in trainer.history.epochs)
    net = network({"density": 0.7}, {"density": 0.4})
    trained(RULES[name](), net)
    assert sorted(weights(net.layers[2])) != before


@pytest.mark.parametrize("name", RULES)
def test_nothing_to_do(name):
    """All layers full, all empty, no sparse layer at all."""
    for make in (
        lambda: network(*[{"density": 1.0}] * 3),
        lambda: network(*[{"links": 0}] * 3),
        lambda: rw.Sequential([rw.Dense(12, 5, activation="relu"), rw.Dense(5, 3, activation="softmax")]),
    ):
        trainer, _ = trained(RULES[name](), make())
        trainer.network.validate()
        assert np.isfinite(trainer.history["loss"]).all()


def promised(layer, states):
    """Bytes of a layer's store: what the header of store.h allows for.

    17/16 and a slot a group after a repacking, and then a tenth of waste (or a few cache lines) and an
    eighth of reserve.
    """
    store = layer.core
    item, n = np.dtype(store.dtype).itemsize, store.n_groups
    room = store.slots + store.slots // 16 + n
    room = max(room * 1.1, room + 64) * 1.125
    bytes_ = room * (4 + store.group * item * (1 + states)) + 16 * n + 1024  # and the store itself
    return bytes_ + ((store.slots * 9 // 8 + 64) * 8 + 12 * layer.n_in + 8 if store.has_mirror else 0)


@pytest.mark.in_turn(2)
@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("name", RULES)
def test_memory_follows_the_budget(name, group):
    """After many rewirings every layer takes what its present links need, whatever it had before."""
    start = {"gmp": 1.0, "granet": 0.5}.get(name, 0.1)
    net = rw.Sequential(
        [
            rw.Sparse(150, 200, density=start, activation="all-relu", group=group),
            rw.Sparse(200, 100, density=start, activation="all-relu", group=group),
            rw.Sparse(100, 3, density=0.5, activation="softmax"),
        ],
        seed=1,
    )
    rng = np.random.default_rng(3)
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=rw.SGD(0.02, momentum=0.9), rewiring=RULES[name]()
    )
    trainer.fit(
        rng.normal(size=(64, 150)).astype("f4"), rng.integers(0, 3, 64), epochs=51, batch_size=16, verbose=0
    )
    assert trainer.rewirings > (75 if "mest" in name or name == "gmp" else 100)
    for layer in net.layers:
        assert layer.store.nbytes <= promised(layer, states=1)


def test_rows_may_grow_beyond_the_scratch_of_a_step():
    """A row with more links than a step's scratch holds at the start: the same bits as with an array of
    gradients, which needs no scratch."""
    n_in = 40_000
    results = []
    for clip in (None, 1e30):
        net = rw.Sequential(
            [rw.Sparse(n_in, 2, links=60, activation="relu"), rw.Sparse(2, 3, activation="softmax")], seed=2
        )
        rng = np.random.default_rng(4)
        trainer = rw.Trainer(
            net, loss="cross_entropy", optimizer=rw.SGD(0.01, momentum=0.9, clip_norm=clip),
            rewiring=rw.MEST("em&s", fractions=[1.0], ends=[], every={"steps": 1}),
        )  # fmt: skip
        data = rng.normal(size=(8, n_in)).astype("f4"), rng.integers(0, 3, 8)
        trainer.fit(*data, epochs=2, batch_size=8, verbose=0)
        first = net.layers[0].core
        assert first.slots == 120
        plan = rw._core.Plan(first)
        plan.grow_random(79_000 - first.slots, 0, 0, 99)
        rw._core.commit([plan])
        assert np.diff(first.indptr()).max() > 32 << 10
        trainer.rewiring = rw.Static()
        trainer.fit(*data, epochs=2, batch_size=8, verbose=0)
        results.append(trainer.arrays())
    assert all(np.array_equal(results[0][name], results[1][name]) for name in results[0])
