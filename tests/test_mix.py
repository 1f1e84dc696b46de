"""Fixed transforms: orthonormal, beside their matrices, and what can be seen through them."""

import numpy as np
import pytest
from scipy.linalg import dft, hadamard

import rewire as rw
from rewire import _core
from rewire.layers.mix import MIXES

RNG = np.random.default_rng(8)


def network(n, layer, seed=3):
    """A network that is this layer, for a network has weights: those of an identity."""
    return rw.Sequential([rw.Sparse.from_dense(np.eye(n)), layer], dtype="float64", seed=seed)


def matrix(n, **given):
    """What a layer does to each unit vector, as columns."""
    return network(n, rw.Mix(**given)).predict(np.eye(n)).T


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 12, 33, 100])
def test_every_mix_is_orthonormal_for_every_width(mix, n):
    for flip in (False, True):
        found = matrix(n, mix=mix, flip=flip)
        np.testing.assert_allclose(found @ found.T, np.eye(n), atol=1e-13)


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_it_is_hadamards_matrix_for_powers_of_two(n):
    np.testing.assert_allclose(matrix(n, mix="wht"), hadamard(n) / np.sqrt(n), atol=1e-14)


@pytest.mark.parametrize(
    "n, stages, skip", [(12, None, 0), (100, None, 0), (50, 3, 0), (20, 4, 2), (7, 2, 1)]
)
def test_other_widths_are_two_windows_of_it(n, stages, skip):
    last = int(np.log2(n)) if stages is None else stages
    block = np.kron(hadamard(1 << (last - skip)), np.eye(1 << skip)) / np.sqrt(1 << (last - skip))
    whole = n >> last << last
    ours, theirs = np.eye(n), np.eye(n)
    blocks = np.kron(np.eye(whole >> last), block)
    ours[:whole, :whole], theirs[n - whole :, n - whole :] = blocks, blocks
    found = matrix(n, mix="wht", stages=stages, skip=skip)
    np.testing.assert_allclose(found, ours @ theirs @ ours, atol=1e-13)
    np.testing.assert_allclose(found, found.T, atol=1e-14)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_hartley_is_the_real_less_the_imaginary_part(n):
    f = dft(n, scale="sqrtn")
    np.testing.assert_allclose(matrix(n, mix="hartley"), f.real - f.imag, atol=1e-13)


def test_wider_outputs_are_as_large_on_average():
    x = RNG.normal(size=(400, 20))
    for mix in MIXES:
        y = network(20, rw.Mix(mix, width=32, flip=True)).predict(x)
        assert y.shape == (400, 32)
        np.testing.assert_allclose((y**2).mean(), (x**2).mean(), rtol=1e-10)


def test_signs_and_order_come_from_the_seed_and_are_saved(tmp_path):
    def made(seed):
        return network(50, rw.Mix("permutation", flip=True), seed)

    x = RNG.normal(size=(3, 50))
    first = made(1).predict(x)
    np.testing.assert_array_equal(made(1).predict(x), first)
    assert (made(2).predict(x) != first).any()
    net = made(1)
    net.save(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(rw.load(tmp_path / "net.safetensors").predict(x), first)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("width", [None, 30])
def test_the_map_of_a_mix_is_the_mix(mix, width):
    net = rw.Sequential(
        [rw.Mix(mix, 21, width=width, flip=True), rw.Sparse(width or 21, 3, activation="linear")],
        dtype="float64",
    )
    x = RNG.normal(size=21)
    found = rw.analysis.linear_at(net, x)
    other = RNG.normal(size=21)  # the same map everywhere
    np.testing.assert_allclose(found(other), net.predict(other[None])[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("given", [{"flip": True}, {"width": 27, "flip": True}, {"stages": 3, "skip": 1}, {}])
@pytest.mark.parametrize("mix", MIXES)
def test_gradients_go_back_through_the_matrix(mix, given):
    if mix != "wht" and "stages" in given:
        given = {"width": 40}
    first = rw.Sparse.from_dense(RNG.normal(size=(19, 5)), activation="tanh")
    net = rw.Sequential([first, rw.Mix(mix, **given), rw.Dense(given.get("width", 19), 2)], dtype="float64")
    mixed, last = net.layers[1], net.layers[2]
    alone = network(19, rw.Mix(mix, **given))
    for name, buffer in mixed.buffers().items():
        alone.layers[1].buffers()[name].values = buffer.values
    twins = [
        rw.Sparse.from_dense(first.store.to_csr().toarray(), first.bias, activation="tanh"),
        rw.Sparse.from_dense(alone.predict(np.eye(19)).T),
        rw.Sparse.from_dense(last.weights, last.bias),
    ]
    twin = rw.Sequential(twins, dtype="float64")
    x, y = RNG.normal(size=(37, 5)), RNG.normal(size=(37, 2))
    np.testing.assert_allclose(net.predict(x), twin.predict(x), atol=1e-12)
    kept = []
    for each in (net, twin):
        rw.Trainer(each, loss="mse", optimizer=rw.SGD(0.1)).gradients(x, y)
        kept.append([each.layers[i].weight.read("gradient") for i in (0, 2)])
    for ours, theirs in zip(*kept, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-13)


def test_stages_reach_their_block_alone():
    layer = rw.Mix("wht", 16, stages=2)
    network(16, layer)
    mask = np.zeros(16, bool)
    mask[5] = True
    assert np.flatnonzero(layer.live_outputs(mask)).tolist() == [4, 5, 6, 7]
    rows, cols = layer.connections()
    assert rows.size == 64 and (rows // 4 == cols // 4).all()
    for stages, skip in ((3, 0), (2, 1), (None, 0)):  # with windows that overlap
        layer = rw.Mix("wht", 22, stages=stages, skip=skip)
        net = network(22, layer)
        there = np.zeros((22, 22), bool)
        there[layer.connections()] = True
        assert there[np.abs(net.predict(np.eye(22)).T) > 1e-12].all()


def test_neurons_are_followed_through_a_permutation_and_nothing_else():
    def around(mix):
        first = RNG.normal(size=(12, 9))
        onwards = RNG.normal(size=(3, 12))
        onwards[:, [2, 5]] = 0
        layers = [
            rw.Sparse.from_dense(first, np.ones(12), activation="relu"),
            rw.Mix(mix, flip=True),
            rw.Sparse.from_dense(onwards, np.zeros(3)),
        ]
        return rw.Sequential(layers, dtype="float64")

    x = RNG.normal(size=(20, 9))
    net = around("permutation")
    before, order = net.predict(x), net.layers[1].order.values.copy()
    found = rw.remove_neurons(net)
    assert sorted({*range(12)} - {*found.kept[0].tolist()}) == sorted(order[[2, 5]].tolist())
    assert sorted(net.layers[1].order.values.tolist()) == list(range(10))
    np.testing.assert_allclose(net.predict(x), before, rtol=0, atol=1e-13)
    for mix in ("wht", "dct", "hartley"):
        with pytest.raises((TypeError, ValueError), match="Mix"):
            rw.remove_neurons(around(mix), {0: [3]})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1000, 1024])
def test_threads_change_nothing(dtype, n):
    x = RNG.normal(size=(70, n)).astype(dtype)
    tiles, one, other = (_core.Tiles(n, 70, 64 if dtype == "float32" else 32, dtype) for _ in range(3))
    tiles.pack(x)
    _core.wht(tiles, one, 0, 9, 1)
    for threads in range(2, 9):
        _core.wht(tiles, other, 0, 9, threads)
        np.testing.assert_array_equal(one.unpack(), other.unpack())


def test_without_scipy_it_says_so(monkeypatch):
    import sys

    net = network(4, rw.Mix("dct"))
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(ImportError, match="need SciPy, which is not installed"):
        net.predict(np.eye(4))
    network(4, rw.Mix("wht")).predict(np.eye(4))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: rw.Mix("fourier"), "mix must be one of"),
        (lambda: rw.Mix("wht", 0), "n_in must be"),
        (lambda: rw.Mix("wht", 9, width=8), "width must be"),
        (lambda: rw.Mix("dct", stages=2), "stages belongs to mix='wht'"),
        (lambda: rw.Mix("permutation", skip=2), "skip belongs to mix='wht'"),
        (lambda: rw.Mix(stages=2, skip=3), "skip must be at most the 2 stages"),
        (lambda: rw.Sequential([rw.Mix("wht", 9, stages=4)]), "stages must be at most 3 for 9 values, got 4"),
        (lambda: rw.Sequential([rw.Mix("wht", 9, skip=4)]), "skip must be at most 3 for 9 values, got 4"),
        (lambda: rw.Sequential([rw.Sparse(4, 9), rw.Mix(width=8)]), "width must be at least the 9 values"),
    ],
)
def test_bad_arguments(make, words):
    with pytest.raises(ValueError, match=words):
        make()
