"""Blocks of two-sided switches, and the network of these and of transforms."""

import numpy as np
import pytest

import rewire as rw
from rewire.layers import Switches

RNG = np.random.default_rng(9)
X = RNG.normal(size=(61, 12))
Y = RNG.integers(0, 3, 61)


def links_of(layer):
    """The matrix of a sparse layer after both sides."""
    n, block = layer.weight.values.shape[0], layer.block
    rows, cols = layer.connections()
    found = np.zeros((n, 2 * n), layer.weight.values.dtype)
    upper, lower = np.split(layer.weight.values, 2, axis=1)
    found[rows, cols], found[rows, n + cols] = upper.ravel(), lower.ravel()
    assert block == layer.weight.values.shape[1] // 2
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("block", [1, 2, 4])
def test_blocks_are_two_sided_switches_with_these_links(block, dtype):
    """Forward bit for bit; gradients, whose sums have other lanes, to rounding."""
    ours = rw.Sequential([rw.Sparse(12, 12, density=0.7), Switches(block)], seed=2, dtype=dtype)
    first = rw.Sparse.from_dense(ours.layers[0].store.to_csr().toarray(), ours.layers[0].bias)
    last = rw.Sparse.from_dense(links_of(ours.layers[1]), group=block)
    theirs = rw.Sequential([first, rw.TwoSided(), last], dtype=dtype)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    targets = RNG.normal(size=(61, 12))
    kept = []
    for net in (ours, theirs):
        rw.Trainer(net, loss="mse", optimizer=rw.SGD(0.1)).gradients(X, targets)
        kept.append(net.parameters()["layers.0.weight"].read("gradient"))
    np.testing.assert_allclose(*kept, rtol=0, atol=1e-5 if dtype == "float32" else 1e-14)


def test_an_identity_at_the_start_is_a_network_without_switches():
    net = rw.Sequential([Switches(4, start="identity", n_in=12)], dtype="float64")
    eye = np.tile(np.eye(4), (3, 2))
    distance = net.layers[0].weight.values - eye
    assert 0.01 < distance.std() < 0.1
    assert np.abs(net.predict(X) - X).mean() < 0.2


def test_the_density_of_blocks_is_that_of_two_whole_matrices():
    """As that of two sides and a sparse layer with the same links."""
    blocks = rw.Sequential([Switches(4, n_in=12)])
    twin = rw.Sequential([rw.TwoSided(12), rw.Sparse(24, 12, links=12 * 8)])
    assert blocks.nnz == twin.nnz == 96 and blocks.density == twin.density == 1 / 3
    assert "96/288 (33.3 %)" in str(blocks)
    assert rw.Sequential([Switches(8, n_in=8)]).density == 1.0
    with pytest.raises(ValueError, match="full must be an integer >= 96, got 95"):
        rw.DenseParameter((12, 8), connects=True, full=95)


def classifier(seed=0, dtype="float32", **given):
    return rw.Sequential(
        [rw.SwitchNet4(12, depth=2, dropout=0.1, **given), rw.Sparse(16, 3, activation="softmax")],
        seed=seed,
        dtype=dtype,
    )


def trainer(net, **given):
    return rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.05, momentum=0.9), **given)


@pytest.mark.parametrize("threads", [1, 2, 5, 8])
def test_threads_change_nothing(threads):
    def parts(count):
        layers = [rw.SwitchNet4(128, width=256, depth=2), rw.Sparse(256, 3, activation="softmax")]
        run = trainer(rw.Sequential(layers, seed=1), threads=count, rewiring=rw.SET(0.3))
        x = np.random.default_rng(0).normal(size=(200, 128))
        run.fit(x, np.arange(200) % 3, epochs=2, batch_size=128, verbose=0)
        return run.arrays()

    one, many = parts(1), parts(threads)
    for name in one:
        np.testing.assert_array_equal(one[name], many[name], err_msg=name)


@pytest.mark.parametrize("mix", ["wht", "permutation"])
def test_it_resumes_bit_for_bit(mix, tmp_path):
    whole, half = (trainer(classifier(mix=mix), rewiring=rw.SET(0.3)) for _ in range(2))
    whole.fit(X, Y, epochs=4, batch_size=16, verbose=0)
    half.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    half.save(tmp_path / "half.safetensors")
    again = rw.Trainer.resume(tmp_path / "half.safetensors")
    again.fit(X, Y, epochs=2, batch_size=16, verbose=0)
    for name, values in whole.arrays().items():
        np.testing.assert_array_equal(values, again.arrays()[name], err_msg=name)


def test_what_it_is_made_of():
    net = classifier(skip=True)
    kinds = [type(layer).__name__ for layer in net.layers[0].layers]
    assert kinds == ["Mix", "Switches", "Dropout", "Mix", "Switches", "Dropout", "Mix"]
    assert net.layers[0].nnz == 2 * 4 * 16 * 2 and net.layers[0].n_out == 16
    assert [layer.skip for layer in net.layers[0].layers if isinstance(layer, rw.Mix)] == [0, 2, 2]
    assert rw.layers.layer_from_config(net.layers[0].config()).config() == net.layers[0].config()
    with pytest.raises((TypeError, ValueError), match="SwitchNet4"):
        rw.remove_neurons(rw.Sequential([rw.Sparse(9, 16), rw.SwitchNet4(), rw.Sparse(16, 2)]), {0: [3]})


def test_strengths_are_those_of_whole_matrices():
    net = rw.Sequential([Switches(4, n_in=12), rw.Sparse(12, 3)])
    with pytest.raises(TypeError, match="layer 0 \\(Switches 12 -> 12\\) has no matrix with a column"):
        rw.analysis.input_strength(net)
    assert net.nnz == 12 * 8 + net.layers[1].nnz


@pytest.mark.parametrize("flip", [True, False])
def test_it_is_one_linear_map_for_each_sample(flip):
    net = rw.Sequential([rw.SwitchNet4(12, depth=3, flip=flip), rw.Sparse(16, 3)], dtype="float64")
    for x in X[:4]:
        found = rw.analysis.linear_at(net, x)
        assert [s.size for s in found.switches] == [3 * 16]
        np.testing.assert_allclose(found(x), net.predict(x[None])[0], rtol=1e-10, atol=1e-12)


def test_it_goes_by_name():
    for what in ("switchnet4", {"name": "switchnet4", "block": 2, "mix": "permutation"}):
        layers = rw.preset("default").layers([12, 16, 16, 3], hidden=what, dropout=0.3)
        net = rw.Sequential(layers)
        assert [type(layer).__name__ for layer in layers] == ["SwitchNet4", "Sparse"]
        assert (
            layers[0].depth == 2
            and layers[0].dropout == 0.3
            and layers[0].mix == ("wht" if what == "switchnet4" else "permutation")
        )
        assert net.n_in == 12 and layers[1].n_in == 16
    found = rw.SparseMLPClassifier((16, 16), activation="switchnet4", max_iter=2, random_state=0)
    found.fit(X, Y)
    assert [type(layer).__name__ for layer in found.network_.layers] == ["SwitchNet4", "Sparse"]
    assert found.predict(X).shape == (61,)
    contenders = {"switch": {"activation": "switchnet4", "hidden": [16, 16]}, "set": {"hidden": [16, 16]}}
    result = rw.compare((X, Y), contenders, epochs=1, seeds=1, jobs=0, verbose=0)
    assert {run["contender"] for run in result} == {"switch", "set"}
    assert all("error" not in run for run in result)


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Switches(3), "block must be one of 1, 2, 4, 8, got 3"),
        (lambda: Switches(True), "block must be"),
        (lambda: Switches(4, start="zeros"), "start must be"),
        (lambda: rw.Sequential([Switches(4, n_in=6)]), "need a multiple of it, got 6 values"),
        (lambda: rw.SwitchNet4(12, width=18), "width must be a multiple of block 4, got 18"),
        (lambda: rw.SwitchNet4(12, width=8), "width must be"),
        (lambda: rw.SwitchNet4(depth=0), "depth must be"),
        (lambda: rw.SwitchNet4(mix="dct", skip=True), "skip belongs to mix='wht'"),
        (lambda: rw.preset("default").layers([12, 16, 32, 3], hidden="switchnet4"), "must be equally wide"),
        (lambda: rw.preset("default").layers([12, 8, 3], hidden="switchnet4"), "as wide as the 12 inputs"),
        (
            lambda: rw.preset("default").layers([12, 18, 18, 3], hidden="switchnet4"),
            r"hidden layers of switchnet4 .* multiples of block 4, got \[18, 18\]",
        ),
        (lambda: Switches(np.array([4, 2])), "block must be one of 1, 2, 4, 8, got an array"),
        (
            lambda: rw.Sequential([rw.Sparse(4, 4, activation="switchnet4")]),
            "activation must not be 'switchnet4'",
        ),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()
