"""Links that lie on no path from an input to an output."""

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire.rewiring.chains import chain_links, without_chains

NONE = np.zeros(0, np.int32)


def network(seed, group=1, density=0.15, middle=None):
    return rw.Sequential(
        [
            rw.Sparse(9, 13, density=density, activation="relu", group=group),
            rw.Dropout(0.1),
            rw.Sparse(13, 11, density=density, activation="relu", group=group) if middle is None else middle,
            rw.Sparse(11, 10, density=density, activation="relu", group=group),
            rw.Sparse(10, 3, density=0.5, activation="softmax"),
        ],
        seed=seed,
    )


def plan_of(layer, drop=(), grow=()):
    plan = _core.Plan(layer.core)
    both = [np.array(sorted(positions), np.int32).reshape(-1, 2).T.copy() for positions in (drop, grow)]
    plan.pairs(*both[0], *both[1], None)
    return plan


def random_plans(net, rng, layers=None):
    """Removals of a third of the links and some new links, layer by layer."""
    plans = []
    for layer in [q.owner for q in net.sparse_parameters] if layers is None else layers:
        live = positions(layer)
        drop = {p for p in live if rng.random() < 1 / 3}
        anywhere = [(g, j) for g in range(layer.store.n_groups) for j in range(layer.n_in)]
        grow = {p for p in anywhere if p not in live - drop and rng.random() < 0.03}
        plans.append(plan_of(layer, drop, grow))
    return plans


def positions(layer):
    store = layer.store
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    return set(zip(groups.tolist(), store.sources().tolist(), strict=True))


def pairs(arrays):
    return set(zip(*(a.tolist() for a in arrays), strict=True))


def slow(net, plans):
    """Whole matrices: sweep until nothing changes."""
    layers, planned, live = net.weight_layers, {}, []
    for layer in layers:
        if isinstance(layer, rw.Dense):
            live.append(np.ones((layer.n_out, layer.n_in), bool))
            continue
        live.append(np.zeros((layer.store.n_groups, layer.n_in), bool))
        stays = positions(layer)
        for plan in plans:
            if plan.store is layer.core:
                planned[layer.weight.name] = set()
                stays = stays - pairs(plan.removed()) | pairs(plan.inserted())
        for position in stays:
            live[-1][position] = True
    changed = True
    while changed:
        changed = False
        for i, layer in enumerate(layers):
            if layer.weight.name not in planned:
                continue
            for g, j in np.argwhere(live[i]).tolist():
                rows = range(g * layer.group, min((g + 1) * layer.group, layer.n_out))
                dead_end = i + 1 < len(layers) and not any(live[i + 1][:, r].any() for r in rows)
                before = layers[i - 1]
                dead_start = i > 0 and not live[i - 1][j // getattr(before, "group", 1)].any()
                if dead_end or dead_start:
                    live[i][g, j] = False
                    planned[layer.weight.name].add((g, j))
                    changed = True
    return planned


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("seed", range(8))
def test_chains_are_what_sweeping_to_the_end_finds(seed, group):
    net = network(seed, group, density=0.08 * group**0.2)
    plans = random_plans(net, np.random.default_rng(seed))
    found = chain_links(net, plans)
    assert {i: pairs(p) for i, p in found.items()} == slow(net, plans)
    assert sum(len(groups) for groups, _ in found.values()) > 0
    for groups, sources in found.values():
        assert groups.dtype == sources.dtype == np.int32
        assert np.array_equal(np.lexsort((sources, groups)), np.arange(len(groups)))


@pytest.mark.parametrize("planned", [[0], [1, 2], [3], []])
@pytest.mark.parametrize("seed", range(4))
def test_layers_without_a_plan_keep_their_links(seed, planned):
    net = network(seed, density=0.08)
    plans = random_plans(net, np.random.default_rng(seed), [net.weight_layers[i] for i in planned])
    found = chain_links(net, plans)
    assert {i: pairs(p) for i, p in found.items()} == slow(net, plans)
    assert set(found) == {net.weight_layers[i].weight.name for i in planned}


@pytest.mark.parametrize("seed", range(4))
def test_a_dense_layer_has_all_links(seed):
    net = network(seed, middle=rw.Dense(13, 11, activation="relu"))
    plans = random_plans(net, np.random.default_rng(seed))
    assert {i: pairs(p) for i, p in chain_links(net, plans).items()} == slow(net, plans)


def test_a_chain_is_followed_to_both_ends():
    net = rw.Sequential([rw.Sparse(2, 2, links=0, activation="relu") for _ in range(4)])
    _core.commit([plan_of(layer, grow=[(0, 0), (1, 1)]) for layer in net.layers])
    plans = [plan_of(net.layers[0], [(0, 0)]), *(plan_of(layer) for layer in net.layers[1:])]
    assert [pairs(p) for p in chain_links(net, plans).values()] == [set(), {(0, 0)}, {(0, 0)}, {(0, 0)}]
    plans = [*(plan_of(layer) for layer in net.layers[:3]), plan_of(net.layers[3], [(1, 1)])]
    assert [pairs(p) for p in chain_links(net, plans).values()] == [{(1, 1)}, {(1, 1)}, {(1, 1)}, set()]


def test_nothing_dead_and_nothing_left():
    net = rw.Sequential([rw.Sparse(4, 5, density=1.0, activation="relu"), rw.Sparse(5, 3, density=1.0)])
    everything = [plan_of(layer, positions(layer)) for layer in net.layers]
    for plans in ([plan_of(layer) for layer in net.layers], everything):
        assert [pairs(p) for p in chain_links(net, plans).values()] == [set(), set()]


@pytest.mark.parametrize("group", [1, 4])
def test_plans_without_chains(group):
    net = network(3, group)
    rng = np.random.default_rng(3)
    plans = [
        plan_of(layer, {p for p in positions(layer) if rng.random() < 0.4}) for layer in net.weight_layers
    ]
    chains = chain_links(net, plans)
    made = without_chains(net, plans)
    for layer, old, new in zip(net.weight_layers, plans, made, strict=True):
        assert pairs(new.removed()) == pairs(old.removed()) | pairs(chains[layer.weight.name])
        assert new.n_inserted == 0
    assert sum(plan.n_removed for plan in made) > sum(plan.n_removed for plan in plans)
    assert all(len(groups) == 0 for groups, _ in chain_links(net, made).values())
    _core.commit(made)
    net.validate()
