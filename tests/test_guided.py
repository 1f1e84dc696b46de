"""GSE, ITOP, SRigL and SNIP: what each promises beside what every rule promises."""

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire.rewiring import GradientProbe, GrowByGradient, TrainingProgress
from rewire.rewiring.gse import GrowByCandidates, _largest, candidates
from small import SELDOM, context_of


def data(samples=96, features=12, classes=3):
    rng = np.random.default_rng(4)
    return rng.normal(size=(samples, features)), rng.integers(0, classes, samples)


def trained(rule, layers, epochs=3, seed=0, **options):
    trainer = rw.Trainer(
        rw.Sequential(layers, seed=seed), loss="cross_entropy", optimizer=rw.SGD(0.1, momentum=0.9),
        rewiring=rule, **options,
    )  # fmt: skip
    X, y = data(features=layers[0].n_in)
    trainer.fit(X, y, epochs=epochs, batch_size=16, verbose=0)
    return trainer


class At(rw.Callback):
    """Calls a function with the network after every rewiring."""

    def __init__(self, look):
        self.look, self.times = look, 0

    def on_rewire(self, state):
        self.times += 1
        self.look(state)


# --- GSE --------------------------------------------------------------------------------


def one_layer(layer, x, dz):
    """The context of a network of one layer, whose probe holds these inputs and gradients."""
    network = rw.Sequential([layer])
    probe = GradientProbe({layer.weight.name: (x, dz)})
    return context_of(network, TrainingProgress(0, 1, False), probe=probe)


@pytest.mark.parametrize("kind", ["uniform", "grabo", "graest"])
@pytest.mark.parametrize("group", [1, 4])
def test_candidates_are_empty_positions_named_once(kind, group):
    rng = np.random.default_rng(0)
    layer = rw.Sparse(20, 30, density=0.3, group=group)
    context = one_layer(layer, rng.normal(size=(70, 20)), rng.normal(size=(70, 30)))
    live = set(zip(*links(layer), strict=True))
    groups, sources = candidates(layer.weight, 500, kind, context)
    positions = list(zip(groups.tolist(), sources.tolist(), strict=True))
    assert positions == sorted(set(positions)) and not live & set(positions) and len(positions) > 50
    assert groups.max() < layer.store.n_groups and sources.max() < 20


def links(layer):
    """Groups and sources of all links."""
    store = layer.store
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    return groups.tolist(), store.sources().tolist()


@pytest.mark.parametrize("kind", ["grabo", "graest"])
def test_candidates_are_drawn_as_often_as_their_sums_say(kind):
    """Independent draws: a position is among n of them with a chance of 1 - (1 - p q) ** n."""
    rng = np.random.default_rng(1)
    layer = rw.Sparse(4, 6, links=0, group=2)
    # One sample: GraEst's estimate is |x dz| for every sign, as GraBo's bound is.
    x, dz = np.array([[0.0, 1.0, -2.0, 5.0]]), rng.normal(size=(1, 6))
    p, q = np.abs(x[0]) / np.abs(x).sum(), np.abs(dz[0]).reshape(3, 2).sum(axis=1) / np.abs(dz).sum()
    often, rounds, n = np.zeros((3, 4)), 3000, 6
    context = one_layer(layer, x, dz)
    for context.ordinal in range(rounds):
        often[candidates(layer.weight, n, kind, context)] += 1
    chance = 1 - (1 - np.outer(q, p)) ** n
    assert often[:, 0].sum() == 0
    assert np.abs(often / rounds - chance).max() < 4.5 * np.sqrt(0.25 / rounds)


def test_graest_estimates_the_gradient_without_bias():
    """The mean over signs of (sum s x) (sum s dz) is the gradient; the draws go by its factors."""
    rng = np.random.default_rng(2)
    x, dz = rng.normal(size=(5, 3)), rng.normal(size=(5, 4))
    signs = np.array(np.meshgrid(*[[-1, 1]] * 5)).reshape(5, -1)
    np.testing.assert_allclose(
        np.mean([np.outer(s @ dz, s @ x) for s in signs.T], axis=0), dz.T @ x, atol=1e-12
    )
    layer, often = rw.Sparse(3, 4, links=0), np.zeros((4, 3))
    context, rounds = one_layer(layer, x, dz), 4000
    for context.ordinal in range(rounds):
        often[candidates(layer.weight, 1, "graest", context)] += 1
    factors = [np.abs(np.outer(s @ dz, s @ x)) for s in signs.T]
    chance = np.mean([f / f.sum() for f in factors], axis=0)
    assert np.abs(often / rounds - chance).max() < 4.5 * np.sqrt(0.25 / rounds)


@pytest.mark.parametrize("group", [1, 2])
def test_with_every_position_a_candidate_growth_is_exact(group):
    rng = np.random.default_rng(6)
    layer = rw.Sparse(20, 30, density=0.2, group=group)
    context = one_layer(layer, rng.normal(size=(9, 20)), rng.normal(size=(9, 30)))
    found = []
    candidates_alone = GrowByCandidates(rw.Zeros(), "uniform", 300.0, "layer")
    for grow in (candidates_alone, GrowByGradient(rw.Zeros(), refill=False)):
        plan = _core.Plan(layer.core)
        grow.place(plan, layer.weight, 40, context)
        found.append([a.tolist() for a in plan.inserted()])
    assert found[0] == found[1]


def test_the_largest_of_many():
    rng = np.random.default_rng(3)
    for n in (0, 1, 5, 200):
        score = rng.integers(0, 6, n).astype(float)
        for count in (0, 1, n // 2, n, n + 3):
            expected = sorted(sorted(range(n), key=lambda i: (-score[i], i))[:count])
            assert _largest(score, count).tolist() == expected


@SELDOM
@pytest.mark.parametrize(("kind", "n"), [("graest", 1_000_000), ("grabo", 200_000), ("uniform", 200_000)])
def test_layers_of_a_million_neurons(kind, n):
    """10^12 positions: anything of that size would be 10^12 bytes or more; of 4 * 10^10 it would be too."""
    layers = [
        rw.Sparse(8, n, links=30_000, activation="relu"),
        rw.Sparse(n, n, links=100_000, activation="relu"),
        rw.Sparse(n, 3, links=30_000),
    ]
    rule = rw.GSE(candidates=kind, every=2, end=1.0, scope="layer")
    trainer = rw.Trainer(rw.Sequential(layers, seed=1), loss="cross_entropy", rewiring=rule)
    X, y = data(16, 8)
    history = trainer.fit(X, y, epochs=1, batch_size=4, verbose=0)
    assert trainer.rewirings == 1 and history["links_grown"][0][1] == 10_000
    assert [layer.nnz for layer in layers] == [30_000, 100_000, 30_000]


# --- SRigL ------------------------------------------------------------------------------


def fan_ins(layer):
    return np.diff(layer.store.indptr())


@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("start", [{"fan_in": 5}, {"links": 131}, {"links": 3}])
def test_fan_in_is_constant_and_links_stay_as_many(start, group):
    def layers():
        return [rw.Sparse(12, 26, activation="relu", group=group, **start), rw.Sparse(26, 3, density=0.4)]

    before = [layer.store.slots for layer in rw.Sequential(layers()).layers]

    def look(state):
        for layer, slots in zip(state.network.layers, before, strict=True):
            lengths = fan_ins(layer)[fan_ins(layer) > 0]
            assert lengths.sum() == layer.store.slots == slots
            assert lengths.tolist() == sorted(lengths, reverse=True) and lengths[0] - lengths[-1] <= 1

    watch = At(look)
    trained(rw.SRigL(0.5, every=2, end=1.0), layers(), epochs=4, callbacks=[watch])
    assert watch.times >= 10


def test_neurons_without_salient_links_are_ablated_but_no_outputs():
    """Five neurons with weights near zero and without outgoing links: no gradient, and the smallest links."""
    layers = [rw.Sparse(12, 20, fan_in=4, activation="tanh"), rw.Sparse(20, 3, density=0.8)]
    net = rw.Sequential(layers, seed=2)
    weight = net.layers[0].store.get_field("weight")
    weight[: 5 * 4] *= 1e-9
    net.layers[0].store.set_field("weight", weight)
    left = np.array([position for position in zip(*links(net.layers[1]), strict=True) if position[1] < 5])
    net.layers[1].store.remove(left[:, 0], left[:, 1])
    trainer = rw.Trainer(
        net, loss="cross_entropy", optimizer=rw.SGD(0.1), rewiring=rw.SRigL(0.3, every=2, salient=0.5)
    )
    X, y = data()
    trainer.fit(X, y, epochs=3, batch_size=16, verbose=0)
    lengths = fan_ins(net.layers[0])
    assert lengths[:5].tolist() == [0] * 5 and lengths.sum() == 80
    assert sorted(lengths[5:], reverse=True) == lengths[5:].tolist() == [6] * 5 + [5] * 10
    assert (fan_ins(net.layers[1]) > 0).all()


@pytest.mark.parametrize("salient", [0.0, 1.0])
def test_ablation_has_its_limits(salient):
    """Never more than leave room for all links; without salience nobody goes."""
    layers = [rw.Sparse(6, 30, links=100, activation="tanh"), rw.Sparse(30, 3, links=60)]
    trainer = trained(rw.SRigL(0.9, every=1, end=1.0, salient=salient, skip_step=False), layers)
    active = np.count_nonzero(fan_ins(trainer.network.layers[0]))
    assert trainer.network.layers[0].nnz == 100 and active >= 17
    assert active == 30 if salient == 0.0 else active < 30
    assert np.count_nonzero(fan_ins(trainer.network.layers[1])) == 3


# --- ITOP -------------------------------------------------------------------------------


def test_itop_takes_much_and_seldom():
    assert (rw.ITOP().every, rw.ITOP("rigl").every) == (rw.Steps(1500), rw.Steps(4000))
    rule = rw.ITOP(every=6)
    layers = [rw.Sparse(12, 20, links=100, activation="relu"), rw.Sparse(20, 3, links=30)]
    trainer = trained(rule, layers, epochs=4)  # 24 steps: before the 7th, 13th and 19th
    removed = [row["links_removed"] for row in trainer.history.epochs]
    fractions = [0.005 + 0.495 / 2 * (1 + np.cos(np.pi * t / 24)) for t in (6, 12, 18)]
    assert removed == [[0, 0], *([int(f * 100), int(f * 30)] for f in fractions)]


# --- SNIP -------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("batches", [1, 3])
def test_snip_cuts_once_to_its_density(scope, batches):
    layers = [rw.Sparse(12, 20, density=1.0, activation="tanh"), rw.Sparse(20, 3, density=1.0)]
    trainer = trained(rw.SNIP(0.11, scope=scope, batches=batches), layers)
    nnz = [layer.nnz for layer in trainer.network.layers]
    assert sum(nnz) == 33 and trainer.rewirings == 1
    assert nnz == [26, 7] or scope == "global"
    trainer.fit(*data(), epochs=1, verbose=0)
    assert trainer.rewirings == 1 and [layer.nnz for layer in trainer.network.layers] == nnz


def test_snip_before_a_later_step_and_without_the_output_layer():
    layers = [rw.Sparse(12, 20, density=1.0, activation="tanh"), rw.Sparse(20, 3, density=1.0)]
    steps = []
    watch = At(lambda state: steps.append(state.trainer.step))
    trainer = trained(rw.SNIP(0.25, step=8, layers="hidden"), layers, callbacks=[watch])
    assert steps == [8] and [layer.nnz for layer in trainer.network.layers] == [60, 60]
