"""Where links begin: exact counts, what each start promises of degrees, and what it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewire as rw
from rewire.connectivity import Correlated, EdgeList, Request, ScaleFree, SmallWorld

X = np.random.default_rng(0).normal(size=(50, 12)) @ np.random.default_rng(1).normal(size=(12, 12))

starts = st.one_of(
    st.floats(0, 1).map(SmallWorld), st.floats(2.01, 6).map(ScaleFree), st.just("random"),
)  # fmt: skip


def built(n_in, n_out, seed=0, dtype="float32", **options):
    return rw.Sequential([rw.Sparse(n_in, n_out, **options)], seed=seed, dtype=dtype).layers[0]


def positions(layer):
    store = layer.store
    return np.repeat(np.arange(store.n_groups), np.diff(store.indptr())) * store.n_in + store.sources()


@given(
    start=starts, n_in=st.integers(1, 30), n_out=st.integers(1, 30), density=st.floats(0, 1),
    group=st.sampled_from([1, 2, 4, 8]), dtype=st.sampled_from(["float32", "float64"]),
    seed=st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_counts_are_exact_and_draws_repeat(start, n_in, n_out, density, group, dtype, seed):
    layers = [
        built(n_in, n_out, seed, dtype, density=density, group=group, connectivity=start) for _ in range(2)
    ]
    like = built(n_in, n_out, seed, dtype, density=density, group=group)
    for layer in layers:
        layer.store.validate()
        assert layer.store.slots == like.store.slots
    assert np.array_equal(positions(layers[0]), positions(layers[1]))
    assert np.array_equal(layers[0].store.get_field("weight"), layers[1].store.get_field("weight"))


@pytest.mark.parametrize("group", [1, 4])
def test_a_random_connectivity_can_be_drawn_like_others(group):
    layer = built(30, 20, density=0.2, group=group, seed=5)
    empty = built(30, 20, density=0.0, group=group, seed=5)
    drawn, weights = rw.connectivity.Random().draw(Request(empty.core, layer.store.slots, (5, 0, 0), 1))
    assert weights is None and np.array_equal(drawn, positions(layer))


def test_a_lattice_is_a_lattice():
    """beta = 0: each output is connected to the nearest inputs on the ring."""
    layer = built(20, 20, links=60, connectivity=SmallWorld(0.0))
    fan_in = np.diff(layer.store.indptr())
    assert (fan_in == 3).all() and (layer.store.fan_out() == 3).all()
    for row, sources in enumerate(layer.store.sources().reshape(20, 3)):
        assert set(sources) == {(row - 1) % 20, row, (row + 1) % 20}


@pytest.mark.parametrize(("beta", "low", "high"), [(0.25, 0.15, 0.35), (1.0, 0.99, 1.01)])
def test_beta_is_the_fraction_that_moves(beta, low, high):
    ring = set(positions(built(300, 300, links=3000, connectivity=SmallWorld(0.0))))
    moved = built(300, 300, links=3000, connectivity=SmallWorld(beta))
    assert low < len(set(positions(moved)) - ring) / 3000 < high
    assert (np.diff(moved.store.indptr()) == 10).all()


def test_scale_free_degrees_have_the_exponent():
    layer = built(4000, 4000, links=40_000, connectivity=ScaleFree(2.5))
    random = built(4000, 4000, links=40_000)
    for degrees, usual in (
        (layer.store.fan_out(), random.store.fan_out()),
        (np.diff(layer.store.indptr()), np.diff(random.store.indptr())),
    ):
        assert degrees.max() > 5 * usual.max()
        assert rw.analysis.power_law(degrees[degrees > 0], xmin=20).alpha == pytest.approx(2.5, abs=0.25)


@pytest.mark.parametrize("group", [1, 4])
def test_correlated_takes_the_largest(group):
    layer = built(12, 20, links=40, connectivity=Correlated(X), group=group)
    store = layer.store
    features = np.random.Generator(
        np.random.Philox(np.random.SeedSequence([0, 0, *b"start"]))
    ).permutation(12)[np.arange(store.n_groups) % 12]
    all_ = np.abs(np.corrcoef(X.T))[features]
    chosen = np.zeros_like(all_, bool)
    chosen.ravel()[positions(layer)] = True
    assert chosen.sum() == 40 // group
    assert all_[chosen].min() >= all_[~chosen].max() - 1e-12


@pytest.mark.parametrize("group", [1, 2])
def test_an_edge_list_is_what_it_is(group):
    rows, cols = np.repeat(np.arange(6), 2), np.tile([4, 1], 6)
    values = np.arange(12.0)
    layer = built(5, 6, group=group, connectivity=EdgeList(rows, cols, values))
    r, c, v = layer.store.to_arrays()
    assert {(a, b): x for a, b, x in zip(r, c, v, strict=True)} == {
        (a, b): x for a, b, x in zip(rows, cols, values, strict=True)
    }
    drawn = built(5, 6, group=group, connectivity=EdgeList(rows, cols))
    assert np.array_equal(positions(drawn), positions(layer)) and drawn.store.get_field("weight").std() > 0


def test_it_trains_and_comes_back(tmp_path):
    net = rw.Sequential(
        [
            rw.Sparse(12, 30, density=0.2, connectivity="small-world", activation="relu"),
            rw.Sparse(30, 3, density=0.5, connectivity="scale-free", activation="softmax"),
        ]
    )
    y = np.arange(50) % 3
    rw.Trainer(net, loss="cross_entropy", rewiring="set").fit(X, y, epochs=3, batch_size=10, verbose=0)
    net.save(tmp_path / "net.safetensors")
    assert np.array_equal(rw.load(tmp_path / "net.safetensors").predict(X), net.predict(X))


WRONG = [
    (lambda: rw.Sparse(3, 3, connectivity="ring"), ValueError, "must be one of 'random', .*'ring'"),
    (lambda: rw.Sparse(3, 3, connectivity=3), TypeError, "must be one of .* or a Connectivity, got 3"),
    (lambda: rw.Sparse(3, 3, fan_in=2, connectivity="small-world"), ValueError, "fan_in draws at random"),
    (lambda: rw.Sparse(3, 3, links=1, connectivity=EdgeList([0], [0])), ValueError, "leave links out"),
    (lambda: SmallWorld(2), ValueError, r"beta must be a number in \[0, 1\], got 2"),
    (lambda: ScaleFree(2), ValueError, "exponent must be a number > 2, got 2"),
    (lambda: Correlated([1.0, 2.0]), ValueError, r"X must be 2-D \(samples, features\), got shape \(2,\)"),
    (lambda: Correlated([["a"], ["b"]]), TypeError, "X must be an array of real numbers"),
    (lambda: Correlated([[1.0], [np.nan]]), ValueError, "X must be finite"),
    (lambda: built(3, 3, connectivity=Correlated(X)), ValueError, "a column for each of 3 inputs, got 12"),
    (lambda: built(3, 3, connectivity=EdgeList([0, 5], [0, 0])), IndexError, r"connection \(row 5, col 0\)"),
    (lambda: built(3, 3, connectivity=EdgeList([0, 0], [1, 1])), ValueError, "is named twice"),
    (lambda: built(3, 4, group=2, connectivity=EdgeList([0], [1])), ValueError, "share their sources"),
    (lambda: built(3, 3, connectivity=EdgeList([0], [1], [np.inf])), ValueError, "values must be finite"),
    (lambda: built(3, 3, connectivity=EdgeList([0], [1], [1.0, 2.0])), ValueError, "for each of 1 links"),
]


@pytest.mark.parametrize("case", range(len(WRONG)))
def test_wrong_arguments(case):
    call, kind, words = WRONG[case]
    with pytest.raises(kind, match=words):
        call()
