"""Rules that do something after every step: DEEP R, soft DEEP R, Top-KAST."""

import math

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire.parameters.sparse import PATIENCE
from rewire.rewiring import TrainingProgress
from small import GROWN, SELDOM, rewired

X = np.random.default_rng(0).normal(size=(96, 12)).astype("f4")
Y = np.random.default_rng(1).integers(0, 3, 96)


def network(group=1, dtype="float32", density=0.3, init="he"):
    return rw.Sequential(
        [
            rw.Sparse(12, 20, density=density, activation="all-relu", group=group, init=init),
            rw.Sparse(20, 3, density=0.5, activation="softmax"),
        ],
        seed=2,
        dtype=dtype,
    )


def trainer(rule, optimizer=None, callbacks=(), **options):
    return rw.Trainer(
        network(**options), loss="cross_entropy", optimizer=optimizer or rw.SGD(0.1, momentum=0.9),
        rewiring=rule, callbacks=callbacks,
    )  # fmt: skip


def fit(t, epochs=3):
    return t.fit(X, Y, epochs=epochs, batch_size=16, verbose=0)


class AfterStep(rw.Callback):
    """Calls a function with the trainer after every step."""

    def __init__(self, look):
        self.look = look

    def on_step_end(self, state):
        self.look(state.trainer)


def positions(layer, name="weight"):
    """{(group, source): values} of a layer's field."""
    store = layer.store
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    pairs = zip(groups.tolist(), store.sources().tolist(), strict=True)
    return dict(zip(pairs, store.get_field(name), strict=True))


# --- what a rule is told after a step ---------------------------------------------------


def test_a_rule_is_told_the_rate_of_the_step_and_its_time_counts():
    told = []

    class Listens(rw.Static):
        def stepped(self, parameters, progress, threads, **options):
            told.append(progress)

    optimizer = rw.SGD(0.1, schedule=rw.Cosine(18, unit="step"))
    t = trainer(Listens(), optimizer)
    history = fit(t)
    assert [m.step for m in told] == list(range(1, 19))
    assert [m.epoch for m in told] == [0] * 6 + [1] * 6 + [2] * 6
    rates = [optimizer.rate(m.epoch, m.step - 1) for m in told]
    assert [m.lr for m in told] == rates and len(set(rates)) > 1
    assert min(history["seconds_rewiring"]) > 0
    assert max(fit(trainer(rw.Static()))["seconds_rewiring"]) == 0


def test_a_structure_that_may_soon_be_gone_gets_no_mirror():
    def wide(rule, steps):
        net = rw.Sequential([rw.Sparse(9, 40), rw.Sparse(40, 30, fan_in=7), rw.Sparse(30, 3)], seed=1)
        t = rw.Trainer(net, loss="cross_entropy", rewiring=rule)
        t.fit(X[: 8 * steps, :9], Y[: 8 * steps], batch_size=8, verbose=0)
        return net.layers[1].core.has_mirror

    assert not wide("static", PATIENCE - 1) and wide("static", PATIENCE)
    assert not wide(rw.DeepR(noise=1.0), 12)


# --- DEEP R -----------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("every", [1, 4])
def test_a_link_never_changes_its_sign(group, every):
    seen, signs = [0, 0], {}

    def look(t):
        for layer in t.network.layers:
            known, weights = positions(layer, "sign"), positions(layer)
            signs[layer.index] = {
                position: sign for position, sign in signs.get(layer.index, {}).items() if position in weights
            }
            for position, weight in weights.items():
                side = np.where(weight > 0, 1, 2)
                there = weight != 0
                assert (side == known[position])[there].all()
                seen[0] += 1
                seen[1] += not there.any()

    t = trainer(rw.DeepR(0.1, noise=0.5, every=every), callbacks=[AfterStep(look)], group=group)
    fit(t)
    assert seen[1] > 0 and t.rewirings == (17 if every == 1 else 4)


def test_new_links_are_tiny_and_fresh():
    t = trainer(rw.DeepR(0.1, noise=5.0), rw.Adam(0.01))
    fit(t, 1)
    before = [positions(layer) for layer in t.network.layers]
    t.set_births()
    record = rewired(t.rewiring, t.network, TrainingProgress(1, 6, True, lr=0.01), 6, 1)
    assert record.removed == record.grown and sum(record.grown) > 5
    signs = set()
    for layer, old in zip(t.network.layers, before, strict=True):
        fields = {name: positions(layer, name) for name in layer.store.fields}
        removed = {position for position, weight in old.items() if not weight.any()}
        new = [p for p, w in fields["weight"].items() if p not in old or (p in removed and w.any())]
        assert len(new) == len(removed) == record.grown[layer.index]
        for position in new:
            weight = fields["weight"][position]
            assert np.abs(weight) == np.float32(1e-12)
            assert fields["sign"][position] == (1 if weight > 0 else 2)
            assert not fields["adam_m"][position].any() and not fields["adam_v"][position].any()
            assert fields["birth_step"][position] == 7
            signs.add(float(np.sign(weight[0])))
        for position in set(old) - removed:
            assert np.array_equal(fields["weight"][position], old[position])
    assert signs == {-1.0, 1.0}


def test_noise_and_temperature_are_two_words_for_one_thing():
    lr, noise = 0.3, 0.02
    same = rw.DeepR(temperature=lr * noise**2 / 2)
    assert math.isclose(same.deviation(lr), rw.DeepR(noise=noise).deviation(lr))
    assert same.deviation(lr / 4) == same.deviation(lr) / 2  # noise would have it at a quarter
    assert rw.DeepR().noise == 1e-5 and rw.DeepR().temperature is None


def test_full_layers_do_not_walk():
    net = rw.Sequential([rw.Sparse(6, 5, density=1.0), rw.Sparse(5, 3, density=0.6)], seed=1)
    before = [layer.store.get_field("weight") for layer in net.layers]
    rule = rw.DeepR(noise=1.0)
    rule.prepare(net.sparse_parameters)
    rule.stepped(net.sparse_parameters, TrainingProgress(0, 1, False, lr=0.1), 1, seed=net.seed)
    assert np.array_equal(net.layers[0].store.get_field("weight"), before[0])
    assert not np.array_equal(net.layers[1].store.get_field("weight"), before[1])


def test_a_start_of_zeros_takes_signs_from_its_first_step():
    t = trainer(rw.DeepR(0.0, noise=0.0), rw.SGD(0.1), init=0.0)
    t.network.layers[1].store.set_field("weight", np.full((30, 1), 0.5, "f4"))
    t.fit(X[:16], Y[:16], batch_size=16, verbose=0)
    signs, weights = (t.network.layers[0].store.get_field(name) for name in ("sign", "weight"))
    assert (signs == np.where(weights < 0, 2, 1)).all()


# --- soft DEEP R ------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"noise": 1e-3}, {"noise": 2e-4}, {"temperature": 1e-8, "every": 3}])
def test_without_gradients_the_number_of_links_stays(options):
    """Drops and growth balance where the paper says: at p, with theta exponential."""
    p, lr = 0.1, 0.05
    net = rw.Sequential([rw.Sparse(150, 100, density=p), rw.Sparse(100, 2)], seed=4, dtype="float64")
    rule, store, memory = rw.SoftDeepR(**options), net.layers[0].store, {}
    beta = 2 * lr * rule.l1 / rule.deviation(lr) ** 2
    rng = np.random.default_rng(3)
    store.set_field(
        "weight", rng.exponential(1 / beta, (store.slots, 1)) * rng.choice([-1, 1], (store.slots, 1))
    )
    rule.prepare(net.sparse_parameters)
    counts, sizes = [], []
    for step in range(1, 1501):
        progress = TrainingProgress(0, step, False, lr=lr)
        rule.stepped(net.sparse_parameters, progress, 1, seed=net.seed)
        if step % rule.every.n == 0:
            rewired(rule, net, progress, step, 1, memory=memory)
            counts.append(store.slots)
            sizes.append(beta * np.abs(store.get_field("weight")).mean())
    assert np.mean(counts) == pytest.approx(p * 150 * 100, rel=0.06)
    assert np.mean(sizes) == pytest.approx(1.0, rel=0.06)


def test_the_prior_s_density_is_that_of_the_start_or_as_asked():
    def grown(**options):
        net = rw.Sequential([rw.Sparse(300, 200, density=0.05), rw.Sparse(200, 3)], seed=4)
        memory = {}
        rule = rw.SoftDeepR(0.01, noise=1.0, **options)
        record = rewired(rule, net, TrainingProgress(0, 1, False, lr=0.1), memory=memory)
        assert memory["step"] == 1 and memory["initial_density"]["layers.0.weight"] == 0.05
        return record.grown[0]

    # 57,000 empty positions with a chance of 0.8 * l1 / noise * p / (1 - p) each
    assert abs(grown() - 24) < 20
    assert abs(grown(density=0.5) - 456) < 84
    assert grown(density=0.0) == 0


# --- Top-KAST ---------------------------------------------------------------------------


def in_forward(layer):
    return layer.store.get_field("mask")[:, 0].astype(bool)


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("optimizer", [rw.SGD(0.1, momentum=0.9), rw.Adam(0.01)])
def test_forward_uses_set_a_alone(group, optimizer):
    looks = [0]

    def look(t):
        looks[0] += 1
        for layer in t.network.layers:
            store = layer.store
            up, theta, weight = in_forward(layer), store.get_field("theta"), store.get_field("weight")
            assert up.sum() == max(1, math.floor(0.4 * store.slots + 0.5))
            assert not weight[~up].any() and np.array_equal(weight[up], theta[up])
            assert theta[~up].any()

    t = trainer(rw.TopKAST(0.4, every=3, end=1.0), optimizer, [AfterStep(look)], group=group)
    slots = [layer.store.slots for layer in t.network.layers]
    fit(t)
    assert looks[0] == 18 and [layer.store.slots for layer in t.network.layers] == slots


@SELDOM
@pytest.mark.parametrize("optimizer", [lambda: rw.SGD(0.1, momentum=0.9), lambda: rw.Adam(0.01)])
def test_the_others_learn_the_gradients_of_the_network_that_is_set_a(optimizer):
    """A step does to their thetas what it does to weights of zero in a network of the same links."""
    t = trainer(rw.TopKAST(0.4, penalty=0.0), optimizer())
    t.rewiring.prepare(t.network.sparse_parameters)
    rewired(t.rewiring, t.network, TrainingProgress(0, 0, True, 1, 1, 0.1), 1, 1)
    twin = trainer("static", optimizer())
    before = []
    for layer, other in zip(t.network.layers, twin.network.layers, strict=True):
        before.append(layer.store.get_field("theta"))
        other.store.set_field("weight", layer.store.get_field("weight"))
    for one in (t, twin):
        one.fit(X[:16], Y[:16], batch_size=16, verbose=0)
    for layer, other, theta in zip(t.network.layers, twin.network.layers, before, strict=True):
        up, learned = in_forward(layer), other.store.get_field("weight")
        assert np.array_equal(layer.store.get_field("weight")[up], learned[up])
        assert np.array_equal(layer.store.get_field("theta")[~up], theta[~up] + learned[~up])
        assert learned[~up].any() and theta[~up].all()


@SELDOM
def test_weight_decay_reaches_every_theta():
    t = trainer(rw.TopKAST(0.4, penalty=0.0), rw.SGD(0.1, weight_decay=0.5, decay="per_step"))
    t.rewiring.prepare(t.network.sparse_parameters)
    t.rewiring.rewire(
        t.network.sparse_parameters, TrainingProgress(0, 0, True, 1, 1, 0.1), 1, 1, seed=t.network.seed
    )
    before = [np.abs(layer.store.get_field("theta")) for layer in t.network.layers]
    t.fit(X[:1] * 0, Y[:1], batch_size=1, verbose=0)  # without inputs the first layer has no gradients
    assert np.array_equal(np.abs(t.network.layers[0].store.get_field("theta")), before[0] / 2)


def test_the_penalty_has_the_parameters_factor_on_the_rate():
    rule, net = rw.TopKAST(0.4, penalty=0.5), network()
    first, second = net.sparse_parameters[:2]
    first.rate = 0.25
    rule.prepare(net.sparse_parameters)
    rewired(rule, net, TrainingProgress(0, 0, True, 1, 10, 0.1), 1, 1)
    before = [q.read("theta") for q in (first, second)]
    rule.stepped(net.sparse_parameters, TrainingProgress(0, 1, False, 1, 10, 0.1), 1, seed=net.seed)
    for parameter, old, rate in zip((first, second), before, (0.025, 0.1), strict=True):
        up = parameter.read("mask").astype(bool)
        np.testing.assert_allclose(parameter.read("theta")[up], old[up] * (1 - rate * 0.5), rtol=1e-6)


@SELDOM
def test_weights_that_somebody_sets_are_taken_over():
    t = trainer(rw.TopKAST(0.4, penalty=0.0, every=1000, end=1000), rw.SGD(1e-30))
    fit(t, 1)
    store = t.network.layers[0].store
    up, theta = in_forward(t.network.layers[0]), store.get_field("theta")
    first, other = np.flatnonzero(up)[0], np.flatnonzero(~up)[0]
    weights = store.get_field("weight")
    weights[first], weights[other] = 0.25, 0.5
    store.set_field("weight", weights)
    fit(t, 1)
    now, found = in_forward(t.network.layers[0]), store.get_field("weight")
    assert now[first] and now[other] and now.sum() == up.sum() + 1
    assert np.array_equal(found, weights) and np.array_equal(store.get_field("theta")[~now], theta[~now])


@SELDOM
@GROWN
def test_another_rule_trains_the_weights_again():
    t = trainer(rw.TopKAST(0.4))
    fit(t, 1)
    assert all(layer.weight.master == "theta" for layer in t.network.layers)
    t.rewiring = rw.SET()
    before = t.network.layers[0].store.get_field("weight")
    fit(t, 1)
    assert all(layer.weight.master is None for layer in t.network.layers)
    assert not np.array_equal(t.network.layers[0].store.get_field("weight"), before)


@GROWN
def test_at_the_end_set_a_is_alone():
    t = trainer(rw.TopKAST(0.4, every=2, end=0.5, fraction=0.5))
    slots = [layer.store.slots for layer in t.network.layers]
    history = fit(t, 4)
    kept = [max(1, math.floor(0.4 * n + 0.5)) for n in slots]
    assert [layer.store.slots for layer in t.network.layers] == kept
    assert all(in_forward(layer).all() for layer in t.network.layers)
    assert history["nnz"] == [slots, slots, kept, kept]
    fit(t, 4)  # a run of 8 epochs now: until its half the layers have all their links again
    assert t.history["nnz"][4:] == [slots if e < 4 else kept for e in range(4, 8)]


def test_an_end_at_once_is_pruning_at_the_start():
    t = trainer(rw.TopKAST(0.4, end=0))
    largest = np.sort(np.abs(t.network.layers[0].store.get_field("weight")[:, 0]))[-29:]
    t.rewiring.prepare(t.network.sparse_parameters)
    rewired(t.rewiring, t.network, TrainingProgress(0, 0, True, 1, 6, 0.1), 1, 1)
    assert np.array_equal(np.sort(np.abs(t.network.layers[0].store.get_field("weight")[:, 0])), largest)


def test_a_full_layer_has_sets_but_nothing_to_replace():
    t = trainer(rw.TopKAST(0.25, every=1, end=1.0), density=1.0)
    history = fit(t)
    assert in_forward(t.network.layers[0]).sum() == 60 and t.network.layers[0].store.slots == 240
    assert all(row[0] == 0 for row in history["links_removed"])


@SELDOM
def test_a_saved_network_has_the_others_at_zero(tmp_path):
    t = trainer(rw.TopKAST(0.4, end=1.0))
    fit(t)
    t.network.save(tmp_path / "net.safetensors")
    loaded = rw.load(tmp_path / "net.safetensors")
    for layer, twin in zip(t.network.layers, loaded.layers, strict=True):
        weights = twin.store.get_field("weight")[:, 0]
        assert np.array_equal(weights != 0, in_forward(layer)) and "theta" not in twin.store.fields
    assert np.array_equal(loaded.predict(X), t.network.predict(X))
    t.save(tmp_path / "trainer.safetensors")
    resumed = rw.Trainer.resume(tmp_path / "trainer.safetensors")
    for layer, twin in zip(t.network.layers, resumed.network.layers, strict=True):
        assert np.array_equal(twin.store.get_field("theta"), layer.store.get_field("theta"))


@SELDOM
def test_an_l1_penalty_stops_at_zero():
    t = trainer(rw.TopKAST(0.4, penalty=1e6, norm="l1"))
    fit(t, 1)
    for layer in t.network.layers:
        assert not layer.store.get_field("weight").any() and not layer.store.get_field("theta").any()


# --- all or nothing ---------------------------------------------------------------------


@GROWN
@pytest.mark.parametrize(
    "rule", [rw.DeepR(0.1, noise=0.5), rw.SoftDeepR(0.02, noise=0.3), rw.TopKAST(0.4, every=1, end=1.0)],
    ids=lambda rule: rule.name,
)  # fmt: skip
def test_a_rewiring_without_memory_changes_nothing(rule, monkeypatch):
    t = trainer(rule)
    fit(t, 1)
    before, memory = t.arrays(), dict(t.rule_memory())

    def refuse(*_):
        raise MemoryError

    monkeypatch.setattr(_core, "commit", refuse)
    with pytest.raises(MemoryError):
        fit(t, 1)
    after = t.arrays()
    assert all(np.array_equal(before[name], after[name]) for name in before | after)
    assert t.rule_memory() == memory and t.rewirings == (5 if rule.name != "top-kast" else 6)
    monkeypatch.undo()
    assert rewired(t.rewiring, t.network, TrainingProgress(1, 6, True, 2, 12, 0.1), 9, 1, memory=memory).grown


@pytest.mark.parametrize("field", ["weight", "momentum", "other"])
def test_fields_of_another_kind_are_refused(field):
    store = network().layers[0].core
    store.add_field("momentum", "float32")
    store.add_field("other", "int64")
    with pytest.raises(ValueError, match="deepr_step"):
        _core.deepr_step(store, field, 0.0, 0.0, 1, 1, 1, 1)
    with pytest.raises(ValueError, match="deepr_signs"):
        _core.deepr_signs(store, field)
    with pytest.raises(ValueError, match="topkast_select"):
        none = np.zeros(0, np.int32)
        _core.topkast_select(store, field, field, none, none, none.astype(np.uint8))
    with pytest.raises(KeyError, match="no field 'sing'"):
        _core.deepr_step(store, "sing", 0.0, 0.0, 1, 1, 1, 1)
