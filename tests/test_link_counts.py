"""How many links a layer gets (exactly), where they lie, what they weigh, and what is refused."""

import math

import numpy as np
import pytest

import rewire as rw
from rewire import link_counts


def built(layer, seed=0, dtype="float32"):
    net = rw.Sequential([layer], seed=seed, dtype=dtype)
    net.validate()
    return net.layers[0]


SHAPES = [(1, 1), (7, 3), (3, 7), (50, 40), (64, 8), (33, 17)]


@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("epsilon", [0.1, 1, 2.5, 20])
@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_epsilon_counts_are_exact(n_in, n_out, epsilon, group):
    links = min(epsilon * (n_in + n_out), n_in * n_out)
    layer = built(rw.Sparse(n_in, n_out, epsilon=epsilon, group=group))
    groups = math.ceil(n_out / group)
    wanted = n_in * groups if links == n_in * n_out else math.floor(links * groups / n_out + 0.5)
    slots = min(n_in * groups, wanted)
    assert layer.store.slots == slots
    if group == 1:
        assert layer.nnz == slots


@pytest.mark.parametrize(("n_in", "n_out"), SHAPES)
@pytest.mark.parametrize("density", [0.0, 0.05, 0.5, 1.0])
def test_density_counts_are_exact(n_in, n_out, density):
    assert built(rw.Sparse(n_in, n_out, density=density)).nnz == math.floor(density * n_in * n_out + 0.5)


@pytest.mark.parametrize("group", [1, 4])
def test_fixed_fan_in(group):
    layer = built(rw.Sparse(30, 22, fan_in=7, group=group))
    assert set(layer.store.fan_in()) == {7}
    assert layer.nnz == 7 * 22


@pytest.mark.parametrize("links", [0, 1, 5, 100])
def test_links(links):
    assert built(rw.Sparse(10, 10, links=links)).nnz == links


def test_default_is_epsilon_20():
    assert built(rw.Sparse(784, 1000)).nnz == 20 * 1784


def test_an_epsilon_that_saturates_gives_a_full_sparse_layer():
    layer = built(rw.Sparse(30, 10, epsilon=20))
    assert isinstance(layer, rw.Sparse) and layer.nnz == 300 and layer.density == 1.0
    assert built(rw.Sparse(30, 10, epsilon=20, group=4)).nnz == 300


def test_positions_are_uniform():
    """Each of 60 positions is connected in about a third of 600 layers: none deviates by five deviations."""
    counts = np.zeros((6, 10))
    for seed in range(600):
        store = built(rw.Sparse(10, 6, links=20), seed).store
        np.add.at(counts, (np.repeat(np.arange(6), np.diff(store.indptr())), store.sources()), 1)
    expected, deviation = 600 / 3, math.sqrt(600 * (1 / 3) * (2 / 3))
    assert np.abs(counts - expected).max() < 5 * deviation


def test_seed_and_position_name_the_start():
    def start(seed, before=0):
        layers = [rw.Sparse(20, 20, epsilon=3) for _ in range(before)] + [rw.Sparse(20, 20, epsilon=3)]
        store = rw.Sequential(layers, seed=seed).layers[-1].store
        return store.sources().tolist(), store.get_field("weight").tolist()

    assert start(1) == start(1)
    assert start(1) != start(2)
    assert start(1) != start(1, before=1)


# --- ERK --------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [0.001, 0.05, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("power", [0, 0.5, 1])
def test_erk_is_exact_over_the_network(density, power):
    shapes = [(784, 1000), (1000, 1000), (1000, 50), (50, 10)]
    links = rw.erk_links(shapes, density, power)
    assert sum(links) == math.floor(density * sum(n * m for n, m in shapes) + 0.5)
    assert all(0 <= k <= n * m for k, (n, m) in zip(links, shapes, strict=True))


def test_erk_divides_in_proportion_and_fills_small_layers():
    shapes = [(800, 1000), (1000, 1000), (100, 10)]
    links = rw.erk_links(shapes, 0.05)
    assert links[2] == 1000  # would exceed its size: full
    density = [k / (n * m) for k, (n, m) in zip(links, shapes, strict=True)]
    ratio = (1800 / 800_000) / (2000 / 1_000_000)
    assert density[0] / density[1] == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("power", [0, 1])
def test_erk_divides_a_number_of_links_into_whole_slots(group, power):
    shapes = [(784, 1000), (1000, 1000), (1000, 48), (48, 16)]
    links = rw.erk_links(shapes, power=power, links=27_941, group=group)
    assert all(k % group == 0 for k in links) and abs(sum(links) - 27_941) <= group / 2
    free = rw.erk_links(shapes, power=power, links=27_941)
    assert sum(free) == 27_941
    assert all(abs(a - b) <= group for a, b in zip(links, free, strict=True))
    layers = [rw.Sparse(n, m, links=k, group=group) for (n, m), k in zip(shapes, links, strict=True)]
    assert [layer.nnz for layer in rw.Sequential(layers).layers] == links


def test_erk_fills_layers_whose_last_group_is_not_whole():
    assert rw.erk_links([(30, 10), (400, 400)], 0.05, group=4)[0] == 300


def test_erk_with_power_0_is_uniform():
    assert rw.erk_links([(100, 100), (100, 10)], 0.1, power=0) == [1000, 100]


# --- initial weights --------------------------------------------------------------------


def weights_of(layer):
    return layer.store.get_field("weight")


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        ("linear", 1),
        ("relu", 2**0.5),
        ("tanh", 5 / 3),
        ("sigmoid", 1),
        (rw.LeakyReLU(0.5), (2 / 1.25) ** 0.5),
        (rw.AllReLU(0.6), (2 / 1.36) ** 0.5),
    ],
)
def test_he_over_the_real_fan_in(distribution, activation, gain):
    # A hidden layer, because All-ReLU and its like may not stand at the end.
    layers = [
        rw.Sparse(500, 400, fan_in=50, activation=activation, init=rw.He(distribution)),
        rw.Sparse(400, 1),
    ]
    layer = rw.Sequential(layers, seed=3).layers[0]
    w = weights_of(layer)
    assert w.std() == pytest.approx(gain / math.sqrt(50), rel=0.03)
    assert abs(w.mean()) < 4 * w.std() / math.sqrt(w.size)
    if distribution == "uniform":
        assert np.abs(w).max() <= math.sqrt(3) * gain / math.sqrt(50)


def test_he_over_the_dense_fan_in_is_the_authors_he_uniform():
    w = weights_of(built(rw.Sparse(600, 400, epsilon=20, init=rw.He("uniform", "dense", gain=2**0.5))))
    assert np.abs(w).max() <= math.sqrt(6 / 600)
    assert w.std() == pytest.approx(math.sqrt(2 / 600), rel=0.03)


@pytest.mark.parametrize("fan", ["real", "dense"])
def test_xavier(fan):
    layer = built(rw.Sparse(600, 400, epsilon=20, init=rw.Xavier("normal", fan)))
    fans = 1000 if fan == "dense" else 20_000 / 600 + 20_000 / 400
    assert weights_of(layer).std() == pytest.approx(math.sqrt(2 / fans), rel=0.03)


@pytest.mark.parametrize(
    "what", ["he", "he-uniform", "xavier", "xavier-normal", "normal", "zeros", 0.25, rw.Normal(2)], ids=str
)
def test_dense_layers_take_the_same_initialisers(what):
    sparse = weights_of(rw.Sequential([rw.Sparse(300, 200, density=1.0, init=what)]).layers[0])
    dense = rw.Sequential([rw.Dense(300, 200, init=what)]).layers[0].weights
    deviation = float(sparse.std())
    assert dense.std() == pytest.approx(deviation, rel=0.02, abs=1e-9)
    assert dense.mean() == pytest.approx(sparse.mean(), abs=5 * max(1e-9, deviation) / math.sqrt(sparse.size))


@pytest.mark.parametrize(
    "init", [rw.He("uniform", "dense", 2.0), rw.Xavier("normal"), rw.Normal(0.3), rw.Fixed(2)]
)
def test_initialisers_survive_config(init):
    assert rw.initializers.initializer(init.config()) == init


# --- from a dense matrix ----------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_from_dense_keeps_what_is_not_zero(group):
    rng = np.random.default_rng(0)
    W = rng.normal(size=(11, 13)) * (rng.random((11, 13)) < 0.3)
    b = rng.normal(size=11)
    net = rw.Sequential([rw.Sparse.from_dense(W, b, group=group)], dtype="float64")
    net.validate()
    X = rng.normal(size=(9, 13))
    np.testing.assert_allclose(net.predict(X), X @ W.T + b, rtol=1e-12, atol=1e-12)
    if group == 1:
        assert net.nnz == np.count_nonzero(W)


def test_from_dense_by_threshold_and_density():
    W = np.arange(-6.0, 6.0).reshape(3, 4)
    assert built(rw.Sparse.from_dense(W, threshold=2)).nnz == np.count_nonzero(np.abs(W) > 2)
    for density in (0, 0.25, 0.5, 1):
        layer = built(rw.Sparse.from_dense(W, density=density))
        assert layer.nnz == round(12 * density) and layer.bias is None
    assert set(np.abs(weights_of(built(rw.Sparse.from_dense(W, density=0.25)))).ravel()) == {6.0, 5.0}


def test_from_dense_is_not_changed_by_its_source():
    W = np.eye(3)
    layer = rw.Sparse.from_dense(W)
    W[...] = 7
    assert set(weights_of(built(layer)).ravel()) == {1.0}


# --- too large --------------------------------------------------------------------------


def test_too_large_is_refused_before_anything_is_allocated(monkeypatch):
    monkeypatch.setattr(link_counts, "memory_available", lambda swap: 10 << 20)
    with pytest.raises(MemoryError, match=r"the network needs about .* MiB and 10 MiB are available"):
        rw.Sequential([rw.Sparse(100_000, 100_000, epsilon=20)])
    rw.Sequential([rw.Sparse(1000, 1000, epsilon=20)])


def test_a_full_layer_of_a_million_squared_is_refused():
    with pytest.raises(MemoryError, match="TiB"):
        rw.Sequential([rw.Sparse(1_000_000, 1_000_000, density=1.0)])
    with pytest.raises(MemoryError, match="TiB"):
        rw.Sequential([rw.Dense(1_000_000, 1_000_000)])


def test_optimizer_state_is_refused_too(monkeypatch):
    net = rw.Sequential([rw.Sparse(1000, 1000, epsilon=20)])
    monkeypatch.setattr(link_counts, "memory_available", lambda swap: 100 << 10)
    trainer = rw.Trainer(net, loss="mse", optimizer="adam")
    with pytest.raises(MemoryError, match="the optimizer's state needs about"):
        trainer.fit(np.zeros((2, 1000)), np.zeros((2, 1000)), verbose=0)


@pytest.mark.parametrize(("group", "states"), [(1, 0), (1, 1), (1, 2), (4, 0), (4, 1), (4, 2)])
def test_the_estimate_is_right(group, states):
    layer = rw.Sparse(2000, 1000, epsilon=20, group=group)
    slots = layer.weight.wanted_slots
    net = rw.Sequential([layer])
    fields = [(), ("momentum",), ("adam_m", "adam_v")][states]
    for name in fields:
        layer.store.add_field(name, "float32")
    estimate = link_counts.sparse_bytes(2000, 1000, slots, group, "float32", states=states)
    assert net.layers[0].store.nbytes <= estimate <= 1.1 * net.layers[0].store.nbytes


# --- wrong arguments --------------------------------------------------------------------

EYE = np.eye(3)
WRONG = [
    (lambda: rw.Sparse(0, 5), ValueError, r"n_in must be an integer in \[1, 2147483632\], got 0"),
    (lambda: rw.Sparse(5, 2.5), TypeError, r"n_out must be an integer .* got 2.5"),
    (lambda: rw.Sparse(5, 2**31), ValueError, r"n_out must be an integer"),
    (lambda: rw.Sparse(True, 5), TypeError, r"n_in must be an integer .* got True"),
    (lambda: rw.Sparse(5, 5, epsilon=-3), ValueError, r"epsilon must be a number > 0, got -3"),
    (lambda: rw.Sparse(5, 5, density=1.5), ValueError, r"density must be a number in \[0, 1\], got 1.5"),
    (lambda: rw.Sparse(5, 5, fan_in=6), ValueError, r"fan_in must be an integer in \[0, 5\], got 6"),
    (lambda: rw.Sparse(5, 5, links=26), ValueError, r"links must be an integer in \[0, 25\], got 26"),
    (lambda: rw.Sparse(5, 5, epsilon=1, density=0.1), ValueError, r"give one of .* got epsilon and density"),
    (lambda: rw.Sparse(5, 5, group=3), ValueError, r"group must be one of 1, 2, 4, 8, got 3"),
    (
        lambda: rw.Sparse(5, 5, group="4"),
        (TypeError, ValueError),
        r"group must be one of 1, 2, 4, 8, got '4'",
    ),
    (lambda: rw.Sparse(5, 5, bias=1), TypeError, r"bias must be True or False, got 1"),
    (lambda: rw.Sparse(5, 5, init="het"), ValueError, r"init must be one of .* got 'het'"),
    (lambda: rw.Sparse(5, 5, init=[1]), TypeError, r"init must be one of .* a number, a dict or an Init"),
    (lambda: rw.Sparse(5, 5, activation="relux"), ValueError, r"activation must be one of .* got 'relux'"),
    (lambda: rw.Sparse(5, 5, activation=3), TypeError, r"activation must be one of .* got 3"),
    (lambda: rw.Sparse.from_dense([1, 2]), ValueError, r"weights must be 2-D"),
    (lambda: rw.Sparse.from_dense([["a"]]), TypeError, r"weights must hold real numbers"),
    (lambda: rw.Sparse.from_dense(EYE * np.nan), ValueError, r"weights must be finite, got nan at \(0, 0\)"),
    (lambda: rw.Sparse.from_dense(EYE, [1, 2]), ValueError, r"bias must have shape \(3,\), got \(2,\)"),
    (lambda: rw.Sparse.from_dense(EYE, threshold=1, density=1), ValueError, r"give threshold or density"),
    (lambda: rw.Sparse.from_dense(EYE, threshold=-1), ValueError, r"threshold must be a number >= 0, got -1"),
    (lambda: rw.He("cauchy"), ValueError, r"distribution must be one of 'normal', 'uniform', got 'cauchy'"),
    (lambda: rw.He(fan="in"), ValueError, r"fan must be one of 'real', 'dense', got 'in'"),
    (lambda: rw.Normal(-1), ValueError, r"std must be a number >= 0, got -1"),
    (lambda: rw.erk_links([], 0.1), ValueError, r"shapes must name at least one layer"),
    (lambda: rw.erk_links([(3, 4)], 0), ValueError, r"density must be a number in \(0, 1\], got 0"),
    (lambda: rw.erk_links([3], 0.1), TypeError, r"shapes\[0\] must be a pair"),
    (lambda: rw.Dense(3, -1), ValueError, r"n_out must be an integer .* got -1"),
    (lambda: rw.Dropout(1.0), ValueError, r"p must be a number in \[0, 1\), got 1.0"),
    (lambda: rw.AllReLU(-0.1), ValueError, r"slope must be a number >= 0, got -0.1"),
    (lambda: rw.LeakyReLU("x"), TypeError, r"slope must be a number, got 'x'"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_arguments(case):
    call, kind, words = WRONG[case]
    with pytest.raises(kind, match=words):
        call()
