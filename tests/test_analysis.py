"""rewire.analysis: every figure against a slow way to the same, or a case known by heart."""

import copy
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewire as rw
from rewire import analysis
from rewire.analysis import powerlaw
from rewire.analysis.powerlaw import power_law

pytest.importorskip("scipy")


def layers(shapes, density=0.3, group=1, seed=0):
    """A network of sparse layers, (n_in, n_out) each."""
    return rw.Sequential([rw.Sparse(n, m, density=density, group=group) for n, m in shapes], seed=seed)


def from_matrices(*matrices):
    """A network whose links are where the matrices (n_out, n_in) are not zero."""
    return rw.Sequential([rw.Sparse.from_dense(np.asarray(m, dtype="f4")) for m in matrices])


def matrix(layer):
    """What is connected, (n_out, n_in)."""
    found = np.zeros((layer.n_out, layer.n_in), bool)
    rows, cols, _ = (layer.store if isinstance(layer, rw.Sparse) else layer).to_arrays()
    found[rows, cols] = True
    return found


def shuffled(net, seed=0):
    """The same network with its hidden neurons in another order."""
    rng, given, found = np.random.default_rng(seed), np.arange(net.n_in), []
    for layer in net.weight_layers:
        order = rng.permutation(layer.n_out) if layer is not net.layers[-1] else np.arange(layer.n_out)
        found.append(layer.store.to_csr().toarray()[order][:, given])
        given = order
    return from_matrices(*found)


# --- one layer --------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_degrees_and_strength(group):
    net = rw.Sequential([rw.Sparse(13, 21, density=0.2, group=group), rw.Dense(21, 3)])
    sparse, dense = net.weight_layers
    weights = sparse.store.to_csr().toarray().astype(float)
    first, second = analysis.degrees(net)
    assert np.array_equal(first.fan_in, matrix(sparse).sum(axis=1))
    assert np.array_equal(first.fan_out, matrix(sparse).sum(axis=0))
    assert second.fan_in.tolist() == [21] * 3 and second.fan_out.tolist() == [3] * 21
    for same in (sparse, sparse.store):
        assert np.array_equal(analysis.degrees(same).fan_out, first.fan_out)
        assert analysis.input_strength(same) == pytest.approx(np.abs(weights).sum(axis=0), rel=1e-12)
    assert np.array_equal(analysis.input_strength(net), analysis.input_strength(sparse))
    assert analysis.input_strength(dense) == pytest.approx(np.abs(dense.weights).sum(axis=0), rel=1e-6)


@pytest.mark.parametrize("shape, bins", [((13, 7), 64), ((130, 97), 10), ((5, 300), 32), ((9, 9), 1)])
def test_link_map(shape, bins):
    layer = layers([shape], group=2).layers[0]
    full = matrix(layer)
    found = analysis.link_map(layer, bins)
    height, width = (min(bins, n) for n in full.shape)
    assert found.shape == (height, width)
    rows, cols = (np.arange(n) * m // n for n, m in zip(full.shape, found.shape, strict=True))
    for i, j in itertools.product(range(height), range(width)):
        assert found[i, j] == pytest.approx(full[np.ix_(rows == i, cols == j)].mean(), abs=1e-12)


def test_what_is_no_layer_is_refused():
    with pytest.raises(
        TypeError, match="network must be a Sequential, a layer with weights or a WeightStore"
    ):
        analysis.degrees(np.ones((2, 2)))
    with pytest.raises(TypeError, match="b must be a Sequential"):
        analysis.overlap(layers([(3, 4)]), "other")


# --- power laws -------------------------------------------------------------------------


@pytest.mark.parametrize("q", [1.0, 2.0, 17.0, 1000.0])
@pytest.mark.parametrize("alpha", [1.01, 1.5, 2.5, 6.0, 40.0])
def test_zeta_is_scipys(alpha, q):
    from scipy.special import zeta

    found = powerlaw._zeta(np.array([alpha]), np.array([q]))[0]
    assert found == pytest.approx(zeta(alpha, q) * q**alpha, rel=1e-13)


@pytest.mark.parametrize("alpha", [1.6, 2.1, 2.5, 3.5])
def test_exponent_of_a_zeta_distribution_is_recovered(alpha):
    for seed in range(10):
        x = np.random.default_rng(seed).zipf(alpha, 3000)
        fit = power_law(x, xmin=1)
        assert abs(fit.alpha - alpha) < 3 * fit.sigma, seed
        assert fit.n_tail == 3000 and fit.sigma < 0.15


def test_standard_error_is_the_spread():
    alphas, sigmas = [], []
    for seed in range(200):
        fit = power_law(np.random.default_rng(seed).zipf(2.4, 400), xmin=1)
        alphas.append(fit.alpha)
        sigmas.append(fit.sigma)
    # The spread of 200 numbers is known to 1 / sqrt(400), 3.5 of which are allowed.
    assert np.std(alphas) == pytest.approx(np.mean(sigmas), rel=0.175)


def test_xmin_is_found():
    rng = np.random.default_rng(1)
    tail = powerlaw._draw(powerlaw.PowerLaw(2.5, 20, 0.0, 0.0, 0), 4000, rng)
    fit = power_law(np.concatenate([tail, rng.integers(1, 20, 6000)]))
    assert 18 <= fit.xmin <= 24
    assert abs(fit.alpha - 2.5) < 3 * fit.sigma


def slow_ks(fit, x):
    """The distance at every whole number of the tail."""
    from scipy.special import zeta

    tail = np.sort(x[x >= fit.xmin])
    every = np.arange(fit.xmin, tail[-1] + 1)
    model = 1 - zeta(fit.alpha, every + 1) / zeta(fit.alpha, fit.xmin)
    seen = np.searchsorted(tail, every, side="right") / tail.size
    return np.abs(model - seen).max()


@pytest.mark.parametrize("seed", range(4))
def test_fit_is_the_best_of_a_slow_search(seed):
    from scipy.optimize import minimize_scalar
    from scipy.special import zeta

    x = np.random.default_rng(seed).negative_binomial(3, 0.2, 150)
    found = {}
    for xmin in np.unique(x[x > 0])[:-1]:
        tail = x[x >= xmin]
        best = minimize_scalar(
            lambda a, tail=tail, xmin=xmin: (
                a * np.log(tail / xmin).sum() + tail.size * np.log(zeta(a, xmin) * float(xmin) ** a)
            ),
            bounds=(1.0001, 120.0),
            method="bounded",
            options={"xatol": 1e-9},
        )
        fit = power_law(x, xmin=int(xmin))
        assert fit.alpha == pytest.approx(best.x, rel=1e-5)
        assert fit.ks == pytest.approx(slow_ks(fit, x), abs=1e-9)
        found[int(xmin)] = fit
    best = power_law(x)
    nearest = min(found.values(), key=lambda fit: (fit.ks, fit.xmin))
    assert (best.xmin, best.n_tail) == (nearest.xmin, nearest.n_tail)
    assert (best.alpha, best.sigma, best.ks) == pytest.approx(
        (nearest.alpha, nearest.sigma, nearest.ks), rel=1e-9
    )


def test_draws_follow_the_fit():
    fit = powerlaw.PowerLaw(2.2, 5, 0.0, 0.0, 0)
    x = powerlaw._draw(fit, 20_000, np.random.default_rng(0))
    assert x.min() == 5
    assert slow_ks(fit, x[x < 10_000]) < 1.95 / np.sqrt(20_000) + 1e-3  # 0.001 level, and the cut


def test_bootstrap_keeps_what_is_below_xmin():
    x = np.concatenate([np.repeat([1, 3], [300, 100]), np.full(100, 20), np.arange(20, 60)])
    fit = power_law(x, xmin=20)
    samples = [powerlaw._sample(fit, x, np.random.default_rng(seed)) for seed in range(50)]
    assert {sample.size for sample in samples} == {x.size}
    together = np.concatenate(samples)
    assert set(together[together < 20]) == {1, 3}
    assert np.mean(together < 20) == pytest.approx(400 / x.size, abs=0.01)
    assert np.mean(together == 1) == pytest.approx(300 / x.size, abs=0.01)


def test_p_value_tells_a_power_law_from_others():
    rng = np.random.default_rng(0)
    assert power_law(rng.zipf(2.5, 500), bootstrap=60, xmin=1).p_value > 0.1
    assert power_law(1 + rng.poisson(3, 500), bootstrap=60, xmin=1).p_value == 0.0
    x = rng.zipf(2.5, 200)
    again = [power_law(x, bootstrap=20, seed=seed).p_value for seed in (3, 3)]
    assert again[0] == again[1] and power_law(x).p_value is None


def test_bad_degrees():
    with pytest.raises(ValueError, match="two different numbers > 0, got"):
        power_law([0, 4, 4])
    with pytest.raises(ValueError, match="two different numbers > 0 from xmin=5 on"):
        power_law([1, 2, 3, 9], xmin=5)
    with pytest.raises(TypeError, match="degrees must be whole numbers"):
        power_law([1.5, 2.0])
    with pytest.raises(ValueError, match="degrees must be >= 0, got -1"):
        power_law([-1, 2])


# --- distances --------------------------------------------------------------------------


def test_overlap():
    a, b = layers([(9, 14), (14, 5)], seed=0), layers([(9, 14), (14, 5)], seed=1)
    x, y = (
        {
            (k, r, c)
            for k, layer in enumerate(net.layers)
            for r, c in zip(*np.nonzero(matrix(layer)), strict=True)
        }
        for net in (a, b)
    )
    assert analysis.overlap(a, b) == len(x & y) / len(x | y)
    assert analysis.overlap(a, copy.deepcopy(a)) == 1.0
    assert analysis.overlap(*(rw.WeightStore(n_out=2, n_in=3) for _ in "ab")) == 1.0
    with pytest.raises(ValueError, match="layers of the same shapes"):
        analysis.overlap(a, layers([(9, 14)]))


@pytest.mark.parametrize("matching", ["optimal", "greedy"])
def test_nnstd_of_permuted_neurons_is_zero(matching):
    net = layers([(40, 30), (30, 25), (25, 4)], density=0.4)
    other = shuffled(net)
    assert analysis.overlap(net, other) < 0.5
    assert analysis.topology_distances(net, other, matching=matching).tolist() == [0.0, 0.0, 0.0]
    assert analysis.topology_distance(net, net, matching=matching) == 0.0


@pytest.mark.parametrize("matching", ["optimal", "greedy"])
def test_nnstd_of_disjoint_inputs_is_one(matching):
    left, right = np.zeros((2, 6, 8))
    left[:, :4], right[:, 4:] = 1, 1
    found = [from_matrices(m, np.ones((2, 6))) for m in (left, right)]
    assert analysis.topology_distances(*found, matching=matching).tolist() == [1.0, 0.0]
    assert analysis.topology_distance(*found, matching=matching) == 0.5
    empty = from_matrices(np.zeros((6, 8)), np.ones((2, 6)))
    assert analysis.topology_distances(found[0], empty, matching=matching).tolist() == [1.0, 0.0]


@pytest.mark.parametrize("matching", ["optimal", "greedy"])
def test_nnstd_by_hand(matching):
    """{0, 1}, {2} against {2, 3}, {0, 1, 4}: pairs at 1/3 and 1/2, their layer at 5/12."""
    a = from_matrices([[1, 1, 0, 0, 0], [0, 0, 1, 0, 0]])
    b = from_matrices([[0, 0, 1, 1, 0], [1, 1, 0, 0, 1]])
    assert analysis.topology_distance(a, b, matching=matching) == pytest.approx(5 / 12, abs=1e-15)


def slow_distance(x, y):
    """The least mean distance over all permutations, in small layers."""

    def ned(p, q):
        return (p ^ q).sum() / (p | q).sum() if (p | q).any() else 0.0

    table = np.array([[ned(p, q) for q in y] for p in x])
    return min(table[range(len(x)), list(order)].mean() for order in itertools.permutations(range(len(x))))


MASKS = st.lists(
    st.lists(st.booleans(), min_size=4, max_size=4), min_size=5, max_size=5
)  # a layer of 5 neurons and 4 inputs: many of them equal


@given(MASKS, MASKS, MASKS, MASKS)
def test_nnstd_of_small_layers(first, second, third, fourth):
    a, b = (from_matrices(x, np.array(y).T) for x, y in ((first, third), (second, fourth)))
    exact = analysis.topology_distances(a, b)
    assert exact[0] == pytest.approx(slow_distance(np.array(first), np.array(second)), abs=1e-12)
    greedy = analysis.topology_distances(a, b, matching="greedy")
    assert greedy[0] >= exact[0] - 1e-12 and np.all(greedy <= 1.0)
    for matching, found in (("optimal", exact), ("greedy", greedy)):
        assert np.array_equal(analysis.topology_distances(b, a, matching=matching), found)
        assert analysis.topology_distance(a, a, matching=matching) == 0.0


def test_nnstd_grows_with_what_is_changed():
    """One layer, ever more of its links moved: the distance follows."""
    rng, start = np.random.default_rng(0), np.zeros((40, 60), bool)
    for row in start:
        row[rng.choice(60, 10, replace=False)] = True
    moved, distances = start.copy(), []
    for _ in range(5):
        for row in moved:
            row[rng.choice(np.flatnonzero(row))] = False
            row[rng.choice(np.flatnonzero(~row))] = True
        distances.append(analysis.topology_distance(from_matrices(start), from_matrices(moved)))
    assert distances == sorted(distances) and 0.1 < distances[0] < distances[-1] < 1.0


# --- graphs -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
def test_unused_inputs(seed):
    net = layers([(30, 20), (20, 15), (15, 4)], density=0.06, seed=seed)
    masks = [matrix(layer).astype(int) for layer in net.layers]
    assert np.array_equal(analysis.unused_inputs(net), np.flatnonzero(masks[0].sum(axis=0) == 0))
    paths = masks[2] @ masks[1] @ masks[0]
    dead = analysis.unused_inputs(net, dead_paths=True)
    assert np.array_equal(dead, np.flatnonzero(paths.sum(axis=0) == 0))
    assert dead.size > analysis.unused_inputs(net).size  # else this tells nothing
    assert analysis.unused_inputs(rw.Sequential([rw.Dense(4, 2)])).size == 0


def test_a_link_of_weight_zero_is_a_link():
    store = rw.WeightStore(n_out=2, n_in=3)
    store.insert([0, 1], [0, 2], [0.0, 1.0])
    assert analysis.unused_inputs(store).tolist() == [1]


@pytest.mark.parametrize("seed", range(5))
def test_components(seed):
    net = rw.Sequential(
        [rw.Sparse(30, 20, density=0.05), rw.Dropout(0.5), rw.Sparse(20, 15, density=0.05)], seed=seed
    )
    names = (
        [{("0", i)} for i in range(30)] + [{("1", i)} for i in range(20)] + [{("2", i)} for i in range(15)]
    )
    pieces = {next(iter(name)): name for name in names}
    for k, layer in enumerate(net.weight_layers):
        for r, c in zip(*np.nonzero(matrix(layer)), strict=True):
            both = pieces[str(k), c] | pieces[str(k + 1), r]
            pieces.update(dict.fromkeys(both, both))
    found = analysis.components(net)
    distinct = {frozenset(piece) for piece in pieces.values()}
    assert found.count == len(distinct)
    assert found.sizes.tolist() == sorted(map(len, distinct), reverse=True)
    assert [len(labels) for labels in found.labels] == [30, 20, 15]
    label = {(str(k), i): labels[i] for k, labels in enumerate(found.labels) for i in range(len(labels))}
    for piece in distinct:
        (only,) = {label[neuron] for neuron in piece}
        assert found.sizes[only] == len(piece)


def slow_gap(mask):
    mask = mask[mask.any(axis=1)][:, mask.any(axis=0)].astype(float)
    m = mask / np.sqrt(np.outer(mask.sum(axis=1), mask.sum(axis=0)))
    return 1 - np.linalg.svd(m, compute_uv=False)[1]


@pytest.mark.parametrize("shape", [(40, 30), (300, 400), (700, 150)])  # one small, two by Lanczos
def test_spectral_gap(shape):
    net = layers([shape, (shape[1], 20)], density=0.1)
    found = analysis.spectral_gap(net)
    assert found == pytest.approx([slow_gap(matrix(layer)) for layer in net.layers], abs=1e-9)
    assert 0.05 < found[0] < 0.9
    assert analysis.spectral_gap(net.layers[0]) == found[0]  # the same whenever asked


@pytest.mark.parametrize("n", [8, 300])
def test_spectral_gap_of_a_ring(n):
    """Neuron i has the inputs i and i + 1: sigma_2 = cos(pi / n)."""
    store = rw.WeightStore(n_out=n, n_in=n)
    at = np.arange(n)
    store.insert(np.tile(at, 2), np.concatenate([at, (at + 1) % n]), 1.0)
    assert analysis.spectral_gap(store) == pytest.approx(1 - np.cos(np.pi / n), abs=1e-9)


@pytest.mark.parametrize("n", [6, 400])
def test_spectral_gap_at_the_ends(n):
    pieces = np.kron(np.eye(2), np.ones((n // 2, n // 2)))
    pieces[0, 0] = pieces[-1, -2] = 0
    assert analysis.spectral_gap(from_matrices(pieces).layers[0]) == pytest.approx(0.0, abs=1e-9)
    assert analysis.spectral_gap(from_matrices(np.ones((n, n))).layers[0]) == 1.0
    assert analysis.spectral_gap(rw.Sequential([rw.Dense(n, 3)])).tolist() == [1.0]
    assert np.isnan(analysis.spectral_gap(rw.WeightStore(n_out=n, n_in=n)))
