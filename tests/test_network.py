"""Networks against dense NumPy, building, copies, who may use a network at a time."""

import copy
import os
import pickle
import threading

import numpy as np
import pytest

import rewire as rw
from rewire._gate import Gate
from rewire.layers import WeightLayer, register_layer
from small import VALUES, deep, normal

FUNCTIONS = {
    "linear": lambda z: z,
    "relu": lambda z: np.maximum(z, 0),
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "softmax": lambda z: (
        np.exp(z - z.max(1, keepdims=True)) / np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True)
    ),
}


def matrix(layer):
    """The weights of a layer as a dense matrix."""
    if isinstance(layer, rw.Dense):
        return layer.weights.astype(np.float64)
    return layer.store.to_csr().toarray().astype(np.float64)


def forward(net, X, functions):
    for layer, f in zip(net.weight_layers, functions, strict=True):
        X = f(X @ matrix(layer).T + (0 if layer.bias is None else layer.bias))
    return X


def leaky(slope):
    return lambda z: np.where(z > 0, z, slope * z)


@pytest.mark.parametrize("final", FUNCTIONS)
@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predict_agrees_with_numpy(final, group, dtype):
    net = rw.Sequential(
        [
            rw.Sparse(9, 14, epsilon=3, activation="tanh", group=group),
            rw.Sparse(14, 5, activation=final, group=group),
        ],
        dtype=dtype,
    )
    X = normal(11, 9)
    got = net.predict(X)
    assert got.dtype == dtype and got.shape == (11, 5)
    bound = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(got, forward(net, X, [np.tanh, FUNCTIONS[final]]), rtol=bound, atol=bound)


def test_dense_layers_agree_with_numpy():
    net = rw.Sequential(
        [rw.Dense(9, 14, activation="tanh"), rw.Dense(14, 5, activation="softmax")], dtype="float64"
    )
    X = normal(150, 9)
    np.testing.assert_allclose(net.predict(X), forward(net, X, [np.tanh, FUNCTIONS["softmax"]]), rtol=1e-12)


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("density", [0.0, 0.05, 0.4, 1.0])
def test_a_layer_times_a_vector(group, density):
    """In float64 whatever the weights are; whole numbers, so that sums are exact."""
    layer = rw.Sequential([rw.Sparse(13, 21, density=density, group=group)]).layers[0]
    rng = np.random.default_rng(group)
    values = rng.integers(-9, 9, (layer.store.slots, group))
    layer.store.set_field("weight", values.astype("f4"))
    x = rng.integers(-(2**40), 2**40, 13).astype(np.float64)
    found = layer.weight.times(x)
    assert found.dtype == np.float64
    assert found.tolist() == (matrix(layer) @ x).tolist()


def test_all_relu_alternates_over_hidden_weight_layers():
    layers = [
        rw.Sparse(6, 7, activation=rw.AllReLU(0.6)),
        rw.Dropout(0.1),  # not counted
        rw.Dense(7, 8, activation=rw.AllReLU(0.6)),
        rw.Sparse(8, 5, activation=rw.AllReLU(0.5)),
        rw.Sparse(5, 2),
    ]
    net = rw.Sequential(layers, dtype="float64")
    X = normal(20, 6)
    expected = forward(net, X, [leaky(-0.6), leaky(0.6), leaky(-0.5), FUNCTIONS["linear"]])
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-12)


def test_leaky_relu_takes_its_slope_literally():
    net = rw.Sequential([rw.Sparse(6, 7, activation=rw.LeakyReLU(-0.3)), rw.Sparse(7, 2)], dtype="float64")
    X = normal(20, 6)
    np.testing.assert_allclose(
        net.predict(X), forward(net, X, [leaky(-0.3), FUNCTIONS["linear"]]), rtol=1e-12
    )


# --- a sample's result is its own -------------------------------------------------------


@pytest.mark.parametrize("group", [1, 4])
def test_a_sample_does_not_depend_on_its_batch(group):
    net = deep(group=group)
    X = normal(150, 17).astype("f4")
    whole = net.predict(X)
    for size in (1, 3, 64, 100):
        assert np.array_equal(net.predict(X, batch_size=size), whole)
    for i in (0, 77, 149):
        assert np.array_equal(net.predict(X[i : i + 1])[0], whole[i])
    for n in (1, 2, 4):
        assert np.array_equal(net.predict(X, threads=n), whole)


# --- building ---------------------------------------------------------------------------


def taken():
    layer = rw.Sparse(3, 4)
    rw.Sequential([layer])
    return layer


TWICE = rw.Sparse(3, 3)
NOT_LAYERS = [
    ([], ValueError, "at least one Sparse or Dense layer, got none"),
    (rw.Sparse(3, 4), TypeError, "layers must be a list of layers"),
    ([rw.Sparse(3, 4), "relu"], TypeError, r"layers\[1\] must be a Sparse, Dense or another layer, got"),
    (
        [rw.Sparse(3, 4), rw.Sparse(5, 2)],
        ValueError,
        r"layer 1 \(Sparse\(5, 2.*\) takes 5 inputs, but layer 0 \(Sparse\(3, 4.*\) gives 4 outputs",
    ),
    (
        [rw.Sparse(3, 4), rw.Dropout(0.5)],
        ValueError,
        r"the last layer must be Sparse or Dense, got Dropout\(0.5\)",
    ),
    ([rw.Dropout(0.5)], ValueError, "at least one Sparse or Dense layer"),
    (
        [rw.Sparse(3, 4, activation="softmax"), rw.Sparse(4, 2)],
        ValueError,
        "must not be softmax on a hidden layer",
    ),
    ([rw.Sparse(3, 4, activation="all-relu")], ValueError, "must not be AllReLU on the output layer"),
    ([taken()], ValueError, r"layers\[0\] already belongs to a network"),
    ([TWICE, TWICE], ValueError, r"layers\[1\] stands twice"),
]


@pytest.mark.parametrize("case", range(len(NOT_LAYERS)))
def test_wrong_layers(case):
    layers, kind, words = NOT_LAYERS[case]
    with pytest.raises(kind, match=words):
        rw.Sequential(layers)


def test_a_refusal_leaves_layers_free():
    first = rw.Sparse(3, 4)
    with pytest.raises(ValueError, match="AllReLU"):
        rw.Sequential([first, rw.Sparse(4, 2, activation="all-relu")])
    rw.Sequential([first, rw.Sparse(4, 2)])


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"seed": -1}, ValueError, r"seed must be an integer in \[0, .*\], got -1"),
        ({"seed": 2**64}, ValueError, "seed must be an integer"),
        ({"seed": 1.0}, TypeError, "seed must be an integer"),
        ({"dtype": "float16"}, ValueError, "one of 'float32', 'float64', 'bfloat16', got 'float16'"),
        ({"dtype": np.float32}, TypeError, "dtype must be one of 'float32', 'float64'"),
    ],
)
def test_wrong_options(options, kind, words):
    with pytest.raises(kind, match=words):
        rw.Sequential([rw.Sparse(3, 4)], **options)


def test_layers_outside_a_network_say_so():
    with pytest.raises(AttributeError, match="no store until it stands in a Sequential"):
        rw.Sparse(3, 4).store  # noqa: B018
    with pytest.raises(AttributeError, match="no weights until it stands in a Sequential"):
        rw.Dense(3, 4).weights  # noqa: B018


def test_seed_none_draws_one_and_keeps_it():
    a, b = deep(seed=None), deep(seed=None)
    assert a.seed != b.seed
    assert np.array_equal(deep(seed=a.seed).predict(VALUES), a.predict(VALUES))


def test_large_seeds():
    deep(seed=2**64 - 1).predict(VALUES)


# --- numbers and words ------------------------------------------------------------------


def test_summary(capsys):
    sizes = [784, 1000, 1000, 1000, 10]
    net = rw.Sequential(rw.preset("default").layers(sizes, dropout=0.3))
    net.summary()
    printed = capsys.readouterr().out
    assert "35,680/784,000 (4.55 %)" in printed
    assert "125,680/2,794,000 (4.5 %)" in printed
    assert "Dropout(0.3)" in printed
    assert net.nnz == 125_680 and net.n_params == 125_680 + 3010
    assert net.density == 125_680 / 2_794_000
    assert net.nbytes < 20 * net.nnz


# --- copies and files' raw material -----------------------------------------------------


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize(
    "how", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"]
)
def test_copies_are_equal_and_independent(how, group):
    net = deep(group=group)
    net.standardizer = rw.Standardizer(np.arange(17.0), np.full(17, 0.1))
    twin = how(net)
    twin.validate()
    before = net.predict(VALUES)
    assert np.array_equal(twin.predict(VALUES), before)
    twin.layers[0].bias[...] += 1
    assert np.array_equal(net.predict(VALUES), before)


@pytest.mark.parametrize("group", [1, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_config_and_arrays_make_the_network_again(group, dtype):
    import json

    net = deep(dtype, group=group)
    net.layers[0].store.add_field("momentum", dtype)
    net.layers[0].store.add_field("age", "int32", per_slot=True, birth=3)
    config = json.loads(json.dumps(net.config(None)))
    twin = rw.Sequential.from_config(config, net.arrays(None))
    assert np.array_equal(twin.predict(VALUES), net.predict(VALUES))
    assert twin.layers[0].store.fields == net.layers[0].store.fields
    assert twin.config(None) == net.config(None)


def test_what_does_not_fit_is_refused():
    net = deep()
    config, arrays = net.config(), net.arrays()
    for name in arrays:
        with pytest.raises(ValueError, match=name.split(".")[-1]):
            rw.Sequential.from_config(config, {k: v for k, v in arrays.items() if k != name})
        with pytest.raises((ValueError, RuntimeError)):
            rw.Sequential.from_config(config, {**arrays, name: arrays[name][:-1]})
    broken = arrays["layers.0.weight.sources"].copy()
    broken[0] = 99
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        rw.Sequential.from_config(config, {**arrays, "layers.0.weight.sources": broken})


def test_save_and_load(tmp_path):
    net = deep()
    net.save(tmp_path / "net.safetensors")
    assert np.array_equal(rw.load(tmp_path / "net.safetensors").predict(VALUES), net.predict(VALUES))


# --- several threads at a time ----------------------------------------------------------


def test_predicting_from_several_threads():
    net = deep()
    X = normal(300, 17)
    expected, wrong = net.predict(X), []

    def work():
        for _ in range(30):
            if not np.array_equal(net.predict(X, threads=1), expected):
                wrong.append(1)

    crowd = [threading.Thread(target=work) for _ in range(6)]
    for t in crowd:
        t.start()
    for t in crowd:
        t.join()
    assert not wrong


def test_the_gate_names_who_is_inside():
    net, inside, leave, errors = deep(), threading.Event(), threading.Event(), []

    def hold():
        with net.gate.writing("fit"):
            net.predict(VALUES)  # the one who writes may read
            inside.set()
            leave.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait(10)
    try:
        for call in (lambda: net.predict(VALUES), lambda: pickle.dumps(net)):
            with pytest.raises(RuntimeError, match="cannot run while fit runs on this network"):
                call()
        trainer = rw.Trainer(net, loss="cross_entropy")
        with pytest.raises(RuntimeError, match="fit cannot run while fit runs on this network"):
            trainer.fit(VALUES, np.zeros(23, int), verbose=0)
    finally:
        leave.set()
        holder.join()
    assert not errors
    net.predict(VALUES)
    with net.gate.reading("predict"):
        with pytest.raises(RuntimeError, match="fit cannot run while predict runs on this network"):
            trainer.fit(VALUES, np.zeros(23, int), verbose=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_threads_it_has_not():
    gate, inside, done = Gate(), threading.Event(), threading.Event()

    def read():
        with gate.reading("predict"):
            inside.set()
            done.wait()

    other = threading.Thread(target=read)
    other.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with gate.writing("fit"):
                code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    with pytest.raises(RuntimeError, match="fit cannot run while predict runs"):
        with gate.writing("fit"):
            pass
    done.set()
    other.join()


def test_a_workspace_is_whole_after_an_interrupt():
    class Interrupts:
        def shape_to(self, batch, tile):
            raise KeyboardInterrupt

    ws = deep().workspace()
    ws.shape(16)
    x = ws.tiles("x", 8)
    ws._tiles["y"] = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        ws.shape(8)
    del ws._tiles["y"]
    ws.shape(16)
    assert x.batch == 16


# --- layers of one's own ------------------------------------------------------------------


class Flip(rw.Layer):
    """In training, changes the sign of all values, and of the gradient on its way back."""

    def __init__(self, on=True):
        self.on = on

    def _flip(self, tiles):
        values = tiles.array()
        if self.on:
            np.negative(values, out=values)
        return tiles

    may_end = False

    def forward(self, x, p):
        return self._flip(x) if p.training else x

    def backward(self, dy, x, p, need_dx):
        return self._flip(dy) if need_dx else None

    def config(self):
        return {"type": "Flip", "on": self.on}


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_layer_of_ones_own_gets_its_width_and_is_saved(tmp_path, place):
    register_layer(Flip)
    X, y = np.random.default_rng(0).normal(size=(30, 4)), [0, 1, 2] * 10

    def build(*more):
        layers = [rw.Sparse(4, 6, density=0.5, activation="tanh"), rw.Sparse(6, 3, density=1.0)]
        layers[place:place] = more
        return layers

    if place == 2:
        with pytest.raises(ValueError, match="the last layer must be Sparse or Dense"):
            rw.Sequential(build(Flip()))
        return
    net = rw.Sequential(build(Flip(), Flip(on=False), Flip()))
    assert [(layer.n_in, layer.n_out) for layer in net.layers[place : place + 3]] == [
        ((4, 6)[place],) * 2
    ] * 3
    trainer = rw.Trainer(net, loss="cross_entropy")
    trainer.fit(X, y, epochs=2, verbose=0)
    trainer.save(tmp_path / "t")
    resumed = rw.Trainer.resume(tmp_path / "t")
    assert [getattr(layer, "on", None) for layer in resumed.network.layers].count(False) == 1
    for t in (trainer, resumed):
        t.fit(X, y, epochs=1, verbose=0)
    assert resumed.network.predict(X).tobytes() == net.predict(X).tobytes()


class Wider(Flip):
    def connect(self, n):
        self.n_in, self.n_out = n, n + 1


class Silent(rw.Layer):
    pass


class Named(Flip):
    def __init__(self, name="mine"):
        pass


class Heavy(WeightLayer):
    forward, backward, config = Flip.forward, Flip.backward, Flip.config


@pytest.mark.parametrize(
    ("layer", "error", "says"),
    [
        (
            Silent(),
            TypeError,
            r"layers\[1\] \(Silent\) must define forward, backward: see rewire.Layer",
        ),
        (rw.Layer(), TypeError, r"layers\[1\] \(Layer\) must define forward, backward"),
        (Named(), TypeError, r"layers\[1\] \(Named\) must call its parameter 'name' otherwise"),
        (Heavy(3, 3, "relu", True), TypeError, r"Heavy must make its weight"),
        (Wider(), ValueError, r"layer 2 \(.*\) takes 3 inputs, but layer 1 \(Wider\(True\)\) gives 4"),
    ],
)
def test_a_layer_that_cannot_work_is_refused_when_the_network_is_built(layer, error, says):
    others = [rw.Sparse(4, 3, density=1.0), rw.Sparse(3, 2, density=1.0)]
    with pytest.raises(error, match=says):
        rw.Sequential([others[0], layer, others[1]])
    rw.Sequential(others)  # they are still free


@pytest.mark.parametrize(
    ("cls", "error", "says"),
    [
        (Silent, TypeError, r"cls \(Silent\) must define forward, backward"),
        (Flip(), TypeError, "cls must be a subclass of Layer"),
        (int, TypeError, "cls must be a subclass of Layer"),
        (type("Dropout", (Flip,), {}), ValueError, "there is Dropout of rewire.layers.dropout"),
    ],
)
def test_register_layer_refuses(cls, error, says):
    with pytest.raises(error, match=says):
        register_layer(cls)


def test_the_width_of_a_first_layer_is_said_and_not_guessed(tmp_path):
    def after(n):
        return rw.Sparse(n, 10)

    both = rw.layers.Concat
    with pytest.raises(ValueError, match=r"takes 128 inputs.*layers\[0\] .* does not say .*n_in=64"):
        rw.Sequential([both([[], []]), after(128)])
    with pytest.raises(ValueError, match="does not say how many inputs"):
        rw.Sequential([rw.layers.Row([both([[], [rw.BatchNorm()]])]), after(128)])
    for first in (
        both([[], []], n_in=64),
        rw.layers.Row([both([[], [rw.BatchNorm()]])], n_in=64),
        rw.layers.Row([rw.TwoSided()], n_in=64),
    ):
        net = rw.Sequential([first, after(128)], seed=0)
        assert net.n_in == 64
        net.save(tmp_path / "n")
        assert rw.load(tmp_path / "n").n_in == 64
    assert rw.Sequential([rw.layers.Residual([rw.Dropout(0.1)], n_in=64), after(64)]).n_in == 64
    with pytest.raises(ValueError, match="takes 64 inputs, but"):
        rw.Sequential([after(30), both([[], []], n_in=64), after(128)])
    with pytest.raises(ValueError, match="n_in must be an integer"):
        both([[]], n_in=-1)

    class Projected(rw.layers.ArrayLayer):
        def __init__(self, n_out):
            self.n_out = n_out

        def outputs(self, x, p):
            raise NotImplementedError

        gradients = outputs

    with pytest.raises(ValueError, match=r"layers\[0\] .*must say how many inputs it takes: give it n_in"):
        rw.Sequential([Projected(128), after(128)])


def test_biases_begin_as_their_option_says(tmp_path):
    def layers(**options):
        hidden = rw.Sparse(3, 300, density=0.5, activation="relu", **options)
        return [hidden, rw.Dense(300, 50, bias_init=rw.initializers.Normal(0.5)), rw.Sparse(50, 2)]

    net = rw.Sequential(layers(bias_init="fan-in"), seed=1)
    first, second, third = (layer.bias for layer in net.weight_layers)
    bounds = 1.0 / np.sqrt(np.maximum(net.layers[0].store.fan_in(), 1))
    assert (np.abs(first) <= bounds * (1 + 1e-6)).all() and np.abs(first / bounds).max() > 0.95
    assert 0.35 < second.std() < 0.65 and not third.any()
    plain = rw.Sequential(layers(), seed=1)
    assert not plain.layers[0].bias.any()
    for one, other in zip(net.weight_layers, plain.weight_layers, strict=True):  # weights are as without
        assert np.array_equal(one.weight.to_arrays()[2], other.weight.to_arrays()[2])
    net.save(tmp_path / "net.rw")
    loaded = rw.Sequential.load(tmp_path / "net.rw")
    assert np.array_equal(loaded.layers[0].bias, first) and loaded.config() == net.config()
    assert "bias_init=He(" in repr(loaded.layers[0]) and "bias_init" not in repr(plain.layers[0])
    assert (rw.Sequential([rw.Sparse(2, 3, bias_init=0.25)]).layers[0].bias == 0.25).all()
    given = rw.Sparse.from_dense([[1.0, 2.0]], [3.0])
    assert rw.Sequential([given]).layers[0].bias == 3.0
