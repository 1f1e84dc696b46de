"""Layers, an optimizer and a rule from outside the package do all that those inside do: see ``outside/``."""

import copy
import itertools
import pickle
import re
from typing import NamedTuple

import numpy as np
import pytest

import outside
import rewire as rw
from outside.checks import (
    BY_SAMPLE,
    LAYERS,
    OPTIMIZERS,
    RULES,
    STANDS,
    X,
    assert_equal,
    fit,
    network,
    sparse,
    targets,
    trainer,
)  # fmt: skip
from outside.k_winners import NumpyKWinners
from outside.lion import Lion
from rewire import analysis
from rewire._inputs import as_source
from rewire.cli import main
from rewire.layers import ArrayLayer, Elementwise, FreeEnergy, Mixing
from rewire.layers.passing import Keep, Probe
from rewire.losses import Truth
from rewire.parameters import DenseParameter
from rewire.rewiring import GradientProbe
from small import SELDOM

pytestmark = SELDOM
KINDS = pytest.mark.parametrize("name", LAYERS)


def one_in(n, names, cases):
    """Every n-th case, and all of them in `make soak`: every value of each name comes up all the same."""
    return pytest.mark.parametrize(
        names,
        [
            pytest.param(*case, id="-".join(case), marks=[pytest.mark.soak] * (i % n != 0))
            for i, case in enumerate(cases)
        ],
    )


EVERYWHERE = one_in(2, ("name", "place"), STANDS)
EVERY_SAMPLE_ALONE = one_in(2, ("name", "place"), BY_SAMPLE)
RNG = np.random.default_rng(8)
GROUPS = pytest.mark.parametrize("group", [1, 4])
BITS = {"float32": 1e-4, "float64": 1e-11}


@pytest.fixture(scope="module", autouse=True)
def names():
    """The pieces can be saved and read again."""
    with outside.registered():
        yield


class Batch:
    """A network, samples and a loss: value and gradients at a fixed step."""

    def __init__(self, net, samples):
        loss = rw.losses.loss("cross_entropy" if net.n_out == 3 else "mse")
        self.net, self.loss, self.ws = net, loss, net.workspace()
        self.truth = Truth(loss.targets(targets(net)[:samples], net.n_out), np.arange(samples))
        self.x = net.load_batch(self.ws, as_source(X[:samples], net.n_in), np.arange(samples), 1)
        self.p = net.passing(self.ws, fused=loss.fused(net.final), training=True, step=1)
        self.p.probing = True

    def value(self):
        return self.loss.evaluate(self.net.forward(self.x, self.p)[-1], self.truth, None, None)

    def gradients(self):
        flow, dz = self.net.forward(self.x, self.p), self.ws.tiles("dz", self.net.n_out)
        self.loss.evaluate(flow[-1], self.truth, None, dz)
        self.net.backward(dz, flow, self.p, Keep())
        return self.net.get_vector("gradient")


# --- arithmetic -----------------------------------------------------------------------------


@pytest.mark.in_turn(2)
@GROUPS
@EVERYWHERE
def test_gradients_are_differences(name, place, group):
    check_gradients(network(name, place, group=group))


def check_gradients(net):
    """Some gradients of each parameter are what differences of the loss say."""
    net.set_vector(net.get_vector() + np.random.default_rng(1).normal(0, 0.1, net.n_params))
    batch = Batch(net, 13)
    found, weights = batch.gradients(), net.get_vector()
    assert np.abs(found).max() > 1e-3
    begin, some = 0, []
    for parameter in net.parameters().values():  # not all, to save time; but some of each
        some += [begin + i for i in RNG.permutation(parameter.size)[:12]]
        begin += parameter.size
    for i in some:
        values = []
        for sign in (1, -1):
            moved = weights.copy()
            moved[i] += sign * 1e-6
            net.set_vector(moved)
            values.append(batch.value())
        difference = (values[0] - values[1]) / 2e-6
        assert abs(difference - found[i]) <= 1e-6 * max(1, abs(found[i])), (i, difference, found[i])


def test_branches_leave_alone_what_the_others_get():
    """What the first branch gives for its inputs may lie where the gradient for all outputs is."""
    n = X.shape[1]
    branches = rw.layers.Concat([rw.Sparse(n, n // 2), [rw.Sparse(n, n), rw.Sparse(n, n - n // 2)]])
    layers = [rw.Sparse(n, n, activation="tanh"), branches, rw.Sparse(n, 3, activation="softmax")]
    check_gradients(rw.Sequential(layers, seed=0, dtype="float64"))


@pytest.mark.in_turn(4)
@pytest.mark.parametrize("samples", [1, 7, 33, 90])
@EVERYWHERE
def test_samples_beyond_the_batch_stay_zero(name, place, samples):
    net = network(name, place, dtype="float32")
    batch = Batch(net, samples)
    for training in (True, False):
        batch.p.training = batch.p.keeping = training
        x = batch.x
        for layer in net.layers:
            x = layer.forward(x, batch.p)
            assert not beyond(x).any(), (layer, training)
    batch.p.training = batch.p.keeping = True
    batch.p.learner = Keep()
    flow = net.forward(batch.x, batch.p)
    dy = batch.ws.tiles("dz", net.n_out)
    batch.loss.evaluate(flow[-1], batch.truth, None, dy)
    for layer, x in zip(net.layers[::-1], flow[-2::-1], strict=True):
        dy = layer.backward(dy, x, batch.p, True)
        assert not beyond(dy).any(), layer


def beyond(tiles):
    """The samples that fill up the last tile."""
    return tiles.array().transpose(0, 2, 1).reshape(-1, tiles.n)[tiles.batch :]


@pytest.mark.in_turn(4)
@GROUPS
@pytest.mark.parametrize("dtype", BITS)
@KINDS
def test_outputs_do_not_depend_on_batches_or_threads(name, dtype, group):
    net = network(name, group=group, dtype=dtype)
    whole = net.predict(X)
    for size, threads in itertools.product((1, 7, 32), (1, 2)):
        np.testing.assert_allclose(net.predict(X, batch_size=size, threads=threads), whole, atol=BITS[dtype])
    np.testing.assert_array_equal(net.predict(X, threads=2), whole)


@GROUPS
@EVERY_SAMPLE_ALONE
def test_predictions_are_what_training_computes(name, place, group):
    """Although inner results share their memory there."""
    net = network(name, place, group=group)
    for layer in net.tree.layers.values():
        if isinstance(layer, rw.Dropout):
            layer.p = 0.0
    batch, found = Batch(net, 33), []
    for training in (True, False):
        batch.p.training = batch.p.keeping = training
        found.append(net.forward(batch.x, batch.p)[-1].unpack(None, 1))
        assert training or not np.shares_memory(*found)
    np.testing.assert_array_equal(*found)


def test_a_look_ahead_adds_up_what_shared_weights_do():
    net = network("tied", group=4)
    batch = Batch(net, 13)
    batch.gradients()
    flow, dz = net.forward(batch.x, batch.p), batch.ws.tiles("dz", net.n_out)
    batch.loss.evaluate(flow[-1], batch.truth, None, dz)
    probe = Probe()
    net.backward(dz, flow, batch.p, probe)
    for parameter in net.sparse_parameters:
        kept = parameter.core.get_field("gradient")
        seen = GradientProbe(probe.kept, 1).live(parameter)
        np.testing.assert_allclose(seen, kept, atol=1e-15, err_msg=parameter.name)


# --- training -------------------------------------------------------------------------------


@pytest.mark.in_turn(4)
@GROUPS
@pytest.mark.parametrize("dtype", BITS)
@EVERYWHERE
def test_loss_falls(name, place, dtype, group):
    net = network(name, place, group=group, dtype=dtype)
    assert net.dtype == dtype
    loss = fit(trainer(net), epochs=15)["loss"]
    assert loss[-1] < 0.9 * loss[0]


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@EVERYWHERE
def test_gradients_are_clipped_together(name, place, optimizer):
    net = network(name, place)
    seen = []

    class Look(rw.Callback):
        def on_step_end(self, state):
            seen.append(np.linalg.norm(state.network.get_vector("gradient")))

    fit(trainer(net, optimizer, clip_norm=0.01, callbacks=[Look()]), epochs=1)
    assert len(seen) == 3
    np.testing.assert_allclose(seen, 0.01, rtol=1e-6)


@one_in(5, ("name", "optimizer", "rule"), list(itertools.product(LAYERS, OPTIMIZERS, RULES)))
def test_resumes_bit_for_bit(name, optimizer, rule, tmp_path):
    path = tmp_path / "trainer.safetensors"

    class Save(rw.Callback):
        def on_step_end(self, state):
            if state.trainer.step == 5:  # the epoch has one more batch, of 26 samples
                state.trainer.save(path)

    there = trainer(network(name), optimizer, rule, callbacks=[Save()], horizon=4)
    fit(there, epochs=4)
    again = rw.Trainer.resume(path)
    assert again.step == 5
    fit(again, epochs=3)
    assert_equal(there, again)
    assert there.history["loss"] == again.history["loss"]
    again.network.validate()


@pytest.mark.in_turn(3)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@GROUPS
@KINDS
def test_threads_give_equal_bits(name, group, optimizer, monkeypatch):
    monkeypatch.setattr(rw._computing, "ALONE", 0)  # two threads, however little there is to do
    one, two = (trainer(network(name, group=group), optimizer, "rigl", threads=n) for n in (1, 2))
    assert fit(one)["loss"] == fit(two)["loss"]
    assert_equal(one, two)


@pytest.mark.parametrize("rule", ["set", "rigl"])
@GROUPS
@KINDS
def test_links_move_and_their_number_stays(name, group, rule):
    net = network(name, group=group)
    before = {q.name: (q.nnz, q.store.to_arrays()[:2]) for q in net.sparse_parameters}
    record = fit(trainer(net, rule=rule), epochs=3).epochs[-1]
    assert len(record["nnz"]) == len(net.weight_layers) and sum(record["nnz"]) == net.nnz
    for parameter in net.sparse_parameters:
        nnz, links = before[parameter.name]
        assert nnz - group < parameter.nnz <= nnz
        if nnz < parameter.n_in * parameter.n_out:
            moved = any(
                a.shape != b.shape or (a != b).any()
                for a, b in zip(links, parameter.store.to_arrays()[:2], strict=True)
            )
            assert moved, parameter.name


@pytest.mark.in_turn(2)
@GROUPS
@KINDS
def test_layers_compete_and_the_sum_stays(name, group):
    net = network(name, group=group)
    before = [q.nnz for q in net.sparse_parameters]
    fit(trainer(net, rule="global"), epochs=6)
    after = [q.nnz for q in net.sparse_parameters]
    assert sum(after) == sum(before)
    assert group > 1 or after != before  # slots of 4 and of 3 links are hardly ever worth each other
    net.validate()


@KINDS
def test_a_look_at_gradients_changes_nothing(name):
    """A rule that looks at gradients without using them: buffers must not count these samples twice."""

    def look(links):
        assert np.isfinite(links.gradient).all()

    looked, plain = trainer(network(name)), trainer(network(name))
    looked.rewiring = rw.rewiring.Custom(look, gradient=True, every=1)
    fit(looked)
    fit(plain)
    for key, a in looked.network.arrays().items():
        np.testing.assert_array_equal(a, plain.network.arrays()[key], err_msg=key)


@KINDS
def test_standardizes(name):
    for place in dict.fromkeys(place for kind, place in STANDS if kind == name):
        of = trainer(network(name, place), standardize=True)
        fit(of)
        before = of.network.predict(X)
        net, first = of.network, of.network.layers[0]
        source = as_source(0.3 * X + 0.4, 8)
        net.learn_inputs(source, None)  # other data: the first layer follows, or mean and scale stay
        np.testing.assert_allclose(net.predict(X), before, atol=1e-8, err_msg=f"{place} {first}")


@EVERY_SAMPLE_ALONE
def test_gradients_of_parts_add_up(name, place):
    """A batch in two parts: every parameter has the sum, and dropout its masks."""
    whole, parts = (trainer(network(name, place)) for _ in range(2))
    for each in (whole, parts):
        for layer in each.network.tree.layers.values():
            if isinstance(layer, NumpyKWinners | rw.KWinners):
                layer.boost = 0.0  # or the first part would change the winners of the second
    y = targets(whole.network)
    whole.gradients(X, y)
    parts.gradients(X[:32], y[:32], scale=32 / 90)
    parts.gradients(X[32:], y[32:], scale=58 / 90, first_sample=32)
    found, expected = (each.network.get_vector("gradient") for each in (parts, whole))
    np.testing.assert_allclose(found, expected, atol=1e-14 + 1e-12 * np.abs(expected).max())


@GROUPS
@EVERYWHERE
def test_one_step_follows_the_whole_gradient(name, place, group):
    """Of weights that stand in several places as well: the step comes after their last use, and once."""
    net = network(name, place, group=group)
    gradient, weights = Batch(net, 90).gradients(), net.get_vector()
    of = rw.Trainer(net, loss=trainer(net).loss, optimizer=rw.SGD(0.5))
    of.fit(X, targets(net), batch_size=90, shuffle=False, verbose=0)
    np.testing.assert_allclose(net.get_vector(), weights - 0.5 * gradient, rtol=1e-12, atol=1e-15)


def test_two_stores_of_a_layer_have_random_numbers_of_their_own():
    net = network("two stores")
    layer = net.layers[1]
    assert layer.plus.shape == layer.minus.shape and layer.plus.nnz == layer.minus.nnz
    assert len({q.stream for q in net.sparse_parameters}) == 4
    for epochs in (0, 3):  # as they are drawn, and as they grow
        if epochs:
            fit(trainer(net, rule="set"), epochs=epochs)
        links = [set(zip(*q.to_arrays()[:2], strict=True)) for q in (layer.plus, layer.minus)]
        assert len(links[0] & links[1]) < 0.6 * len(links[0])


@pytest.mark.parametrize("clip", [None, 0.05])
def test_lion_is_as_published(clip):
    layers = [rw.Dense(8, 5, activation="tanh"), rw.Dense(5, 3, activation="softmax")]
    net = rw.Sequential(layers, dtype="float64")
    of = rw.Trainer(net, loss="cross_entropy", optimizer=Lion(0.01, weight_decay=0.1, clip_norm=clip))
    decays = np.concatenate([np.full(q.size, 0.1 * q.decays) for q in net.parameters().values()])
    weights, mean = net.get_vector(), np.zeros(net.n_params)
    for _ in range(5):
        gradient = Batch(net, 90).gradients()
        if clip is not None:
            gradient *= min(1.0, clip / np.linalg.norm(gradient))
        # c = b1 m + (1 - b1) g;  w -= lr (sign(c) + decay w);  m = b2 m + (1 - b2) g
        weights = weights - 0.01 * (np.sign(0.9 * mean + 0.1 * gradient) + decays * weights)
        mean = 0.99 * mean + 0.01 * gradient
        of.fit(X, targets(net), batch_size=90, shuffle=False, verbose=0)
        np.testing.assert_allclose(net.get_vector(), weights, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(net.get_vector("lion_m"), mean, rtol=1e-9, atol=1e-15)


class Odd(ArrayLayer, Elementwise):
    """Gives what it is told to."""

    def __init__(self, y=5, dx=5, found=()):
        self.y, self.dx, self.found = y, dx, found
        self.gain = DenseParameter(5)

    def outputs(self, x, p):
        return np.zeros((len(x), self.y))

    def gradients(self, dy, p):
        return np.zeros((len(dy), self.dx)), dict.fromkeys(self.found, np.zeros(5))


@pytest.mark.parametrize(
    ("layer", "says"),
    [
        (Odd(y=4), r"layer 1 \(Odd 5 -> 5\): y must have shape \(32, 5\), got \(32, 4\)"),
        (Odd(dx=6, found=["gain"]), r"layer 1 \(Odd 5 -> 5\): dx must have shape \(32, 5\), got \(32, 6\)"),
        (Odd(), r"layer 1 \(Odd 5 -> 5\): gradients must be of \['gain'\], got \[\]"),
    ],
)
def test_wrong_arrays_are_refused_by_name(layer, says):
    with pytest.raises(ValueError, match=says):
        fit(trainer(rw.Sequential([sparse(8, 5), layer, sparse(5, 3, activation="softmax")])))


# --- copies, files, numbers -----------------------------------------------------------------


@EVERYWHERE
def test_copies_go_on_alike(name, place, tmp_path):
    of = trainer(network(name, place), "adam", "set")
    fit(of)
    of.network.save(tmp_path / "network.safetensors")
    loaded = rw.load(tmp_path / "network.safetensors")
    np.testing.assert_array_equal(loaded.predict(X), of.network.predict(X))
    twins = [copy.deepcopy(of), pickle.loads(pickle.dumps(of))]
    fit(of)
    for twin in twins:
        fit(twin)
        assert_equal(of, twin)


@EVERYWHERE
def test_counts(name, place):
    net = network(name, place)
    parameters = net.parameters().values()
    assert net.n_params == sum(q.size for q in parameters) == net.get_vector().size
    assert net.nnz == sum(q.size for q in parameters if q.connects)
    assert net.nbytes >= 8 * net.n_params
    assert len({id(q) for q in parameters}) == len(net.parameters())
    table = str(net)
    for short in net.tree.layers:
        assert f"\n{short.removeprefix('layers.')} " in table
    assert f"{net.nnz:,}/{net.size:,}" in table.splitlines()[-1]


@KINDS
def test_best_network_comes_back_whole(name):
    best = {}

    class Look(rw.Callback):
        def on_epoch_end(self, state):
            if state.row["epoch"] == 0:
                best.update(state.network.arrays())

    worst = rw.EarlyStopping(2, monitor="loss", mode="max", restore_best=True)  # the loss falls
    of = trainer(network(name), "adam", "set", callbacks=[worst, Look()])
    fit(of, epochs=5)
    assert of.epoch == 3
    found = of.network.arrays()
    assert found.keys() == best.keys()
    for key, a in found.items():
        np.testing.assert_array_equal(a, best[key], err_msg=key)


@KINDS
def test_error_leaves_everything_as_it_was(name):
    class Fail(rw.Callback):
        def on_epoch_end(self, state):
            if state.epoch == 2:
                raise OSError("disk full")

    of = trainer(network(name), "adam", "set", callbacks=[Fail()])
    fit(of, epochs=1)
    before = of.arrays()
    with pytest.raises(OSError, match="disk full"):
        fit(of, epochs=4)
    after = of.arrays()
    assert before.keys() == after.keys()
    for key, a in after.items():
        np.testing.assert_array_equal(a, before[key], err_msg=key)


def test_what_is_derived_follows_values_that_are_put_back():
    of = trainer(network("layer norm"))
    bias = of.network.parameters()["layers.0.bias"]

    def doubled():
        return bias.derived("doubled", lambda: 2 * bias.read())

    class Fail(rw.Callback):
        def on_epoch_end(self, state):
            doubled()
            raise OSError("disk full")

    of.callbacks = [Fail()]
    with pytest.raises(OSError, match="disk full"):
        fit(of, epochs=1)
    of.callbacks, of.optimizer.lr = [], 0.5
    fit(of, epochs=1)  # as many steps as before, to other values
    np.testing.assert_array_equal(doubled(), 2 * bias.read())


def test_a_step_that_was_cut_leaves_no_gradient_of_shared_weights(monkeypatch):
    def step():
        of.train_step(X[:32], targets(of.network)[:32])

    of = trainer(network("tied"))
    step()

    whole = rw.Sparse.backward

    def cut(self, *given):
        if self.index == 0:
            raise OSError("no more memory")
        return whole(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(rw.Sparse, "backward", cut)
        with pytest.raises(OSError, match="no more memory"):
            step()
    twin = pickle.loads(pickle.dumps(of))
    step()
    of, kept = twin, of
    step()
    assert_equal(of.network, kept.network)


def test_weights_of_one_layer_have_labels_of_their_own():
    labels = [q.label for q in network("two stores").sparse_parameters]
    assert labels == [
        "layer 0 (Sparse 8 -> 16)",
        "plus of layer 1 (TwoStores 16 -> 19)",
        "minus of layer 1 (TwoStores 16 -> 19)",
        "layer 2 (Sparse 19 -> 3)",
    ]


def test_other_dtypes_are_refused_by_name():
    class Wide(Mixing):
        def __init__(self, n):
            self.weight = rw.SparseParameter(n, n, dtype="float64")

        def forward(self, x, p):
            return p.product((self.index, "y"), self.weight, x)

        def backward(self, dy, x, p, need_dx):
            return None

    net = rw.Sequential([Wide(8), sparse(8, 3)], seed=0)
    with pytest.raises(TypeError, match="layers.0.weight must have the dtype .* float32, .* got float64"):
        net.predict(X)


def test_layers_keep_what_they_like_when_neurons_are_removed():
    class Point(NamedTuple):
        x: int
        y: int

    class Kept(Elementwise, ArrayLayer):
        def __init__(self):
            self.point, self.layers = Point(1, 2), [[self]]

        def children(self):
            return {}

        def outputs(self, x, p):
            return x

        def gradients(self, dy, p):
            return dy, {}

    layer = Kept()
    net = rw.Sequential([rw.Sparse(8, 40, links=20), layer, rw.Sparse(40, 3, links=20)], seed=0)
    assert rw.remove_neurons(net).removed[0] > 0
    assert layer.point == (1, 2) and layer.layers[0][0] is layer is net.layers[1]


# --- neurons, paths -------------------------------------------------------------------------


@pytest.mark.in_turn(2)
@GROUPS
@KINDS
def test_paths_are_those_that_values_take(name, group):
    """Of all pairs: what changes with an input depends on it, and both ways of asking give one relation."""
    net = network(name, group=group, seed=2)
    layer = net.layers[1]
    batch = Batch(net, 90)
    batch.p.training = batch.p.keeping = False
    x = batch.ws.tiles("asked", layer.n_in)

    def outputs(values):
        x.pack(values)
        return layer.forward(x, batch.p).unpack(None, 1)

    values = np.random.default_rng(3).normal(size=(90, layer.n_in))
    before = outputs(values)
    depends = np.zeros((layer.n_out, layer.n_in), bool)
    for i in range(layer.n_in):
        moved = values.copy()
        moved[:, i] += 3
        depends[:, i] = (outputs(moved) != before).any(axis=0)
    forward = np.array([layer.live_outputs(one) for one in np.eye(layer.n_in, dtype=bool)]).T
    back = np.array([layer.live_inputs(one) for one in np.eye(layer.n_out, dtype=bool)])
    assert depends.any() and not (depends & ~forward).any()
    np.testing.assert_array_equal(back, forward)
    pairs = np.zeros_like(back)
    pairs[layer.connections()] = True
    np.testing.assert_array_equal(pairs, back)


@EVERYWHERE
def test_neurons_elsewhere_are_removed(name, place):
    net = network(name, place)
    of = trainer(net, "adam", "set")
    fit(of)
    before = net.predict(X)
    rw.remove_neurons(net)
    np.testing.assert_allclose(net.predict(X), before, atol=1e-9)
    if place != "middle":
        at = 1 if place == "first" and net.layers[0].full else 0
        assert sum(rw.remove_neurons(net, {at: [1]}).removed) >= 1
    fit(of)


@KINDS
def test_neurons_beside_it_are_removed_or_refused_by_name(name):
    net = network(name)
    fit(trainer(net))
    positions = [0, 1] if net.layers[1].full else [0]
    for at in positions:
        if LAYERS[name].narrower:
            assert sum(rw.remove_neurons(net, {at: [1]}).removed) >= 1
        else:
            kind = type(net.layers[1]).__name__
            with pytest.raises(TypeError, match=rf"layer 1 \({kind} .*\) needs .*cannot be removed"):
                rw.remove_neurons(net, {at: [1]})
    fit(trainer(net))


@EVERYWHERE
def test_importance_pruning_works_or_is_refused_by_name(name, place):
    net = network(name, place)
    rule = rw.ImportancePruning(0.2, begin=0.0, every=rw.Epochs(1), rule="set")
    of = rw.Trainer(net, loss="cross_entropy" if net.n_out == 3 else "mse", rewiring=rule)
    if refused_or(lambda: fit(of, epochs=3)["loss"]):
        assert not LAYERS[name].narrower or place == "last"  # the neurons before it are the outputs
    net.predict(X)


@EVERYWHERE
def test_chains_are_removed_around_it(name, place):
    net = network(name, place)
    of = trainer(net)
    of.rewiring = rw.CHT(every=rw.Epochs(1))
    fit(of, epochs=3)
    net.validate()


@EVERYWHERE
def test_analysis_counts_right_or_refuses_by_name(name, place):
    net = network(name, place)
    found = analysis.degrees(net)
    assert sum(int(each.fan_in.sum()) for each in found) == net.nnz
    assert sum(int(each.fan_out.sum()) for each in found) == net.nnz
    assert len(analysis.spectral_gap(net)) == len(found)
    assert analysis.overlap(net, net) == 1.0
    assert analysis.unused_inputs(net, dead_paths=True).size <= 8
    assert analysis.components(net).sizes.sum() == len(np.concatenate(analysis.components(net).labels))
    assert analysis.link_map(net.weight_layers[0]).max() > 0
    for layer in net.weight_layers:
        if refused_or(lambda of=layer: analysis.neuron_importance(of).shape == (of.n_out,)):
            assert type(layer) is FreeEnergy  # its links lead to neurons inside
    if refused_or(lambda: analysis.input_strength(net).shape == (8,)):
        assert place == "first" and not (LAYERS[name].narrower and LAYERS[name].once)
    if refused_or(lambda: analysis.topology_distance(net, net) == 0.0):
        assert not (LAYERS[name].narrower and LAYERS[name].once)


def refused_or(holds):
    """Whether it is refused, by a layer's name; it must hold otherwise."""
    try:
        assert holds()
    except TypeError as error:
        assert re.search(r"layer \d", str(error)), error
        return True
    return False


@EVERYWHERE
def test_link_log_counts_all_links(name, place):
    log = rw.LinkLog()
    of = trainer(network(name, place), rule="set", callbacks=[log])
    fit(of, epochs=2)
    fit(of, epochs=2)
    last = of.history.epochs[-1]
    assert log["grown"].sum() > 0
    np.testing.assert_array_equal(log["grown"].sum(axis=0), log["removed"].sum(axis=0))
    assert all(s <= n for s, n in zip(last["links_survived"], last["nnz"], strict=True))
    assert all(e >= n for e, n in zip(last["links_explored"], last["nnz"], strict=True))
    assert 0 < last["exploration_rate"] <= 1


class Plain(rw.Optimizer):
    """Against the gradient; knows no weight decay."""

    name = "plain"

    def __init__(self, lr=0.02, *, clip_norm=None, schedule=None):
        super().__init__(lr, clip_norm=clip_norm, schedule=schedule)

    def step(self, values, gradient, fields, *, rate, decay, count):
        values -= rate * gradient

    def config(self):
        return {name: value for name, value in super().config().items() if name != "weight_decay"}


@pytest.mark.parametrize("kind", ["SparseMLPClassifier", "SparseMLPRegressor"])
def test_estimators_take_a_registered_optimizer_by_its_name(kind):
    """With what its constructor takes of the estimator's parameters, and its own rate."""
    pytest.importorskip("sklearn")
    outside.optim.register_optimizer(Plain)
    rng, kind = np.random.default_rng(0), getattr(rw, kind)
    X, y = rng.normal(size=(200, 9)), np.arange(200) % 2
    few = {"hidden_layer_sizes": (9,), "density": 0.5, "max_iter": 1, "random_state": 0}
    model, other = kind(optimizer="Lion", **few), kind(optimizer="adam", **few)
    classes = {"classes": [0, 1]} if kind is rw.SparseMLPClassifier else {}
    for times in (1, 2, 3):
        for one in (model, other):
            one.partial_fit(X * times, y, **classes)
        found, its = model.trainer_.optimizer, other.trainer_.optimizer
        assert (type(found), found.lr, found.weight_decay) == (Lion, 1e-4, its.weight_decay)
    assert its.lr == 0.003 and its.weight_decay < 0.05
    found = kind(optimizer="plain", **few).fit(X, y).trainer_.optimizer
    assert (type(found), found.lr, found.weight_decay) == (Plain, 0.02, 0.0)
    with pytest.raises(ValueError, match="weight_decay must be 0 or 'auto': 'plain' takes none, got 0.1"):
        kind(optimizer="plain", weight_decay=0.1, **few).fit(X, y)


def test_the_command_line_takes_a_registered_optimizer_by_its_name(tmp_path, capsys):
    command = ["train", "--data", "digits", "--hidden", "9", "--epochs", "1", "--optimizer", "LION"]
    assert main([*command, "--save", str(tmp_path / "t")]) == 0
    assert type(rw.Trainer.resume(tmp_path / "t").optimizer) is Lion
    assert main([*command, "--nesterov"]) == 2
    assert "--nesterov belongs to sgd, not to lion" in capsys.readouterr().err
