"""Parameters: what is derived from their values is as new as these, and a dtype of their own stays theirs."""

import copy
import pickle
import threading

import numpy as np
import pytest

import rewire as rw
from outside import registered
from outside.lion import Lion
from rewire._inputs import as_source
from rewire.layers import ArrayLayer, Elementwise, register_layer
from rewire.parameters import Buffer, DenseParameter, Field, Rescale, SparseParameter
from rewire.rewiring import TrainingProgress
from small import SELDOM, X, Y

OPTIMIZERS = {
    "fused": lambda: rw.SGD(0.1, momentum=0.9),
    "kept": lambda: rw.Adam(0.01, clip_norm=0.5),
    "numpy": lambda: Lion(0.01),
}
NOW = TrainingProgress(1, 1, True)
RULES = {"static": lambda: None, "set": lambda: rw.SET(every=2), "top-kast": lambda: rw.TopKAST(every=2)}


class Gain(ArrayLayer, Elementwise):
    """Every value times a gain, which is of float64 in any network."""

    def connect(self, n_in):
        super().connect(n_in)
        self.gain = DenseParameter(n_in, init=1.0, axes=("out",), dtype="float64")

    def outputs(self, x, p):
        p.save(self, x)
        return x * self.gain.values

    def gradients(self, dy, p):
        (x,) = p.saved(self)
        return dy * self.gain.values, {"gain": (dy * x).sum(axis=0)}


@pytest.fixture(autouse=True)
def known():
    """Files may name what stands here, in these tests alone."""
    with registered():
        register_layer(Gain)
        yield


def build(optimizer, rule="static"):
    layers = [
        rw.Sparse(8, 20, density=0.5, activation="relu", group=4),
        Gain(),
        rw.Dense(20, 10, activation="tanh"),
        rw.Sparse(10, 3, density=0.7, activation="softmax"),
    ]
    return rw.Trainer(
        rw.Sequential(layers), loss="cross_entropy", optimizer=OPTIMIZERS[optimizer](),
        rewiring=RULES[rule](), horizon=9, steps_per_epoch=6,
    )  # fmt: skip


@SELDOM
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_what_is_derived_follows_the_values(optimizer, rule):
    """After whatever changes them; it is made once, as long as nothing does."""
    t = build(optimizer, rule)
    net = t.network
    state = net.config(), net.arrays()
    for change in (
        lambda: None,
        lambda: t.fit(X, Y, batch_size=len(X), verbose=0),
        lambda: t.fit(X, Y, epochs=2, batch_size=16, verbose=0),
        lambda: t.train_step(X, Y),
        lambda: net.set_vector(net.get_vector() + 1),
        lambda: rw.SET().rewire(net.sparse_parameters, NOW, 1, 1, seed=0),
        lambda: net.learn_inputs(as_source(X * 2 + 1, 8), None),
        lambda: net.restore(*state),
        lambda: rw.remove_neurons(net, {0: [0, 1, 2, 3]}),
    ):
        change()
        for name, parameter in net.parameters().items():
            found = parameter.derived("half", lambda q=parameter: q.read().astype("f2"))
            np.testing.assert_array_equal(found, parameter.read().astype("f2"), err_msg=name)
            assert parameter.derived("half", lambda: pytest.fail("made again")) is found


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_dtype_of_its_own(optimizer, tmp_path):
    t = build(optimizer, "set")
    t.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    t.save(tmp_path / "t")
    again = rw.Trainer.resume(tmp_path / "t")
    for each in (t, again):
        each.fit(X, Y, batch_size=16, verbose=0)
        for name, parameter in each.network.parameters().items():
            dtype = "float64" if name == "layers.1.gain" else "float32"
            assert parameter.dtype == parameter.read().dtype == dtype
            moments = [field for field in t.optimizer.fields if field != "birth_step"]
            assert all(parameter.read(field).dtype == dtype for field in moments)
    ours, theirs = t.arrays(), again.arrays()
    assert ours.keys() == theirs.keys() and all(np.array_equal(ours[key], theirs[key]) for key in ours)
    gain = t.network.parameters()["layers.1.gain"].values
    assert (gain != gain.astype("f4")).any()
    rw.remove_neurons(t.network, {0: [0, 1, 2, 3]})
    np.testing.assert_array_equal(t.network.parameters()["layers.1.gain"].values, gain[4:])


def test_equal_parameters_have_random_numbers_of_their_own():
    """Of equal layers, and of one layer's parameters: in the beginning, and in what a rule grows."""

    class Pair(Gain):
        def connect(self, n_in):
            super().connect(n_in)
            self.one, self.two = (DenseParameter((n_in, 3), init="normal") for _ in range(2))

    layers = [rw.Dense(6, 6), rw.Dense(6, 6), Pair(), rw.Sparse(6, 6, links=18), rw.Sparse(6, 6, links=18)]
    net = rw.Sequential(layers)
    pair = net.layers[2]
    values = [each.read() for each in (net.layers[0].weight, net.layers[1].weight, pair.one, pair.two)]
    for i, a in enumerate(values):
        assert len(set(a)) == len(a) and not any(set(a) & set(b) for b in values[:i])
    a, b = net.sparse_parameters
    b.restore(a.config(), a.arrays())  # the same links
    assert np.array_equal(a.core.sources(), b.core.sources())
    rw.SET(0.5, init="normal").rewire([a, b], NOW, 1, 1, seed=0)
    assert not np.array_equal(a.core.sources(), b.core.sources())
    assert len({*a.read()} & {*b.read()}) <= 9  # those that have stayed


@pytest.mark.parametrize("group", [None, 1, 4])
def test_a_change_of_units_reaches_every_field(group):
    """w times rows and columns; what goes with the n-th power of a gradient by that of slope over column."""
    if group is None:
        parameter = DenseParameter((7, 5), axes=("out", "in"), connects=True, init="normal")
    else:
        parameter = SparseParameter(5, 7, density=0.5, group=group)
    parameter.build(name="one", seed=0, dtype="float64")
    rng = np.random.default_rng(0)
    for power in (None, 0, 1, 2):
        parameter.add_field(f"power {power}", Field(power=power))
        parameter.write(rng.normal(size=parameter.size), f"power {power}")
    row, column, weights = parameter.to_arrays()
    np.testing.assert_array_equal(parameter.read(), weights)  # in the same order
    rows, cols, slope = (rng.uniform(0.5, 2, n) for n in (7, 5, 7))
    all_three = {"rows": rows, "cols": cols, "slope": slope}
    for given in (*({name: factors} for name, factors in all_three.items()), all_three):
        by = Rescale(**given)
        names = ["weight", *parameter.fields]
        before = {name: parameter.read(name) for name in names}
        for call in parameter.rescaled(by):
            call()
        ones = np.ones(7)
        r, c, s = given.get("rows", ones)[row], given.get("cols", ones)[column], given.get("slope", ones)[row]
        factors = {"weight": r * c, "power 0": r * c, "power 1": s / c, "power 2": (s / c) ** 2}
        for name in names:
            expected = before[name] * factors.get(name, 1)
            np.testing.assert_allclose(parameter.read(name), expected, rtol=1e-12, err_msg=name)


# --- one value, vectors, the order of an optimizer's fields ---------------------------------------


class Slope(ArrayLayer, Elementwise):
    """x times one trained number; counts the batches that it has learnt from."""

    def __init__(self):
        self.slope = DenseParameter((), init=1.0, decays=False)
        self.batches = Buffer((), dtype="int64")

    def outputs(self, x, p):
        p.save(self, x)
        if p.learning:
            self.batches.values += 1
        return x * self.slope.values

    def gradients(self, dy, p):
        (x,) = p.saved(self)
        return dy * self.slope.values, {"slope": (dy * x).sum()}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_single_value_is_trained_kept_saved_and_resumed(optimizer, tmp_path):
    register_layer(Slope)
    layers = [rw.Sparse(8, 20, fan_in=4), Slope(), rw.Sparse(20, 3, fan_in=9, activation="softmax")]
    t = rw.Trainer(
        rw.Sequential(layers), loss="cross_entropy", optimizer=OPTIMIZERS[optimizer](), rewiring="set"
    )
    t.fit(X, Y, epochs=2, batch_size=30, verbose=0)
    slope, batches = layers[1].slope, layers[1].batches
    assert slope.shape == batches.shape == () and slope.size == 1 and slope.values != 1.0
    assert int(batches.values) == 2 * -(-len(X) // 30)
    assert t.network.n_params == t.network.nnz + 20 + 1 + 3
    t.save(tmp_path / "t")
    other = rw.Trainer.resume(tmp_path / "t")
    for trainer in (t, other):
        trainer.fit(X, Y, epochs=1, batch_size=30, verbose=0)
    assert other.network.layers[1].slope.values == slope.values
    assert other.network.layers[1].batches.values == batches.values
    rw.remove_neurons(t.network, {0: [3]})
    assert layers[1].n_out < 20 and slope.shape == ()


def test_a_vector_rounds_nothing():
    t = build("kept")
    t.fit(X, Y, epochs=2, verbose=0)
    gain = t.network.layers[1].gain
    gain.values[...] = np.linspace(1, 2, gain.size) / 3
    vector = t.network.get_vector()
    assert vector.dtype == np.float64
    t.network.set_vector(vector)
    np.testing.assert_array_equal(gain.values, np.linspace(1, 2, gain.size) / 3)
    np.testing.assert_array_equal(t.network.get_vector(), vector)
    assert rw.Sequential([rw.Sparse(4, 3, fan_in=2)]).get_vector().dtype == np.float32


def test_a_vector_is_set_by_callbacks_and_by_no_other_thread():
    t, seen = build("fused"), []

    def elsewhere():
        try:
            t.network.set_vector(np.zeros(t.network.n_params))
        except RuntimeError as error:
            seen.append(str(error))

    class Halves(rw.Callback):
        def on_epoch_end(self, state):
            state.network.set_vector(state.network.get_vector() / 2)
            seen.append(float(np.abs(state.network.get_vector()).max()))
            other = threading.Thread(target=elsewhere)
            other.start()
            other.join()

    t.callbacks = [Halves()]
    t.fit(X, Y, epochs=1, verbose=0)
    largest = float(np.abs(t.network.get_vector()).max())
    assert seen == [largest, "set_vector cannot run while fit runs on this network"]
    with t.network.gate.reading("predict"):
        other = threading.Thread(target=elsewhere)
        other.start()
        other.join()
    assert seen[-1] == "set_vector cannot run while predict runs on this network"
    t.network.set_vector(t.network.get_vector())


def test_the_order_of_fields_in_a_file_does_not_matter():
    t = build("kept")
    t.fit(X, Y, epochs=2, verbose=0)
    config, arrays = t.config(), t.arrays()
    for part in config["network"]["parameters"].values():
        part["fields"] = dict(sorted(part["fields"].items(), reverse=True))
    twin = rw.Trainer.from_config(config, arrays)
    assert list(twin.network.layers[2].weight.fields) == ["adam_v", "adam_m"]
    for trainer in (t, twin):
        trainer.fit(X, Y, epochs=1, verbose=0)
    np.testing.assert_array_equal(twin.network.get_vector(), t.network.get_vector())


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda q: pickle.loads(pickle.dumps(q))}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    "make",
    [
        lambda: rw.SparseParameter(8, 12, density=0.4, group=4),
        lambda: rw.SparseParameter(8, 9, density=0.4),
        lambda: DenseParameter((3, 5), init="he"),
    ],
)
def test_copies_have_values_of_their_own(how, make):
    """And all that a step and a rewiring need."""
    assert not COPIES[how](make()).built
    q = make().build(name="q", seed=0)
    optimizer = rw.SGD(0.1, momentum=0.5)
    q.prepare(optimizer.fields)
    q.write(np.arange(q.size), "momentum")
    was, twin = q.read(), COPIES[how](q)
    assert twin.config() == q.config()
    for each in (q, twin):
        each.hold_gradient(True)
        each.write(np.ones(q.size), "gradient")
    updates = optimizer.updates()
    updates.place(0.1, 0.0, 1)
    twin.apply(updates[True, 1.0], 1)
    np.testing.assert_array_equal(q.read(), was)
    q.apply(updates[True, 1.0], 1)
    for field in ("weight", "momentum"):
        np.testing.assert_array_equal(q.read(field), twin.read(field))
    assert (q.read() != was).any()
    if q.connects:
        rw.SET(0.3, every=1).rewire([twin], TrainingProgress(1, 10, True), 1, 1, seed=0)
        twin.core.check()
        assert twin.nnz == q.nnz
    else:
        np.testing.assert_array_equal(twin.padded[: q.size].reshape(q.shape), twin.values)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("rule", ["static", "top-kast", "deepr"])
def test_a_vector_of_a_field_is_of_the_parameters_that_have_it(group, rule):
    """Biases have no age, nor what a rule keeps for links."""
    layers = [rw.Sparse(8, 30, density=0.5, group=group), rw.Sparse(30, 3, activation="softmax")]
    optimizer = rw.Adam(0.01) if rule != "deepr" else rw.SGD(0.01)
    t = rw.Trainer(rw.Sequential(layers), loss="cross_entropy", optimizer=optimizer, rewiring=rule,
                   horizon=1, steps_per_epoch=9)  # fmt: skip
    t.train_step(X, Y)
    net = t.network
    names = {name for q in net.sparse_parameters for name in q.fields}
    assert names - {name for q in net.parameters().values() for name in q.fields if not q.connects}
    for name in names:
        those = [q for q in net.parameters().values() if q.has(name)]
        found = net.get_vector(name)
        np.testing.assert_array_equal(found, np.concatenate([q.read(name) for q in those]))
        changed = np.maximum(found, 1) if found.dtype.kind in "iu" else found * 0.5
        net.set_vector(changed, name)
        np.testing.assert_array_equal(net.get_vector(name), changed)
        with pytest.raises(ValueError, match=rf"values must .*\({found.size},\)"):
            net.set_vector(changed[1:], name)
    for call in (net.get_vector, lambda name: net.set_vector(found, name)):
        with pytest.raises(KeyError, match="no parameter has 'other'"):
            call("other")


@pytest.mark.parametrize("name", [None, 5, "other", "\ud800", np.str_("other")])
def test_no_field_has_such_a_name(name):
    net = rw.Sequential([rw.Sparse(4, 4, density=1.0)], seed=0)
    (q,) = net.sparse_parameters
    assert q.has("weight") is q.has(np.str_("weight")) is True and q.has(name) is False
    for call in (q.read, lambda name: q.write(q.read(), name)):
        with pytest.raises(KeyError, match="has no"):
            call(name)
