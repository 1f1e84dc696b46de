"""Layer and batch normalisation: beside NumPy, in training and after it."""

import numpy as np
import pytest

import rewire as rw
from outside.layer_norm import NumpyLayerNorm
from rewire import _core

RNG = np.random.default_rng(11)
X = RNG.normal(size=(53, 9)) * 3 + 1
Y = RNG.normal(size=(53, 3))
TILE = 16


def network(norm, *, dtype="float64", seed=4):
    return rw.Sequential(
        [rw.Sparse(9, 20, density=0.5), norm, rw.Sparse(20, 3, density=0.5)], seed=seed, dtype=dtype
    )


def trained(norm, **given):
    net = network(norm, **given)
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.05, momentum=0.9), rewiring=rw.SET(0.3))
    trainer.fit(X, Y, epochs=3, batch_size=20, verbose=0)
    return net


def test_layer_norm_is_its_twin_in_numpy():
    ours, theirs = (trained(norm) for norm in (rw.LayerNorm(1e-3), NumpyLayerNorm(1e-3)))
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("dtype, close", [("float32", 2e-5), ("float64", 1e-12)])
@pytest.mark.parametrize("centered", [True, False])
def test_norms_of_tiles_are_their_formulas(centered, dtype, close):
    """About the mean, or by the root mean square, which no layer of this package has."""
    (batch, n), eps = X.shape, 0.1
    gain, shift, dy = RNG.normal(size=n), RNG.normal(size=n), RNG.normal(size=X.shape)

    def tiles(values=None):
        made = _core.Tiles(n, batch, TILE, dtype)
        if values is not None:
            made.pack(values)
        return made

    def padded(values):
        made = _core.aligned_zeros((n + 7) // 8 * 8, dtype)
        made[:n] = values
        return made

    y, z, dx = tiles(), tiles(), tiles()
    inverses = np.zeros(y.n_tiles * TILE, dtype)
    _core.layer_norm(tiles(X), padded(gain), padded(shift), eps, z, inverses, y, 1, centered)
    _core.layer_norm_back(z, inverses, padded(gain), tiles(dy), dx, 1, centered)

    x = X - X.mean(axis=1, keepdims=True) if centered else X
    inverse = 1 / np.sqrt(np.square(x).mean(axis=1, keepdims=True) + eps)
    d = dy * gain
    along = (d * x * inverse).mean(axis=1, keepdims=True) * x * inverse
    mean = d.mean(axis=1, keepdims=True) if centered else 0.0
    np.testing.assert_allclose(y.unpack(), x * inverse * gain + shift, rtol=close, atol=close)
    np.testing.assert_allclose(dx.unpack(), (d - mean - along) * inverse, rtol=close, atol=close)


def hidden(net):
    """What the normalisation takes."""
    return rw.Sequential([rw.Sparse.from_dense(net.layers[0].store.to_csr().toarray(), net.layers[0].bias)],
                         dtype="float64").predict(X)  # fmt: skip


def test_batch_norm_follows_the_moments_of_batches():
    net = network(rw.BatchNorm(momentum=0.25))
    layer, z = net.layers[1], hidden(net)
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(1e-30))
    trainer.fit(X, Y, epochs=1, batch_size=53, verbose=0, shuffle=False)
    np.testing.assert_allclose(layer.running_mean.values, 0.25 * z.mean(axis=0), rtol=1e-10)
    np.testing.assert_allclose(layer.running_var.values, 0.75 + 0.25 * z.var(axis=0, ddof=1), rtol=1e-10)
    wanted = (z - layer.running_mean.values) / np.sqrt(layer.running_var.values + 1e-5)
    last = net.layers[2]
    expected = wanted @ last.store.to_csr().toarray().T + last.bias
    np.testing.assert_allclose(net.predict(X), expected, rtol=1e-9)
    np.testing.assert_array_equal(net.predict(X[:1]), net.predict(X)[:1])  # by no batch of its own


def test_a_look_at_gradients_moves_no_moments():
    net = network(rw.BatchNorm())
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.01), rewiring=rw.RigL(every=1))
    trainer.fit(X, Y, epochs=1, batch_size=53, verbose=0)
    twin = network(rw.BatchNorm())
    rw.Trainer(twin, loss="mse", optimizer=rw.SGD(0.01)).fit(X, Y, epochs=1, batch_size=53, verbose=0)
    for net_, other in ((net.layers[1], twin.layers[1]),):
        np.testing.assert_allclose(net_.running_mean.values, other.running_mean.values, rtol=1e-12)


def test_a_batch_of_one_sample_is_normalised_by_the_running_moments():
    """53 samples in batches of 13 leave one over; without a variance it would be all shift."""
    net = network(rw.BatchNorm())
    trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.01))
    trainer.fit(X, Y, epochs=2, batch_size=13, verbose=0)
    before = net.layers[1].running_var.values.copy()
    trainer.train_step(X[:1], Y[:1])
    np.testing.assert_array_equal(net.layers[1].running_var.values, before)
    assert np.isfinite(net.predict(X)).all()


@pytest.mark.parametrize("norm", [rw.LayerNorm, rw.BatchNorm])
def test_threads_change_nothing(norm):
    def parts(threads):
        rw.set_num_threads(threads)
        net = network(norm(), dtype="float32")
        trainer = rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.05), threads=threads)
        data = np.tile(X, (10, 1)), np.tile(Y, (10, 1))
        trainer.fit(*data, epochs=2, batch_size=200, verbose=0)
        return trainer.arrays()

    try:
        one, four = parts(1), parts(4)
    finally:
        rw.set_num_threads(None)
    for name in one:
        np.testing.assert_array_equal(one[name], four[name], err_msg=name)


def test_removed_neurons_take_their_moments_along():
    net = trained(rw.BatchNorm())
    net.layers[2].store  # noqa: B018
    before = net.layers[1].running_mean.values.copy()
    kept = rw.remove_neurons(net, {0: [3, 4]}).kept[0]
    assert 3 not in kept and 4 not in kept
    np.testing.assert_array_equal(net.layers[1].running_mean.values, before[kept])
    with pytest.raises((TypeError, ValueError), match="LayerNorm"):
        rw.remove_neurons(trained(rw.LayerNorm()), {0: [3]})


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: rw.LayerNorm(0), "eps must be"),
        (lambda: rw.BatchNorm(-1), "eps must be"),
        (lambda: rw.BatchNorm(momentum=2), "momentum must be"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()
