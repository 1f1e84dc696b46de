"""Activations whose shape is learned: where they start, what they learn, what they refuse."""

import numpy as np
import pytest

import rewire as rw

RNG = np.random.default_rng(7)
X = RNG.normal(size=(41, 9))
Y = RNG.normal(size=(41, 3))
SIZES = [9, 12, 13, 3]


def network(weights, make, activation="linear"):
    """These matrices, with what ``make`` gives, or an activation, between them."""
    layers = []
    for matrix in weights:
        hidden = matrix is not weights[-1]
        bias = np.full(len(matrix), 0.1)
        layers += [rw.Sparse.from_dense(matrix, bias, activation=activation if hidden else "linear")]
        layers += [make()] if hidden and make else []
    return rw.Sequential(layers, dtype="float64")


STARTS = {
    "identity": (lambda: rw.SReLU("identity"), "linear"),
    "all-relu": (rw.SReLU, rw.AllReLU(0.6)),
    "another slope": (lambda: rw.SReLU(slope=0.3), rw.AllReLU(0.3)),
    "prelu as all-relu": (lambda: rw.PReLU("all-relu"), rw.AllReLU(0.6)),
    "prelu as relu": (lambda: rw.PReLU(0.0), "relu"),
    "prelu": (rw.PReLU, rw.LeakyReLU(0.25)),
}


@pytest.mark.parametrize("start", STARTS)
def test_starts_as_the_activation_it_is_made_from(start):
    make, twin = STARTS[start]
    weights = [RNG.normal(size=(m, n)) / n for n, m in zip(SIZES, SIZES[1:], strict=False)]
    ours, theirs = network(weights, make), network(weights, None, twin)
    few = X / 10  # values stay left of the right knee of an S-shape
    np.testing.assert_allclose(ours.predict(few), theirs.predict(few), rtol=1e-12, atol=1e-14)
    for net in (ours, theirs):
        rw.Trainer(net, loss="mse").gradients(few, Y)
    for a, b in zip(ours.sparse_parameters, theirs.sparse_parameters, strict=True):
        np.testing.assert_allclose(a.read("gradient"), b.read("gradient"), rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "make, gain",
    [
        (rw.SReLU, np.sqrt(2 / 1.36)),
        (lambda: rw.SReLU("identity"), 1.0),
        (lambda: rw.SReLU("published"), np.sqrt(1.5)),
        (lambda: rw.PReLU(0.5), np.sqrt(1.6)),
        (rw.TwoSided, np.sqrt(2)),
    ],
)
def test_initial_weights_know_what_follows_them(make, gain):
    """He's factor is that of the activation in whose place the next layer stands."""
    wide, after = rw.Sparse(4, 6000, density=1.0), make()
    n = 12000 if isinstance(after, rw.TwoSided) else 6000
    rw.Sequential([wide, after, rw.Sparse(n, 1, links=9)], seed=1)
    np.testing.assert_allclose(wide.weight.read().std() * np.sqrt(4), gain, rtol=0.02)
    own = rw.Sparse(4, 6000, density=1.0, activation="relu")  # one that has an activation of its own
    rw.Sequential([own, make(), rw.Sparse(n, 1, links=9)], seed=1)
    np.testing.assert_allclose(own.weight.read().std() * np.sqrt(4), np.sqrt(2), rtol=0.02)


@pytest.mark.parametrize("make", [rw.SReLU, lambda: rw.SReLU("published"), rw.PReLU])
def test_shapes_are_trained_and_do_not_decay(make):
    weights = [RNG.normal(size=(m, n)) / 3 for n, m in zip(SIZES, SIZES[1:], strict=False)]
    net = network(weights, make)
    shape = net.layers[1].shape
    before = shape.values.copy()
    still = rw.Trainer(net, loss="mse", optimizer=rw.SGD(1e-12, weight_decay=1e11))
    still.train_step(X, Y)
    np.testing.assert_allclose(shape.values, before, rtol=0, atol=1e-6)
    rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.05)).fit(X, Y, epochs=3, batch_size=10, verbose=0)
    assert np.abs(shape.values - before).max() > 1e-3


def test_knees_that_meet_stay_one_continuous_function():
    """A right knee left of the left one counts as lying on it."""
    net = network([np.eye(3)[:, :1] * 0 + 1.0, np.ones((1, 3))], rw.SReLU)
    net.layers[1].shape.values[...] = np.array([[0.5], [0.2], [-1.0], [3.0]])
    net.layers[1].shape.touch()
    at = np.linspace(0.3, 0.5, 2001)[:, None]
    steps = np.abs(np.diff(net.predict(at).ravel()))
    assert steps.max() <= 3 * 3.0 * 1e-4 + 1e-9  # three neurons, the steepest slope


def test_bad_arguments():
    with pytest.raises(ValueError, match="start must be one of .*, got 'he'"):
        rw.SReLU("he")
    with pytest.raises(ValueError, match="slope must be"):
        rw.SReLU(slope=-1)
    with pytest.raises(ValueError, match="start must be a number or 'all-relu', got 'relu'"):
        rw.PReLU("relu")
    with pytest.raises(ValueError, match="last layer must be"):
        rw.Sequential([rw.Sparse(9, 3), rw.SReLU()])


@pytest.mark.parametrize(
    "word, kind",
    [
        ("srelu", rw.SReLU),
        ("PReLU", rw.PReLU),
        ("two_sided", rw.TwoSided),
        ("k-winners", rw.KWinners),
        ("two-sided-winners", rw.KWinners),
    ],
)
def test_units_go_by_their_names(word, kind):
    """In perceptrons, which put the layer after every hidden one with weights."""
    layers = rw.preset("default").layers([9, 30, 20, 3], hidden=word, dropout=0.1)
    assert [type(layer) for layer in layers] == [rw.Sparse, kind, rw.Dropout] * 2 + [rw.Sparse]
    net = rw.Sequential(layers, seed=0)
    assert net.layers[3].n_in == (60 if "two" in word else 30)
    model = rw.SparseMLPClassifier((30,), activation=word, max_iter=3, random_state=0)
    assert model.fit(X, Y.argmax(1)).predict(X).shape == (41,)
    with pytest.raises(ValueError, match=f"put rewire.{kind.__name__}\\(\\) after"):
        rw.Sequential([rw.Sparse(9, 3, activation=word), rw.Sparse(3, 1)])
