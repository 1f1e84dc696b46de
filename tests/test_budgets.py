"""Budgets that move between layers: how they are split, and what magnitude, DSR and SNFS promise."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewire as rw
from rewire.parameters import Field
from rewire.rewiring import (
    DropSmallest,
    Fraction,
    Once,
    Redistribute,
    RedistributeByMomentum,
    RedistributeBySurvivors,
    Swap,
    TrainingProgress,
)
from rewire.rewiring.drop import counts_below
from rewire.rewiring.redistribute import mean_momentum, split, taken_back
from rules.trained import EVERY_OTHER, X, Y, network, positions, slots, trained, weights
from small import context_of, rewired


def test_snfs_leaves_a_slot_in_every_layer():
    x = np.random.default_rng(1).normal(size=(120, 6))
    shapes = [(6, 13), (13, 11), (11, 3)]
    layers = [rw.Sparse(n, m, density=0.3, group=4, activation="relu") for n, m in shapes]
    layers[-1] = rw.Sparse(11, 3, activation="softmax")
    rule = rw.SNFS(every=rw.Epochs(2))
    t = rw.Trainer(rw.Sequential(layers), loss="cross_entropy", optimizer=rw.SGD(0.05), rewiring=rule)
    t.fit(x, np.arange(120) * 7 % 10 % 3, epochs=30, batch_size=32, verbose=0)
    assert all(row["nnz"][i] > 0 for row in t.history.epochs for i in range(3))


# --- splitting a budget -----------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 50)), min_size=1, max_size=6),
    st.floats(0, 1),
)
def test_a_split_is_exact_and_within_limits(layers, part):
    proportions, most = zip(*layers, strict=True)
    total = int(part * sum(most))
    counts = split(total, proportions, most)
    assert sum(counts) == total
    assert all(0 <= n <= limit for n, limit in zip(counts, most, strict=True))
    for n, part, limit in zip(counts, proportions, most, strict=True):
        for other, its, its_limit in zip(counts, proportions, most, strict=True):
            if n < limit and other < its_limit and part >= its:  # room on both sides: the larger part leads
                assert n >= other - 1


def test_a_split_in_numbers():
    assert split(10, [1, 1, 1], [9, 9, 9]) == [4, 3, 3]  # ties to the lower
    assert split(10, [3.0, 1.0], [20, 20]) == [8, 2]  # 7.5 and 2.5: ties to the lower
    assert split(10, [8, 1, 1], [2, 20, 20]) == [2, 4, 4]  # six that do not fit
    assert split(10, [8, 1, 1], [2, 1, 20]) == [2, 1, 7]
    assert split(6, [0, 0, 0], [0, 3, 9]) == [0, 2, 4]  # no proportions: by room
    assert split(5, [1, 0], [3, 9]) == [3, 2]  # nor here, once the first is full
    assert split(0, [1, 2], [0, 0]) == [0, 0]
    huge = 2**60
    assert split(3 * huge, [1, 1, 1], [huge] * 3) == [huge] * 3  # beyond float64


@pytest.mark.parametrize(
    ("total", "proportions", "most", "words"),
    [
        (4, [1, 1], [2, 1], "cannot place 4 links where there is room for 3"),
        (1, [1, math.nan], [2, 2], "proportions must be finite numbers >= 0"),
        (1, [1, math.inf], [2, 2], "proportions must be finite numbers >= 0"),
        (1, [1, -1.0], [2, 2], "proportions must be finite numbers >= 0"),
    ],
)
def test_a_split_that_cannot_be(total, proportions, most, words):
    with pytest.raises(ValueError, match=words):
        split(total, proportions, most)


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


# --- slots of several sizes ---------------------------------------------------------------


SIZES = st.dictionaries(st.integers(1, 8), st.integers(0, 4), max_size=3)


@given(st.integers(-30, 60), SIZES, SIZES)
def test_the_fewest_slots_are_taken_back(missing, drop, news):
    """Whatever can be had is found, and by no more slots than a search through everything finds."""
    sizes = sorted({*drop, *news})
    tried = itertools.product(*(range(-news.get(n, 0), drop.get(n, 0) + 1) for n in sizes))
    fits = [counts for counts in tried if sum(map(math.prod, zip(counts, sizes, strict=True))) == missing]
    found = taken_back(missing, drop, news)
    assert (found is None) == (not fits)
    if found is not None:
        assert sum(links * n for links, n in found.items()) == missing
        assert sum(map(abs, found.values())) == min(sum(map(abs, counts)) for counts in fits)
        assert all(-news.get(n, 0) <= count <= drop.get(n, 0) for n, count in found.items())


# --- composing --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "redistribute", [RedistributeBySurvivors(), RedistributeByMomentum()], ids=["survivors", "momentum"]
)
def test_redistribute_is_one_of_the_choices(redistribute):
    """Any rule can hand budgets on from layer to layer; the network's total stays."""
    rule = Swap(
        rw.Steps(2), Fraction(0.4), DropSmallest("global"),
        rw.rewiring.GrowRandom(rw.Zeros()), redistribute=redistribute,
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
    rewired(rw.Magnitude(0.5, init=0.0), net, TrainingProgress(1, 4, True), 1, 1)
    assert sorted(abs(float(v[0])) for v in weights(net.layers[0]).values() if v[0]) == pytest.approx(kept)


def test_magnitude_may_judge_all_layers_together():
    """One layer of small weights pays for all."""
    net = network()
    net.layers[1].store.set_field("weight", np.full((slots(net)[1], 1), 1e-6, "f4"))
    record = rewired(rw.Magnitude(0.4, scope="global"), net, TrainingProgress(1, 4, True), 1, 1)
    assert record.removed == record.grown == [0, int(0.4 * 189), 0]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_a_full_network_stays_as_it_is(scope):
    """No layer takes part, in whatever scope."""
    net = network(*[{"density": 1.0}] * 3)
    before = net.nnz
    _, seen = trained(rw.GSE(0.4, every=2, end=1.0, scope=scope), net)
    assert len(seen.rows) > 2 and all(sum(row) == before for row in seen.links)


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
    rewired(rule, net, TrainingProgress(1, 4, True), 1, 1, memory=memory)
    return memory["threshold"]


@pytest.mark.parametrize("target", [20, 20 / 189])
def test_the_threshold_of_dsr_follows_the_number_that_was_dropped(target):
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
            rewired(rule, net, TrainingProgress(1, 4, True), ordinal, 1, memory=memory)
        assert memory == {"threshold": bound}


def test_dsr_keeps_one_slot_and_the_total():
    net = network()
    rule = rw.DSR(0.5, threshold=1e9, every=2, end=1.0)  # everything is below
    before = sum(slots(net))
    rewired(rule, net, TrainingProgress(1, 4, True), 1, 1)
    net.validate()
    assert sum(slots(net)) == before == 189
    # One survivor each, so equal parts of 186 and what the last layer's 36 empty positions do not take.
    assert slots(net) == [1 + 75, 1 + 75, 1 + 36]


@pytest.mark.parametrize("group", [1, 4])
def test_dsr_grows_no_link_where_it_just_dropped_one(group):
    net = network(group=group)
    before = [weights(layer) for layer in net.layers]
    rewired(rw.DSR(threshold=0.3), net, TrainingProgress(1, 4, True), 1, 1)
    for layer, old in zip(net.layers, before, strict=True):
        new = weights(layer)
        removed = {k for k, v in old.items() if np.abs(v).sum() / group < 0.3}
        assert removed and len(removed & set(new)) <= (0 if group == 1 else 2)  # for the network's total
        assert all(new[k].tolist() == old[k].tolist() for k in removed & set(new))
        assert all(not new[k].any() for k in set(new) - set(old))


def test_a_full_layer_gives_and_an_empty_one_stays():
    net = network({"density": 0.3}, {"links": 0}, {"density": 1.0})
    _, seen = trained(rw.DSR(0.2, threshold=0.2, every=2, end=1.0), net, epochs=2)
    first, middle, last = seen.rows[0]
    assert first > 72 and middle == 0 and last < 51 and first + last == 72 + 51


def test_a_rewiring_that_fails_leaves_what_a_rule_remembers():
    for rule in (rw.DSR(threshold=0.2), rw.GMP(0.1, every=1), rw.MEST(every={"steps": 1})):
        net, memory = network({"density": 0.9}), {}
        rewired(rule, net, TrainingProgress(1, 4, True, steps=100), 1, 1, memory=memory)
        before = dict(memory)
        assert before
        with net.layers[1].store.view(), pytest.raises(BufferError):
            rewired(rule, net, TrainingProgress(1, 50, True, steps=100), 2, 1, memory=memory)
        assert memory == before


# --- SNFS -------------------------------------------------------------------------------


def probed(rule, net, weight=None):
    """A trainer that stops at its first rewiring, and the context of it."""
    caught = []
    plans = rule.plans

    def watched(parameters, context):
        caught.append({q.name: (context.probe.inputs(q), context.probe.outputs(q)) for q in parameters})
        return plans(parameters, context)

    rule.plans = watched
    same = np.repeat(X[:1], 64, axis=0), np.repeat(Y[:1], 64)  # every sample is the same
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9), rewiring=rule)
    trainer.fit(*same, epochs=2, batch_size=16, sample_weight=weight, verbose=0)
    return caught[0]


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9])
def test_the_batches_of_snfs_weigh_less_and_less(beta):
    """With equal samples, the gradient of each batch is beta times that of the one before."""
    for x, dz in probed(rw.SNFS(batches=3, beta=beta), network(dtype="float64")).values():
        assert x.shape[0] == dz.shape[0] == 48
        assert np.ptp(x, axis=0).max() == 0 and np.abs(dz).max() > 0
        for i in (1, 2):
            np.testing.assert_allclose(dz[16 * i : 16 * (i + 1)], dz[:16] * beta**i, rtol=1e-12)


def test_weights_of_samples_count_in_all_batches_of_snfs():
    """With equal samples of weight 0 and 2: the gradients of those are zero, and of these all alike."""
    weight = np.repeat([0.0, 2.0], 32)
    for _, dz in probed(rw.SNFS(batches=3, beta=0.5), network(dtype="float64"), weight).values():
        counts = dz.any(axis=1)
        for i in range(3):
            own = slice(16 * i, 16 * (i + 1))
            assert counts[own].any() and not counts[own].all()
            expected = dz[np.argmax(counts)] * 0.5**i * counts[own, None]
            np.testing.assert_allclose(dz[own], expected, rtol=1e-12, atol=0)


def test_mean_momentum_is_that_of_links_not_of_rows_that_are_missing():
    for group, n_out in ((1, 9), (4, 9), (8, 9)):
        net = rw.Sequential([rw.Sparse(6, n_out, density=0.5, group=group)], dtype="float64")
        parameter = net.sparse_parameters[0]
        parameter.add_field("momentum", Field(power=1))
        parameter.write(np.random.default_rng(1).normal(size=parameter.size), "momentum")
        context = context_of(net, TrainingProgress(1, 4, True))
        expected = np.abs(parameter.read("momentum")).mean()
        assert mean_momentum(parameter, context) == pytest.approx(expected, rel=1e-12)


def test_one_batch_is_the_gradient_of_the_coming_one():
    assert all(x.shape[0] == 16 for x, _ in probed(rw.SNFS(batches=1), network()).values())


def test_nearly_dense_layers_are_spared_while_they_grow():
    """A full layer with more than its part of the momentum loses nothing; with less it loses that half."""
    for factor, fraction in ((100.0, 0.0), (0.0, 0.5)):
        net = network({"density": 1.0}, {"density": 0.5}, {"density": 0.5})
        trainer, _ = trained(rw.Static(), net, epochs=1)
        momentum = net.layers[0].store.get_field("momentum")
        net.layers[0].store.set_field("momentum", momentum * np.float32(factor))
        rule = rw.SNFS(0.5, floor=0.5)
        before = slots(net)
        plans = [rw._core.Plan(layer.core) for layer in net.layers]
        context = context_of(net, TrainingProgress(1, 4, True))
        rule.drop.mark_all(plans, net.sparse_parameters, 0.5, context)
        assert [plan.n_removed for plan in plans] == [fraction * before[0], *map(half_up, before[1:])]


def half_up(n):
    return math.ceil(n / 2)


def test_no_layer_takes_the_last_hundredth():
    """All momentum in one layer: it takes 0.99 of its empty positions, the others what is left."""
    net = network({"density": 0.9}, {"density": 0.9}, {"density": 0.5})
    trained(rw.Static(), net, epochs=1)
    for layer in net.layers[:2]:
        layer.store.set_field("momentum", np.zeros((layer.store.slots, 1), "f4"))
    context = context_of(net, TrainingProgress(1, 4, True))
    plans = [rw._core.Plan(layer.core) for layer in net.layers]
    DropSmallest().mark_all(plans, net.sparse_parameters, 0.3, context)
    removed = [plan.n_removed for plan in plans]
    empty = [n - m + r for n, m, r in zip(positions(net), slots(net), removed, strict=True)]
    counts = RedistributeByMomentum().counts(plans, net.sparse_parameters, context)
    assert sum(counts) == sum(removed)
    assert counts[2] == int(0.99 * empty[2]) < empty[2]


def test_layers_without_other_room_take_all_places():
    """Full layers: the hundredth would not come back."""
    net = network(*[{"density": 1.0}] * 3)
    trained(rw.Static(), net, epochs=1)
    context = context_of(net, TrainingProgress(1, 4, True))
    plans = [rw._core.Plan(layer.core) for layer in net.layers]
    DropSmallest().mark_all(plans, net.sparse_parameters, 0.5, context)
    assert RedistributeByMomentum().counts(plans, net.sparse_parameters, context) == [120, 170, 25]


def test_momentum_without_momentum_is_the_gradient():
    """Plain SGD: layers are weighed by the gradients that the rule looks at, if only for this."""
    _, seen = trained(rw.SNFS(every=EVERY_OTHER), optimizer=rw.SGD(0.1))
    assert len(seen.rows) == 9 and seen.rows[0] != slots(network())
    rule = Swap(Once(1), Fraction(0.3), DropSmallest(), rw.rewiring.GrowRandom(rw.Zeros()),
                redistribute=RedistributeByMomentum())  # fmt: skip
    assert rule.probe_batches == 1
    _, seen = trained(rule, optimizer=rw.SGD(0.1))
    assert len(seen.rows) == 1 and seen.rows[0] != slots(network())
    alone = network()
    with pytest.raises(RuntimeError, match="no gradients to look at"):
        rewired(rule, alone, TrainingProgress(1, 4, True), 1, 1)


# --- redistribution as a part of any rule -------------------------------------------------

TAKERS = ("set", "magnitude", "rigl", "itop", "snfs", "cht")


@pytest.mark.parametrize("name", TAKERS)
@pytest.mark.parametrize(
    ("word", "kind"),
    [("momentum", RedistributeByMomentum), ("survivors", RedistributeBySurvivors), (None, Redistribute)],
)
def test_rules_take_a_redistribution_by_its_word(name, word, kind):
    rule = rw.rewiring.rewiring({"name": name, "redistribute": word})
    assert type(rule.redistribute) is kind
    again = rw.rewiring.rewiring(rule.config())
    assert type(again.redistribute) is kind and again.config() == rule.config()
    assert rule.set_params(redistribute="survivors").redistribute.name == "survivors"


def test_redistribution_by_its_description_and_what_is_none():
    rule = rw.SET(redistribute={"name": "momentum", "cap": 0.5})
    assert rule.redistribute.cap == 0.5
    assert rule.config()["redistribute"] == {"name": "momentum", "cap": 0.5}
    assert rw.SET().config()["redistribute"] is None
    with pytest.raises(ValueError, match="redistribute must be one of 'momentum', 'survivors', got 'all'"):
        rw.RigL(redistribute="all")
    with pytest.raises(TypeError, match="redistribute must be one of .* got 3"):
        rw.RigL(redistribute=3)

    class Mine(Redistribute):
        pass

    with pytest.raises(NotImplementedError, match="Mine cannot be saved"):
        rw.RigL(redistribute=Mine()).config()


def test_snfs_in_layers_moves_no_budgets():
    net = network()
    before = slots(net)
    _, seen = trained(rw.SNFS(every=EVERY_OTHER, redistribute=None), net)
    assert len(seen.rows) == 9 and all(row == before for row in seen.rows)


def test_rigl_looks_at_as_many_batches_as_it_is_told():
    """With equal samples every batch has the same gradient, times its weight."""
    for x, dz in probed(rw.RigL(every=2, batches=3, beta=0.5), network(dtype="float64")).values():
        assert x.shape[0] == dz.shape[0] == 48
        for i in (1, 2):
            np.testing.assert_allclose(dz[16 * i : 16 * (i + 1)], dz[:16] * 0.5**i, rtol=1e-12)


def test_set_ends_and_its_fraction_falls():
    """36 steps in 9 epochs: the last rewirings are before 26 steps, and the fraction falls along a cosine."""
    rule = rw.SET(0.4, decay="cosine", end=26)
    trainer, _ = trained(rule, epochs=9)
    rows = trainer.history["links_removed"]
    removed = [sum(row) for row in rows]
    assert all(n > 0 for n in removed[1:6]) and not any(removed[7:])
    assert removed[1] > removed[3] > removed[5]
    assert trained(rw.SET(0.4, end=26), epochs=9)[0].rewirings == trainer.rewirings == 6
    assert rw.SET().end is None and rw.SET(end=0.5).run_fractions() == {"end": 0.5}
