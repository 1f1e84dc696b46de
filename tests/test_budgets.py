"""Rules that decide how many links there are and in which layers: magnitude, DSR, SNFS, GMP, GraNet, MEST.

What each promises beside the link by link comparison of test_rules.py: schedules, what it remembers, layers
that are full or empty, and that memory follows the budget.
"""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewire as rw
from rewire.rewiring import ByMomentum, BySurvivors, Moment, Once, Rewiring, Share, SmallestMagnitude
from rewire.rewiring.goes import counts_below
from rewire.rewiring.spread import split

X = np.random.default_rng(0).normal(size=(64, 12)).astype("f4")
Y = np.random.default_rng(1).integers(0, 3, 64)
EVERY_OTHER = {"steps": 2}


def network(*layers, group=1, seed=0, **options):
    """12 -> 20 -> 17 -> 3; ``layers`` are options of each, by default density 0.3."""
    layers = [*layers, *[{"density": 0.3}] * (3 - len(layers))]
    sizes = [12, 20, 17, 3]
    return rw.Sequential(
        [
            rw.Sparse(n, m, group=group, activation="softmax" if m == 3 else "all-relu", **layer)
            for n, m, layer in zip(sizes[:-1], sizes[1:], layers, strict=True)
        ],
        seed=seed,
        **options,
    )


class Slots(rw.Callback):
    """The slots of every layer after each rewiring, and the step before which it came."""

    def __init__(self):
        self.rows, self.steps = [], []

    def on_rewire(self, state):
        self.rows.append(slots(state.network))
        self.steps.append(state.trainer.step)
        state.network.validate()


def trained(rule, net=None, epochs=5, batch_size=16, optimizer=None, fits=1):
    """A trainer after ``fits`` calls of fit, four steps an epoch by default, and what its rewirings left."""
    seen = Slots()
    trainer = rw.Trainer(
        net or network(), loss="cross_entropy", optimizer=optimizer or rw.SGD(0.1, momentum=0.9),
        rewiring=rule, callbacks=[seen],
    )  # fmt: skip
    for _ in range(fits):
        trainer.fit(X, Y, epochs=epochs, batch_size=batch_size, verbose=0)
    return trainer, seen


def slots(net):
    return [layer.store.slots for layer in net.sparse_layers]


def places(net):
    return [layer.store.n_groups * layer.n_in for layer in net.layers]


def weights(layer):
    """{(group, source): weights} of a layer."""
    store = layer.store
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    values = store.get_field("weight")
    return {(int(g), int(j)): v for g, j, v in zip(groups, store.sources(), values, strict=True)}


# --- splitting a budget -----------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 50)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_a_split_is_exact_and_within_limits(layers, part):
    shares, most = zip(*layers, strict=True)
    total = int(part * sum(most))
    counts = split(total, shares, most)
    assert sum(counts) == total
    assert all(0 <= n <= limit for n, limit in zip(counts, most, strict=True))
    for n, share, limit in zip(counts, shares, most, strict=True):
        for other, its, its_limit in zip(counts, shares, most, strict=True):
            if n < limit and other < its_limit and share >= its:  # room on both sides: the larger share leads
                assert n >= other - 1


def test_a_split_in_numbers():
    assert split(10, [1, 1, 1], [9, 9, 9]) == [4, 3, 3]  # ties to the lower
    assert split(10, [3.0, 1.0], [20, 20]) == [8, 2]  # 7.5 and 2.5: ties to the lower
    assert split(10, [8, 1, 1], [2, 20, 20]) == [2, 4, 4]  # six that do not fit
    assert split(10, [8, 1, 1], [2, 1, 20]) == [2, 1, 7]
    assert split(6, [0, 0, 0], [0, 3, 9]) == [0, 2, 4]  # no shares: by room
    assert split(5, [1, 0], [3, 9]) == [3, 2]  # nor here, once the first is full
    assert split(0, [1, 2], [0, 0]) == [0, 0]
    huge = 2**60
    assert split(3 * huge, [1, 1, 1], [huge] * 3) == [huge] * 3  # beyond float64


@pytest.mark.parametrize(
    ("total", "shares", "most", "words"),
    [
        (4, [1, 1], [2, 1], "cannot place 4 links where there is room for 3"),
        (1, [1, math.nan], [2, 2], "shares must be finite numbers >= 0"),
        (1, [1, math.inf], [2, 2], "shares must be finite numbers >= 0"),
        (1, [1, -1.0], [2, 2], "shares must be finite numbers >= 0"),
    ],
)
def test_a_split_that_cannot_be(total, shares, most, words):
    with pytest.raises(ValueError, match=words):
        split(total, shares, most)


@given(st.lists(st.lists(st.integers(0, 6), max_size=8), min_size=1, max_size=4), st.integers(0, 20),
       st.integers(0, 2))  # fmt: skip
def test_a_global_threshold_keeps_some_of_each(scores, total, keep):
    """Taking the smallest of all one by one, and of equals those of the lower list, gives the same counts."""
    expected = [0] * len(scores)
    for _, i in sorted((score, i) for i, one in enumerate(scores) for score in one):
        if sum(expected) < total and len(scores[i]) - expected[i] > keep:
            expected[i] += 1
    found = counts_below([np.array(one, float) for one in scores], total, keep=keep)
    if total <= sum(map(len, scores)):
        assert found == expected


# --- composing --------------------------------------------------------------------------


@pytest.mark.parametrize("spread", [BySurvivors(), ByMomentum()], ids=["survivors", "momentum"])
def test_a_spread_is_one_of_the_choices(spread):
    """Any rule can hand budgets on from layer to layer; the network's total stays."""
    rule = Rewiring(
        rw.Every(steps=2), Share(0.4), SmallestMagnitude("global"),
        rw.rewiring.AtRandom(rw.Zeros()), spread=spread,
    )  # fmt: skip
    net = network()
    before = slots(net)
    _, seen = trained(rule, net)
    assert len(seen.rows) == 9 and all(sum(row) == sum(before) for row in seen.rows)
    assert seen.rows[-1] != before


def test_magnitude_looks_at_no_sign():
    net = network()
    first = net.layers[0].store
    values = np.linspace(-1, 0.5, first.slots).reshape(-1, 1).astype("f4")
    first.set_field("weight", values)
    kept = sorted(np.abs(values).ravel())[int(0.5 * first.slots) :]
    rw.Magnitude(0.5, init=0.0).rewire(net, Moment(1, 4, True), 1, 1)
    assert sorted(abs(float(v[0])) for v in weights(net.layers[0]).values() if v[0]) == pytest.approx(kept)


def test_magnitude_may_judge_all_layers_together():
    """One layer of small weights pays for all."""
    net = network()
    net.layers[1].store.set_field("weight", np.full((slots(net)[1], 1), 1e-6, "f4"))
    record = rw.Magnitude(0.4, scope="global").rewire(net, Moment(1, 4, True), 1, 1)
    assert record.removed == record.grown == [0, int(0.4 * 189), 0]


# --- DSR --------------------------------------------------------------------------------


def threshold_after(rule, removed, net=None):
    """Where the threshold goes when so many are below it."""
    net = net or network()
    memory = {"threshold": 0.5}
    values = np.full(slots(net)[0], 2.0, "f4")
    values[:removed] = 0.1
    net.layers[0].store.set_field("weight", values.reshape(-1, 1))
    for layer in net.layers[1:]:
        layer.store.set_field("weight", np.full((layer.store.slots, 1), 2.0, "f4"))
    rule.rewire(net, Moment(1, 4, True), 1, 1, memory=memory)
    return memory["threshold"]


@pytest.mark.parametrize("target", [20, 20 / 189])
def test_the_threshold_of_dsr_follows_the_number_that_went(target):
    assert sum(slots(network())) == 189
    found = {n: threshold_after(rw.DSR(target), n) for n in (0, 17, 18, 20, 22, 23, 40)}
    assert found == {0: 1.0, 17: 1.0, 18: 0.5, 20: 0.5, 22: 0.5, 23: 0.25, 40: 0.25}
    assert threshold_after(rw.DSR(20, tolerance=0.5), 29) == 0.5


def test_the_threshold_of_dsr_stays_a_number():
    """Where nothing can ever go, or too many always do, it stops at a bound and comes back from there."""
    for value, bound in ((1.0, 2.0**100), (0.0, 2.0**-100)):
        net, memory, rule = network(), {}, rw.DSR(1)
        for ordinal in range(1, 250):
            for layer in net.layers:
                layer.store.set_field("weight", np.full((layer.store.slots, 1), value * 3e38, "f4"))
            rule.rewire(net, Moment(1, 4, True), ordinal, 1, memory=memory)
        assert memory == {"threshold": bound}


def test_dsr_keeps_one_slot_and_the_total():
    net = network()
    rule = rw.DSR(0.5, threshold=1e9, every=2, end=1.0)  # everything is below
    before = sum(slots(net))
    rule.rewire(net, Moment(1, 4, True), 1, 1)
    net.validate()
    assert sum(slots(net)) == before == 189
    # One survivor each, so equal parts of 186 and what the last layer's 36 empty places do not take.
    assert slots(net) == [1 + 75, 1 + 75, 1 + 36]


@pytest.mark.parametrize("group", [1, 4])
def test_newcomers_of_dsr_do_not_come_where_links_just_went(group):
    net = network(group=group)
    before = [weights(layer) for layer in net.layers]
    rw.DSR(threshold=0.3).rewire(net, Moment(1, 4, True), 1, 1)
    for layer, old in zip(net.layers, before, strict=True):
        new = weights(layer)
        gone = {k for k, v in old.items() if np.abs(v).sum() / group < 0.3}
        assert gone and not gone & set(new)
        assert all(not new[k].any() for k in set(new) - set(old))


def test_a_full_layer_gives_and_an_empty_one_stays():
    net = network({"density": 0.3}, {"links": 0}, {"density": 1.0})
    _, seen = trained(rw.DSR(0.2, threshold=0.2, every=2, end=1.0), net, epochs=1)
    first, middle, last = seen.rows[0]
    assert first > 72 and middle == 0 and last < 51 and first + last == 72 + 51


def test_a_rewiring_that_fails_leaves_what_a_rule_remembers():
    for rule in (rw.DSR(threshold=0.2), rw.GMP(0.1, every=1), rw.MEST(every={"steps": 1})):
        net, memory = network({"density": 0.9}), {}
        rule.rewire(net, Moment(1, 4, True, steps=100), 1, 1, memory=memory)
        before = dict(memory)
        assert before
        with net.layers[1].store.view(), pytest.raises(BufferError):
            rule.rewire(net, Moment(1, 50, True, steps=100), 2, 1, memory=memory)
        assert memory == before


# --- SNFS -------------------------------------------------------------------------------


def probed(rule, net):
    """A trainer that stops at its first rewiring, and the occasion of it."""
    caught = []
    plans = rule.plans

    def watched(layers, occasion, regrow):
        caught.append({layer.index: (occasion.probe.inputs(layer), occasion.probe.outputs(layer))
                       for layer in layers})  # fmt: skip
        return plans(layers, occasion, regrow)

    rule.plans = watched
    same = np.repeat(X[:1], 64, axis=0), np.repeat(Y[:1], 64)  # every sample is the same
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9), rewiring=rule)
    trainer.fit(*same, epochs=2, batch_size=16, verbose=0)
    return caught[0]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_the_batches_of_snfs_weigh_less_and_less(beta):
    """With equal samples, the gradient of each batch is beta times that of the one before."""
    for x, dz in probed(rw.SNFS(batches=3, beta=beta), network(dtype="float64")).values():
        assert x.shape[0] == dz.shape[0] == 48
        assert np.ptp(x, axis=0).max() == 0 and np.abs(dz).max() > 0
        for i in (1, 2):
            np.testing.assert_allclose(dz[16 * i : 16 * (i + 1)], dz[:16] * beta**i, rtol=1e-12)


def test_one_batch_is_the_gradient_of_the_coming_one():
    assert all(x.shape[0] == 16 for x, _ in probed(rw.SNFS(batches=1), network()).values())


def test_nearly_dense_layers_are_spared_while_they_grow():
    """A full layer with more than its part of the momentum loses nothing; with less it loses its share."""
    for factor, share in ((100.0, 0.0), (0.0, 0.5)):
        net = network({"density": 1.0}, {"density": 0.5}, {"density": 0.5})
        trainer, _ = trained(rw.Static(), net, epochs=1)
        momentum = net.layers[0].store.get_field("momentum")
        net.layers[0].store.set_field("momentum", momentum * np.float32(factor))
        rule = rw.SNFS(0.5, floor=0.5)
        before = slots(net)
        plans = [rw._core.Plan(layer.store) for layer in net.layers]
        occasion = rw.rewiring.Occasion(net, Moment(1, 4, True), 1, 1, {})
        rule.goes.mark_all(plans, net.layers, 0.5, occasion)
        assert [plan.n_removed for plan in plans] == [share * before[0], *map(half_up, before[1:])]


def half_up(n):
    return math.ceil(n / 2)


def test_no_layer_takes_the_last_hundredth():
    """All momentum in one layer: it takes 0.99 of its empty places, the others what is left."""
    net = network({"density": 0.9}, {"density": 0.9}, {"density": 0.5})
    trained(rw.Static(), net, epochs=1)
    for layer in net.layers[:2]:
        layer.store.set_field("momentum", np.zeros((layer.store.slots, 1), "f4"))
    occasion = rw.rewiring.Occasion(net, Moment(1, 4, True), 1, 1, {})
    plans = [rw._core.Plan(layer.store) for layer in net.layers]
    SmallestMagnitude().mark_all(plans, net.layers, 0.3, occasion)
    gone = [plan.n_removed for plan in plans]
    empty = [n - m + r for n, m, r in zip(places(net), slots(net), gone, strict=True)]
    counts = ByMomentum().counts(plans, net.layers, occasion)
    assert sum(counts) == sum(gone)
    assert counts[2] == int(0.99 * empty[2]) < empty[2]


def test_layers_without_other_room_take_all_places():
    """Full layers: the hundredth would not come back."""
    net = network(*[{"density": 1.0}] * 3)
    trained(rw.Static(), net, epochs=1)
    occasion = rw.rewiring.Occasion(net, Moment(1, 4, True), 1, 1, {})
    plans = [rw._core.Plan(layer.store) for layer in net.layers]
    SmallestMagnitude().mark_all(plans, net.layers, 0.5, occasion)
    assert ByMomentum().counts(plans, net.layers, occasion) == [120, 170, 25]


def test_momentum_without_momentum_is_the_gradient():
    """Plain SGD: layers are weighed by the gradients that the rule looks at; nobody else may."""
    _, seen = trained(rw.SNFS(every=EVERY_OTHER), optimizer=rw.SGD(0.1))
    assert len(seen.rows) == 9 and seen.rows[0] != slots(network())
    rule = Rewiring(Once(1), Share(0.3), SmallestMagnitude(), rw.rewiring.AtRandom(rw.Zeros()),
                    spread=ByMomentum())  # fmt: skip
    with pytest.raises(RuntimeError, match="looks at gradients"):
        trained(rule, optimizer=rw.SGD(0.1))


# --- gradual pruning --------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("group", [1, 4])
def test_gradual_pruning_follows_the_cubic(scope, group):
    net = network(*[{"density": 1.0}] * 3, group=group)
    size, start = places(net), slots(net)
    assert size == start  # full layers take part
    _, seen = trained(rw.GMP(0.1, begin=4, end=16, every=3, scope=scope), net)
    assert seen.steps == [6, 9, 12, 15, 16]
    for step, row in zip(seen.steps, seen.rows, strict=True):
        density = 0.1 + 0.9 * (1 - (step - 4) / 12) ** 3
        if scope == "global":
            assert sum(row) == math.floor(density * sum(size) + 0.5)
        else:
            assert row == [math.floor(density * n + 0.5) for n in size]


@pytest.mark.parametrize(
    ("options", "epochs", "steps"),
    [
        ({"every": 100}, 5, [15]),  # a period longer than the run
        ({"every": 4, "end": 1.0}, 5, [4, 8, 12, 16, 19]),  # before the last step at the latest
        ({"every": 4, "end": 13}, 5, [4, 8, 12, 13]),
        ({"every": 4, "begin": 9, "end": 9}, 5, [9]),  # at once
        ({"every": {"epochs": 1}, "begin": 0.3, "end": 0.7}, 5, [8, 12, 14]),
        ({"every": 1}, 1, [1, 2, 3]),
    ],
)
def test_the_final_density_is_always_met(options, epochs, steps):
    net = network({"density": 0.8}, {"density": 0.5})
    trainer, seen = trained(rw.GMP(0.1, **options), net, epochs=epochs)
    assert seen.steps == steps
    assert sum(slots(net)) == math.floor(0.1 * sum(places(net)) + 0.5)
    assert trainer.rewirings == len(steps)


def test_the_start_of_pruning_is_remembered():
    """A second call of fit goes on from where the first began, and gives nothing back."""
    net = network(*[{"density": 1.0}] * 3)
    trainer, seen = trained(rw.GMP(0.2, every=2), net, fits=2, epochs=3)
    assert trainer.config()["memory"]["start"] == {"0": 240, "1": 340, "2": 51}
    totals = [sum(row) for row in seen.rows]
    assert totals == sorted(totals, reverse=True) and totals[-1] == math.floor(0.2 * 631 + 0.5)


def test_one_slot_stays_and_sparse_layers_are_left_alone():
    net = network({"links": 1}, {"links": 0}, {"density": 1.0})
    rw.GMP(0.001, scope="layer").rewire(net, Moment(1, 4, True), 1, 1)
    assert slots(net) == [1, 0, 1]
    net = network()
    net.layers[1].store.set_field("weight", np.zeros((slots(net)[1], 1), "f4"))
    rw.GMP(0.02).rewire(net, Moment(1, 4, True), 1, 1)  # 13 of all, and all of these would go
    assert slots(net)[1] == 1 and sum(slots(net)) == 13
    net = network({"density": 0.1}, {"density": 0.9})
    before = slots(net)
    rw.GMP(0.3, scope="layer").rewire(net, Moment(1, 4, True), 1, 1)
    assert slots(net) == [before[0], math.floor(0.3 * 340 + 0.5), before[2]]


def test_granet_begins_where_it_is_told_to():
    _, seen = trained(rw.GraNet(0.1, begin=0.4, every=2), network({"density": 0.8}))
    assert seen.steps == [8, 10, 12, 14, 16, 18]


def test_granet_prunes_as_gmp_does_and_moves_links_to_the_end():
    nets = [network(*[{"density": 0.8}] * 3) for _ in range(2)]
    _, pruned = trained(rw.GMP(0.1, every=2, end=0.5), nets[0])
    trainer, seen = trained(rw.GraNet(0.1, every=2, end=0.5), nets[1])
    assert pruned.steps == [2, 4, 6, 8, 10]
    assert seen.steps == list(range(2, 20, 2))
    assert [sum(row) for row in seen.rows[:5]] == [sum(row) for row in pruned.rows]
    assert seen.rows[4:] == [seen.rows[4]] * 5  # what moves stays in its layer
    assert all(sum(row["links_grown"]) > 0 for row in trainer.history.epochs)


# --- MEST -------------------------------------------------------------------------------


def test_elastic_mutation_keeps_its_budget():
    net = network()
    before = slots(net)
    trainer, seen = trained(rw.MEST(every=EVERY_OTHER), net)
    # 20 steps: 0.2 of the budget until step 12 (11.25), 0.1 until 15, then nothing.
    assert seen.steps == [2, 4, 6, 8, 10, 12, 14] and seen.rows == [before] * 7
    removed = np.array([row["links_removed"] for row in trainer.history.epochs])
    first, second = ([int(share * n) for n in before] for share in (0.2, 0.1))
    assert removed[1].tolist() == [2 * n for n in first]  # steps 4 and 6
    assert removed[3].tolist() == [2 * n for n in second]
    assert removed[4].tolist() == [0, 0, 0]


def test_the_soft_bound_is_left_and_kept_in_the_end():
    net = network()
    before = slots(net)
    _, seen = trained(rw.MEST("em&s", every={"steps": 5}), net)
    above = {share: [n + int(share * n) for n in before] for share in (0.5, 0.25, 0.0)}
    assert seen.steps == [5, 10, 12, 15]
    assert seen.rows == [above[0.5], above[0.5], above[0.25], above[0.0]]
    assert slots(net) == before


@pytest.mark.parametrize("epochs", [1, 2, 7, 10])
def test_the_soft_bound_is_kept_after_runs_of_any_length(epochs):
    """Every five epochs would come once or never."""
    net = network()
    before = slots(net)
    _, seen = trained(rw.MEST("em&s"), net, epochs=epochs)
    assert slots(net) == before
    assert all(row[i] > before[i] for row in seen.rows[:-1] for i in range(3))


def test_a_layer_that_the_soft_bound_fills_comes_back_and_a_full_one_is_left_alone():
    net = network({"density": 0.8}, {"density": 1.0})
    before, full = slots(net), [v.tolist() for v in weights(net.layers[1]).values()]
    _, seen = trained(rw.MEST("em&s", every=EVERY_OTHER), net, optimizer=rw.SGD(1e-30))
    assert seen.rows[0][:2] == places(net)[:2]
    assert slots(net) == before
    assert [v.tolist() for v in weights(net.layers[1]).values()] == full


def test_stages_of_ones_own():
    net = network()
    before = slots(net)
    _, seen = trained(rw.MEST("em&s", shares=[0.1], ends=[], every={"steps": 8}), net)
    assert seen.rows == [[n + int(0.1 * n) for n in before]] * 2
    _, seen = trained(rw.MEST(shares=[0.5, 0.0], ends=[7], every={"steps": 3}))
    assert seen.steps == [3, 6]
    net = network()
    _, seen = trained(rw.MEST("em&s", shares=[0.5, 0.0], ends=[1.0], every={"steps": 8}), net)
    assert seen.steps == [8, 16, 19] and seen.rows[-1] == before == slots(net)


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
    trainer, seen = trained(RULES[name](output_layer=False), net)
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

    17/16 and a slot a group after a repacking, and then a tenth of waste (or a few cache lines) and an eighth of
    reserve.
    """
    store = layer.store
    item, n = np.dtype(store.dtype).itemsize, store.n_groups
    room = store.slots + store.slots // 16 + n
    room = max(room * 1.1, room + 64) * 1.125
    bytes_ = room * (4 + store.group * item * (1 + states)) + 16 * n + 1024  # and the store itself
    return bytes_ + (store.slots * 17 // 16 * 8 + 8 * (layer.n_in + 1) if store.has_mirror else 0)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("name", RULES)
def test_memory_follows_the_budget(name, group):
    """After many rewirings every layer takes what its present links need, whatever it had before."""
    start = {"gmp": 1.0, "granet": 0.5}.get(name, 0.1)
    net = rw.Sequential(
        [
            rw.Sparse(300, 400, density=start, activation="all-relu", group=group),
            rw.Sparse(400, 200, density=start, activation="all-relu", group=group),
            rw.Sparse(200, 3, density=0.5, activation="softmax"),
        ],
        seed=1,
    )
    rng = np.random.default_rng(3)
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=rw.SGD(0.02, momentum=0.9), rewiring=RULES[name]()
    )
    trainer.fit(
        rng.normal(size=(64, 300)).astype("f4"), rng.integers(0, 3, 64), epochs=51, batch_size=16, verbose=0
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
            rewiring=rw.MEST("em&s", shares=[1.0], ends=[], every={"steps": 1}),
        )  # fmt: skip
        data = rng.normal(size=(8, n_in)).astype("f4"), rng.integers(0, 3, 8)
        trainer.fit(*data, epochs=2, batch_size=8, verbose=0)
        first = net.layers[0].store
        assert first.slots == 120
        plan = rw._core.Plan(first)
        plan.grow_random(79_000 - first.slots, 0, 0, 99)
        rw._core.commit([plan])
        assert np.diff(first.indptr()).max() > 32 << 10
        trainer.rewiring = rw.Static()
        trainer.fit(*data, epochs=2, batch_size=8, verbose=0)
        results.append(trainer.arrays())
    assert all(np.array_equal(results[0][name], results[1][name]) for name in results[0])
