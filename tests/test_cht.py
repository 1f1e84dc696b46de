"""Cannistraci-Hebb training: what is weak, what comes back, chains, layers that stop, and messages."""

import json

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire.rewiring import DropSmallest, DropWeakest, Fraction, GrowByPaths, TrainingProgress
from rewire.rewiring.cht import importances
from small import context_of, rewired

X = np.random.default_rng(0).normal(size=(60, 12)).astype("f4")
Y = np.random.default_rng(1).integers(0, 3, 60)
NOW = TrainingProgress(1, 4, True, 4, 16)


def network(group=1, seed=0, density=0.25):
    return rw.Sequential(
        [
            rw.Sparse(12, 20, density=density, activation="all-relu", group=group),
            rw.Sparse(20, 17, density=density, activation="all-relu", group=group),
            rw.Sparse(17, 3, density=0.5, activation="softmax"),
        ],
        seed=seed,
    )


def trained(rule, epochs=1, group=1, **options):
    trainer = rw.Trainer(
        network(group), loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9), rewiring=rule, **options
    )
    trainer.fit(X, Y, epochs=epochs, batch_size=16, verbose=0)
    return trainer


def links(layer, field="weight"):
    """{(group, source): values} of a layer."""
    store = layer.store
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    return dict(zip(zip(groups.tolist(), store.sources().tolist(), strict=True), store.get_field(field),
                    strict=True))  # fmt: skip


def positions(arrays):
    return set(zip(*(a.tolist() for a in arrays), strict=True))


# --- what goes --------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 4])
def test_relative_importance(group):
    net = network(group)
    for layer in net.layers:
        w = np.zeros((layer.store.n_groups * layer.group, layer.n_in))
        for (g, j), values in links(layer).items():
            w[g * layer.group : (g + 1) * layer.group, j] = np.abs(values)
        with np.errstate(invalid="ignore"):
            each = np.nan_to_num(w / w.sum(axis=0)) + np.nan_to_num(w / w.sum(axis=1)[:, None])
        found = each.reshape(layer.store.n_groups, layer.group, layer.n_in).sum(axis=1)
        np.testing.assert_allclose(importances(layer.weight), [found[p] for p in links(layer)], rtol=1e-12)


def test_links_of_no_importance():
    net = network()
    layer = net.layers[1]
    layer.store.set_field("weight", np.zeros((layer.store.slots, 1), "f4"))
    assert not importances(layer.weight).any()
    record = rewired(rw.CHT(removal="importance", soft_removal=True), net, NOW, 1, 1)
    assert record.removed[1] > 0
    net.validate()


def dropped_and_kept(drop, ordinal=1, progress=NOW, fraction=0.3):
    """Weights of the links that are dropped and of those that stay, in the middle layer."""
    net = network(density=0.8)
    plan = _core.Plan(net.layers[1].core)
    drop.mark(plan, net.layers[1].weight, fraction, context_of(net, progress, ordinal))
    weights = links(net.layers[1])
    removed = positions(plan.removed())
    assert len(removed) == int(fraction * len(weights))
    return [abs(w[0]) for p, w in weights.items() if p in removed], [
        abs(w[0]) for p, w in weights.items() if p not in removed
    ]


def test_soft_removal_sharpens_over_the_run():
    """From chances that are equal to hardly any for the weak."""
    drop = DropWeakest(soft=True, temperature=(0.0, 60.0))
    means = [
        np.mean([np.mean(dropped_and_kept(drop, k, progress)[0]) for k in range(20)])
        for progress in (TrainingProgress(0, step, True, 9, 100) for step in (0, 10, 50, 100))
    ]
    both = dropped_and_kept(drop)
    assert means[0] == pytest.approx(np.mean(both[0] + both[1]), rel=0.05)
    assert means[0] > 1.5 * means[1] and means[1] > means[2] > means[3]
    hard, stays = dropped_and_kept(DropWeakest())
    assert max(hard) <= min(stays)
    assert means[3] == pytest.approx(np.mean(hard), rel=0.2)


def test_what_stays_is_drawn_in_proportion():
    """Of three links of strength 1, 2 and 3 one stays: chances 1/6, 2/6 and 3/6."""
    net = rw.Sequential([rw.Sparse(3, 1, links=3)])
    store, stays = net.layers[0].core, np.zeros(3)
    store.set_field("weight", np.array([[1.0], [-2.0], [3.0]], "f4"))
    for ordinal in range(1, 6001):
        plan = _core.Plan(store)
        context = context_of(net, TrainingProgress(0, 0, True), ordinal)
        DropWeakest(soft=True).mark(plan, net.layers[0].weight, 0.7, context)
        stays[({0, 1, 2} - set(plan.removed()[1].tolist())).pop()] += 1
    assert np.abs(stays / 6000 - np.array([1, 2, 3]) / 6).max() < 0.025  # four deviations


# --- what comes -------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 4])
def test_regrown_links_keep_what_they_held(group):
    trainer = trained(rw.Static(), group=group)
    layer = trainer.network.layers[1]
    before, momenta = links(layer), links(layer, "momentum")
    context = context_of(trainer.network, NOW)
    plan = _core.Plan(layer.core)
    DropSmallest().mark(plan, layer.weight, 0.6, context)
    weak, count = positions(plan.removed()), plan.n_removed
    GrowByPaths().place(plan, layer.weight, count, context)
    back = weak - positions(plan.removed())
    assert 0 < len(back) < count and plan.n_removed == plan.n_inserted == count - len(back)
    new = positions(plan.inserted())
    _core.commit([plan])
    now, momenta_now = links(layer), links(layer, "momentum")
    assert len(now) == len(before)
    for position, weights in now.items():
        if position in new:
            assert not weights.any() and not momenta_now[position].any()
        else:
            assert np.array_equal(weights, before[position])
            assert np.array_equal(momenta_now[position], momenta[position])


def test_a_rule_of_its_parts():
    rule = rw.Swap(rw.Steps(2), Fraction(0.3), DropSmallest(), GrowByPaths("ch2", soft=True))
    trainer = trained(rule, epochs=4)
    assert trainer.rewirings == 7
    assert [layer.nnz for layer in trainer.network.layers] == [layer.nnz for layer in network().layers]
    trainer.network.validate()


def test_scores_by_name_and_room():
    plan = _core.Plan(network().layers[0].core)
    with pytest.raises(ValueError, match=r"score must be one of \['ch2', 'ch3'\], got 'ch4'"):
        plan.grow_paths(1, "ch4", False, 0, 0, 0)
    with pytest.raises(ValueError, match="empty places"):
        plan.grow_paths(12 * 20, "ch3", False, 0, 0, 0)
    assert plan.n_inserted == 0


# --- chains -----------------------------------------------------------------------------


def test_chains_are_dropped_and_as_many_links_grow():
    """A neuron that loses its only outgoing link loses its incoming ones, and budgets stay."""
    net = network()
    middle, last = net.layers[1], net.layers[2]
    lonely = next(i for i in range(17) if len([p for p in links(last) if p[1] == i]) == 1
                  and len([p for p in links(middle) if p[0] == i]) > 2)  # fmt: skip
    for layer in net.layers:
        weights = np.ones((layer.store.slots, 1), "f4")
        if layer is last:
            weights[list(links(last)).index(next(p for p in links(last) if p[1] == lonely))] = 0.001
        layer.store.set_field("weight", weights)
    slots = [layer.store.slots for layer in net.layers]
    incoming = {p for p in links(middle) if p[0] == lonely}
    for chains in (False, True):
        rule = rw.CHT(1 / last.store.slots, chain_removal=chains, overlap=None)
        rule.grow.place = lambda *_: None  # removals alone
        plans = rule.plans(net.sparse_parameters, context_of(net, NOW))
        assert (incoming <= positions(plans[1].removed())) == chains
    rewired(rw.CHT(1 / last.store.slots), net, NOW, 1, 1)
    assert [layer.store.slots for layer in net.layers] == slots
    net.validate()


def test_layers_that_take_no_part_keep_their_links():
    net = network()
    before = links(net.layers[2]).keys()
    rule = rw.CHT(0.9, layers="hidden", overlap=None)
    for ordinal in range(1, 6):
        assert rewired(rule, net, NOW, ordinal, 1).removed[2] == 0
    assert links(net.layers[2]).keys() == before
    net.validate()


# --- layers that stop -------------------------------------------------------------------


def test_a_layer_stops_for_good(tmp_path):
    rule = rw.CHT(every=rw.Steps(2), overlap=0.5)
    trainer = trained(rule, epochs=2)
    stopped = trainer.rule_memory()["stopped"]
    assert stopped and stopped == sorted(set(stopped))
    before = [links(layer).keys() for layer in trainer.network.layers]
    trainer.save(tmp_path / "t.safetensors")
    for one in (rw.Trainer.resume(tmp_path / "t.safetensors"), trainer):
        assert one.rule_memory()["stopped"] == stopped
        rewirings = one.rewirings
        one.fit(X, Y, epochs=1, batch_size=16, verbose=0)
        assert one.rewirings == rewirings + 2  # asked, and nothing to do there
        for layer, kept in zip(one.network.layers, before, strict=True):
            assert layer.weight.name not in stopped or links(layer).keys() == kept


@pytest.mark.parametrize("overlap", [1.0, None])
def test_nothing_stops(overlap):
    trainer = trained(rw.CHT(every=rw.Steps(1), overlap=overlap), epochs=3)
    assert "stopped" not in trainer.rule_memory()


def test_a_rewiring_that_fails_stops_no_layer():
    net, memory = network(), {}
    rule = rw.CHT(overlap=0.0)
    before = [links(layer).keys() for layer in net.layers]
    with net.layers[1].store.view():
        with pytest.raises(BufferError):
            rewired(rule, net, NOW, 1, 1, memory=memory)
    assert memory == {} and [links(layer).keys() for layer in net.layers] == before
    rewired(rule, net, NOW, 1, 1, memory=memory)
    assert memory["stopped"] == [layer.weight.name for layer in net.layers]


def test_removal_alone():
    net = network()
    record = rewired(rw.CHT(0.3, chain_removal=False), net, NOW, 1, 1, regrow=False)
    before = [layer.store.slots for layer in network().layers]
    assert record.removed == [int(0.3 * n) for n in before] and record.grown == [0, 0, 0]


# --- arguments --------------------------------------------------------------------------


def test_a_config_is_json():
    rule = rw.CHT(
        0.2, every=rw.Steps(np.int64(3)), decay="cosine", score="ch2", removal="importance",
        soft_removal=True, soft_growth=True, temperature=np.array([1, 9]), chain_removal=False, overlap=None,
        layers="hidden",
    )  # fmt: skip
    twin = rw.rewiring.rewiring(json.loads(json.dumps(rule.config())))
    assert twin.config() == rule.config()
    assert twin.config()["temperature"] == [1.0, 9.0]
    assert rw.rewiring.rewiring("cht").config() == rw.CHT().config()


@pytest.mark.parametrize("part", [DropWeakest, GrowByPaths])
def test_parts_check_their_arguments(part):  # those of the rule: test_bad_input.py
    with pytest.raises(TypeError, match="soft must be True or False, got 0"):
        part(soft=0)
