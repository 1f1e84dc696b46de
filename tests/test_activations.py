"""Activations that a layer computes by itself: values, gains, what follows from the function."""

import math

import numpy as np
import pytest

import rewire as rw
from rewire.units import Unit, hidden_names

RNG = np.random.default_rng(11)
X = RNG.normal(size=(70, 9))
Y = RNG.integers(0, 3, 70)
ERF = np.vectorize(math.erf)
FUNCTIONS = {
    rw.Abs(): np.abs,
    rw.ThresholdedReLU(): lambda z: np.where(z > 1, z, 0.0),
    rw.ThresholdedReLU(0.25): lambda z: np.where(z > 0.25, z, 0.0),
    rw.ThresholdedReLU(0.0): lambda z: np.maximum(z, 0.0),
    rw.GELU(): lambda z: z * (1 + ERF(z / math.sqrt(2))) / 2,
    rw.GELU("tanh"): lambda z: z * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))) / 2,
    rw.SiLU(): lambda z: z / (1 + np.exp(-z)),
}
EACH = pytest.mark.parametrize("f", FUNCTIONS, ids=repr)


def network(f, dtype="float64", layer=rw.Sparse, **given):
    layers = [layer(9, 40, activation=f), layer(40, 40, activation=f), layer(40, 3, activation="softmax")]
    return rw.Sequential(layers, seed=3, dtype=dtype, **given)


@EACH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_values(f, dtype):
    weights = RNG.normal(size=(8, 9))
    net = rw.Sequential([rw.Sparse.from_dense(weights, np.arange(8.0) - 4, activation=f)], dtype=dtype)
    expected = FUNCTIONS[f](X @ weights.T + np.arange(8.0) - 4)
    close = {"rtol": 3e-5, "atol": 3e-5} if dtype == "float32" else {"rtol": 1e-12, "atol": 1e-14}
    found, sums = net.predict(X), X @ weights.T + np.arange(8.0) - 4
    near = np.abs(sums - getattr(f, "theta", -99.0)) < 1e-4  # either side of a jump
    np.testing.assert_allclose(found[~near], expected[~near], **close)


@pytest.mark.parametrize("f", [*FUNCTIONS, rw.ThresholdedReLU(3.0), rw.ReLU(), rw.LeakyReLU(0.3)], ids=repr)
def test_the_gain_keeps_the_mean_square(f):
    """Of a standard normal number: weights drawn by He's rule start with signals of the same size."""
    value = FUNCTIONS.get(f) or {
        "relu": lambda z: np.maximum(z, 0),
        "leaky-relu": lambda z: np.where(z > 0, z, 0.3 * z),
        "thresholded-relu": lambda z: np.where(z > 3, z, 0.0),
    }[f.name]  # fmt: skip
    z = np.linspace(-12, 12, 200_001)
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    assert (value(f.gain * z) ** 2 * density).sum() * (z[1] - z[0]) == pytest.approx(1, abs=1e-3)


@EACH
def test_trained_saved_and_the_same_on_any_threads(f, tmp_path):
    found = []
    for threads in (1, 3):
        layers = [
            rw.Sparse(9, 300, density=0.5, activation=f),
            rw.Dense(300, 96, activation=f),
            rw.Sparse(96, 3, activation="softmax"),
        ]
        trainer = rw.Trainer(rw.Sequential(layers, seed=1), loss="cross_entropy", threads=threads)
        trainer.fit(X, Y, epochs=2, batch_size=64, verbose=0)
        found.append(trainer)
    one, three = (each.network.arrays() for each in found)
    for name in one:
        np.testing.assert_array_equal(one[name], three[name])
    trainer.save(tmp_path / "t.safetensors")
    again = rw.Trainer.resume(tmp_path / "t.safetensors")
    assert again.network.layers[0].activation == f
    for each in (trainer, again):
        each.fit(X, Y, epochs=1, batch_size=64, verbose=0)
    np.testing.assert_array_equal(trainer.network.predict(X), again.network.predict(X))


@EACH
def test_constants_of_removed_neurons_go_on(f):
    """A neuron without inputs is f(bias) for every sample."""
    first, second = RNG.normal(size=(6, 9)), RNG.normal(size=(3, 6))
    first[[1, 4]] = 0
    bias = np.array([0.1, 2.0, -0.3, 0.0, -1.5, 0.4])
    net = rw.Sequential(
        [rw.Sparse.from_dense(first, bias, activation=f), rw.Sparse.from_dense(second, np.zeros(3))],
        dtype="float64",
    )
    before = net.predict(X)
    assert rw.remove_neurons(net).kept[0].tolist() == [0, 2, 3, 5]
    np.testing.assert_allclose(net.predict(X), before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("word", hidden_names())
def test_every_word_of_the_command_line_is_an_activation(word):
    net = rw.Sequential(rw.preset("default").layers([9, 20, 20, 3], hidden=word, epsilon=3), seed=0)
    trainer = rw.Trainer(net, loss="cross_entropy", rewiring="set")
    before = trainer.evaluate(X, Y)["loss"]
    trainer.fit(X, Y, epochs=4, batch_size=10, verbose=0)
    assert trainer.evaluate(X, Y)["loss"] < before


def test_words():
    build = rw.activations.activation
    assert build("swish") == build("SiLU") == rw.SiLU()
    assert build({"name": "gelu", "approximate": "tanh"}) == rw.GELU("tanh")
    assert build("thresholded_relu").theta == 1.0
    known = {*rw.activations.KINDS.names()} - {"softmax"}
    assert known == {*hidden_names()}
    assert {name for name in known if isinstance(build(name), Unit)} == {
        "srelu", "prelu", "two-sided", "k-winners", "two-sided-winners", "switchnet4",
    }  # fmt: skip
