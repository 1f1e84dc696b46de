"""A network as the linear map that it is for one input."""

import numpy as np
import pytest

import rewire as rw
from rewire.analysis import linear_at, visited_maps
from rewire.layers import Concat, Residual

RNG = np.random.default_rng(2)
X = RNG.normal(size=(30, 9)) * 2 + 0.5
Y = RNG.integers(0, 3, 30)

HIDDEN = {
    "relu": lambda: [rw.Sparse(9, 20, density=0.5, activation="relu")],
    "all-relu": lambda: [rw.Sparse(9, 20, density=0.5, activation="all-relu")],
    "abs": lambda: [rw.Sparse(9, 20, density=0.5, activation="abs", group=4)],
    "thresholded": lambda: [rw.Sparse(9, 20, density=0.5, activation=rw.ThresholdedReLU(0.2))],
    "winners": lambda: [rw.Sparse(9, 20, density=0.5), rw.KWinners(0.2)],
    "winners on both sides": lambda: [rw.Dense(9, 20), rw.KWinners(k=4, two_sided=True)],
    "dense": lambda: [rw.Dense(9, 20, activation=rw.LeakyReLU(0.1))],
    "no bias": lambda: [rw.Sparse(9, 20, density=0.5, activation="relu", bias=False)],
    "srelu": lambda: [rw.Sparse(9, 20, density=0.5), rw.SReLU("published")],
    "prelu": lambda: [rw.Sparse(9, 20, density=0.5), rw.PReLU()],
    "two-sided": lambda: [rw.Sparse(9, 20, density=0.5), rw.TwoSided()],
    "batch norm": lambda: [rw.Sparse(9, 20, density=0.5), rw.BatchNorm(), rw.Dropout(0.3), rw.PReLU()],
    "residual": lambda: [Residual([rw.Sparse(9, 9, density=0.5, activation="relu"), rw.Sparse(9, 9)])],
    "concat": lambda: [Concat([rw.Sparse(9, 4, activation="relu"), [rw.Sparse(9, 5), rw.PReLU()], []])],
}


def network(name, output="softmax", dtype="float64"):
    hidden = HIDDEN[name]()
    probe = rw.layers.Row(HIDDEN[name]())
    probe.connect(9)
    layers = [*hidden, rw.Sparse(probe.n_out, 3, density=0.7, activation=output)]
    net = rw.Sequential(layers, seed=5, dtype=dtype)
    trainer = rw.Trainer(
        net,
        loss="cross_entropy" if output == "softmax" else "mse",
        optimizer=rw.SGD(0.05),
        standardize=True,
    )
    trainer.fit(X, Y if output == "softmax" else X[:, :3], epochs=3, batch_size=8, verbose=0)
    return net


@pytest.mark.parametrize("name", HIDDEN)
def test_the_map_is_the_network_for_this_input(name):
    net = network(name, "linear")
    for x in X[:8]:
        found = linear_at(net, x)
        np.testing.assert_allclose(found(x), net.predict(x[None])[0], rtol=1e-10, atol=1e-12)
        assert found.matrix.shape == (3, 9)
        near = x + 1e-9 * RNG.normal(size=9)  # on the same pieces
        np.testing.assert_allclose(found(near), net.predict(near[None])[0], rtol=1e-9, atol=1e-12)


def test_softmax_is_left_out():
    net = network("relu")
    outputs = linear_at(net, X[0])(X[0])
    exponentials = np.exp(outputs - outputs.max())
    np.testing.assert_allclose(exponentials / exponentials.sum(), net.predict(X[:1])[0], rtol=1e-10)


def test_float32_agrees_up_to_its_rounding():
    net = network("all-relu", "linear", "float32")
    np.testing.assert_allclose(linear_at(net, X[3])(X[3]), net.predict(X[3:4])[0], rtol=1e-4, atol=1e-5)


def test_switches_say_which_piece():
    net = rw.Sequential(
        [
            rw.Sparse.from_dense(np.array([[1.0], [-1.0], [3.0]])),
            rw.SReLU("identity"),
            rw.Sparse.from_dense(np.ones((1, 3))),
        ],
        dtype="float64",
    )
    assert linear_at(net, [1.0]).switches[0].tolist() == [0, -1, 1]
    assert linear_at(net, [-1.0]).switches[0].tolist() == [-1, 0, -1]


def test_maps_are_counted():
    """One neuron that is open for x > 0, one for x < 0, one always."""
    first, bias = np.array([[1.0], [-1.0], [0.0]]), np.array([0.0, 0.0, 1.0])
    net = rw.Sequential(
        [rw.Sparse.from_dense(first, bias, activation="relu"), rw.Sparse.from_dense(np.ones((1, 3)))],
        dtype="float64",
    )
    visits = visited_maps(net, np.array([[1.0], [2.0], [3.0], [-1.0]]))
    assert (visits.maps, visits.samples, visits.counts.tolist()) == (2, 4, [3, 1])
    np.testing.assert_allclose(visits.upper[0], [0.75, 0.25, 1.0])


@pytest.mark.parametrize(
    "layers",
    [
        [rw.Sparse(9, 5, activation="tanh"), rw.Sparse(5, 3)],
        [rw.Sparse(9, 5, activation="gelu"), rw.Sparse(5, 3)],
        [rw.Sparse(9, 5, activation="silu"), rw.Sparse(5, 3)],
        [rw.Sparse(9, 5), rw.LayerNorm(), rw.Sparse(5, 3)],
    ],
)
def test_what_is_not_made_of_straight_pieces_is_named(layers):
    net = rw.Sequential(layers)
    for call in (lambda: linear_at(net, X[0]), lambda: visited_maps(net, X)):
        with pytest.raises(TypeError, match=r"layer \d \((Sparse 9|LayerNorm).*piecewise linear"):
            call()
    with pytest.raises(ValueError, match="x must"):
        linear_at(network("relu"), X[0, :4])
    with pytest.raises(TypeError, match="network must be a Sequential"):
        linear_at(net.layers[0], X[0])
