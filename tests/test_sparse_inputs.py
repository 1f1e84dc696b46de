"""A sparse X: time follows what is stored, and what comes out is what an array of the same numbers gives."""

import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import rewire as rw
from rewire import _core, _stepper
from rewire._inputs import as_source
from rewire.errors import DivergenceError
from rewire.estimators import SparseDenoisingAutoencoder, SparseMLPClassifier
from rewire.layers import Sparse
from rewire.rewiring import GSE, SNFS, GradientProbe, RigL, SRigL
from rewire.standardizer import Standardizer
from small import GROWN, SELDOM
from strategies import ISAS

N, M = 600, 150  # features, rows
RNG = np.random.default_rng(0)
LISTED = sp.random(M, N, density=0.004, format="csr", dtype=np.float32, random_state=1)  # stays in lists
FULLER = sp.random(M, N, density=0.1, format="csr", dtype=np.float32, random_state=2)  # is packed
MIXED = sp.vstack([LISTED[:100], FULLER[:30], sp.csr_matrix((20, N), dtype=np.float32)], format="csr")
MATRICES = {"listed": LISTED, "fuller": FULLER, "mixed": MIXED}
Y = RNG.normal(size=(M, 5))


def network(group=1, dtype="float32", n_in=N, bias=True):
    first = rw.Sparse(n_in, 37, density=0.2, activation="relu", group=group, bias=bias)
    return rw.Sequential([first, rw.Sparse(37, 5, density=0.9)], seed=1, dtype=dtype)


def trained(X, net=None, *, batch=33, epochs=2, y=Y, **options):
    options = {"loss": "mse", "optimizer": rw.SGD(0.05, momentum=0.9), "threads": 1, **options}
    made = rw.Trainer(network() if net is None else net, **options)
    made.fit(X, y[: X.shape[0]], epochs=epochs, batch_size=batch, verbose=0)
    return made


def same(a, b):
    return np.array_equal(a.network.get_vector(), b.network.get_vector())


def loaded(X, rows=None, part=None, **options):
    X = sp.csr_matrix(X)
    few = _core.SparseInputs(X.shape[1], options.pop("dtype", "float32"))
    rows = np.arange(X.shape[0]) if rows is None else np.asarray(rows)
    few.load(X.indptr.astype(np.int64), X.indices, X.data, rows, part=part, **options)
    return few


# --- as they are: the bits of an array ------------------------------------------------------


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("group, dtype", [(1, "float32"), (4, "float64"), (8, "float32"), (2, "float64")])
def test_training_gives_the_bits_of_an_array(name, group, dtype):
    X = MATRICES[name]
    one, other = (trained(x, network(group, dtype)) for x in (X, X.toarray()))
    assert same(one, other)
    assert np.array_equal(one.network.predict(X), one.network.predict(X.toarray()))
    assert one.evaluate(X, Y) == one.evaluate(X.toarray(), Y)


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("batch", [1, 2, 7, 64, 150])
def test_whatever_the_batch_and_the_instruction_set(isa, batch):
    before = _core.force_isa(isa)
    try:
        one, other = (trained(x, batch=batch, epochs=1) for x in (LISTED, LISTED.toarray()))
    finally:
        _core.force_isa(before)
    assert same(one, other)


OPTIMIZERS = [
    rw.SGD(0.05),
    rw.SGD(0.05, momentum=0.9, weight_decay=0.1),
    rw.Adam(0.01),
    rw.SGD(0.1, clip_norm=0.1),
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["plain", "decay", "adam", "clipped"])
def test_every_optimizer(optimizer):
    """Momentum and decay reach links whose source is 0 too."""
    assert same(*(trained(x, optimizer=optimizer) for x in (LISTED, LISTED.toarray())))


@SELDOM
@GROWN
@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize(
    "rule",
    [
        rw.rewiring.SET(every=3),
        RigL(every=3),
        SNFS(every=4),
        GSE(every=3),
        GSE(every=3, candidates="graest"),
        SRigL(every=3),
    ],
    ids=["set", "rigl", "snfs", "gse", "graest", "srigl"],
)
def test_rules_see_the_same(rule, group):
    assert same(*(trained(x, network(group), rewiring=rule, epochs=3) for x in (LISTED, LISTED.toarray())))


@SELDOM
@GROWN
def test_probes_need_no_array(monkeypatch):
    seen = []

    class Looks(GradientProbe):
        def __init__(self, pairs, threads):
            super().__init__(pairs, threads)
            x = pairs["layers.0.weight"][0]
            seen.append((type(x), x.packed, x.unpack()))

    monkeypatch.setattr(_stepper, "GradientProbe", Looks)
    trained(LISTED, batch=M, epochs=3, rewiring=RigL(every=1))
    assert seen and all(kind is _core.SparseInputs and not packed for kind, packed, _ in seen)
    assert all(np.array_equal(inputs, LISTED.toarray()) for *_, inputs in seen)


def test_shards_and_resuming(tmp_path):
    assert same(*(trained(x, shards=3) for x in (LISTED, LISTED.toarray())))
    whole = trained(LISTED, epochs=4, horizon=4, standardize=True)
    half = trained(LISTED, epochs=2, horizon=4, standardize=True)
    half.save(tmp_path / "half.rw")
    resumed = rw.Trainer.resume(tmp_path / "half.rw")
    resumed.fit(LISTED, Y, epochs=2, batch_size=33, verbose=0)
    assert same(whole, resumed)


@pytest.mark.parametrize("standardize", [False, True, "scale"])
@pytest.mark.parametrize("name", MATRICES)
def test_threads_change_no_bit(name, standardize):
    found = [trained(MATRICES[name], network(4), threads=n, standardize=standardize) for n in (1, 2, 4, 8)]
    assert all(same(found[0], other) for other in found[1:])


def test_an_own_loop():
    made = []
    for X in (LISTED, LISTED.toarray()):
        trainer = rw.Trainer(network(), loss="mse", optimizer=rw.SGD(0.05, momentum=0.9))
        for at in range(0, M, 50):
            trainer.train_step(X[at : at + 50], Y[at : at + 50])
            out = trainer.forward(X[at : at + 20])
            trainer.backward(out - Y[at : at + 20])
            trainer.apply()
        made.append(trainer)
    assert same(*made)


# --- brought to mean 0 --------------------------------------------------------------------------


def spread(X, seed=3):
    """Features of many kinds: one that is always there, far from 0 and near it, one that never varies."""
    X = X.tolil()
    rng = np.random.default_rng(seed)
    X[:, 5] = 1000 + rng.normal(size=(X.shape[0], 1))
    X[:, 6] = rng.normal(size=(X.shape[0], 1))
    X[:, 7] = 4.0
    X[::2, 8] = 3.0
    return X.tocsr()


@pytest.mark.parametrize("dtype, bound", [("float32", 2e-5), ("float64", 5e-14)])
@pytest.mark.parametrize("name", MATRICES)
def test_means_agree_within_rounding(name, dtype, bound):
    X = spread(MATRICES[name])
    one, other = (trained(x, network(4, dtype), standardize=True) for x in (X, X.toarray()))
    np.testing.assert_allclose(one.network.get_vector(), other.network.get_vector(), rtol=0, atol=bound)
    np.testing.assert_allclose(
        one.network.predict(X), one.network.predict(X.toarray()), rtol=0, atol=20 * bound
    )


@pytest.mark.parametrize("dtype, bound", [("float32", 2e-5), ("float64", 5e-14)])
def test_links_of_a_feature_that_never_varies_learn_nothing(dtype, bound):
    """Adam makes steps of rounding noise, however little it is."""
    X = LISTED.tolil()
    X[:, 5], X[:, 6] = 0.3, 0.7
    X = X.tocsr()
    start = network(dtype=dtype)
    one = trained(X, network(dtype=dtype), epochs=10, optimizer=rw.Adam(0.01), standardize=True)
    _, source, begun = start.layers[0].store.to_arrays()
    _, _, values = one.network.layers[0].store.to_arrays()
    still = np.isin(source, (5, 6))
    assert still.any() and np.array_equal(values[still], begun[still])
    other = trained(X.toarray(), network(dtype=dtype), epochs=10, optimizer=rw.Adam(0.01), standardize=True)
    np.testing.assert_allclose(one.network.get_vector(), other.network.get_vector(), rtol=0, atol=bound)


def test_a_feature_far_from_0_loses_nothing():
    """Left out, its mean would take nine bits of every sum with it."""
    X = np.zeros((M, N), np.float32)
    X[:, 5] = 1000 + RNG.normal(size=M)
    net, exact = network(dtype="float32"), network(dtype="float64")
    exact.set_vector(net.get_vector())
    for each in (net, exact):
        each.standardizer = Standardizer.fit(X)
    S = sp.csr_matrix(X)
    error = np.abs(net.predict(S) - exact.predict(S)).max()
    assert error <= 2 * np.abs(net.predict(X) - exact.predict(S)).max() + 1e-7


@given(st.integers(0, 2**32 - 1))
def test_inputs_are_those_of_the_standardizer(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(1, 30), rng.integers(1, 80)
    X = sp.random(m, n, density=rng.random(), format="csr", random_state=rng)
    X.data = np.where(rng.random(X.nnz) < 0.2, 0.0, X.data * 10 ** rng.uniform(-2, 2))  # some stored zeros
    s = Standardizer.fit(X, center=bool(rng.integers(2)))
    shift, zero, whole = s.folded("float64")
    rows = rng.integers(m, size=rng.integers(1, 700))
    expected = s.apply(X.toarray()[rows])
    for part in (1, 2**40):
        few = loaded(X, rows, part, dtype="float64", shift=shift, scale=s.scale, zero=zero, whole=whole)
        np.testing.assert_allclose(few.unpack(), expected, rtol=1e-12, atol=1e-12)
        assert few.finite() and few.batch == len(rows)
    if zero is not None:
        assert np.abs(zero).max() <= 1.0


@pytest.mark.parametrize("standardize", [False, True, "scale"])
def test_outputs_do_not_depend_on_the_batch(standardize):
    """Lists or tiles, whatever the other rows are."""
    X = spread(MIXED)
    made = trained(X, standardize=standardize, optimizer=rw.SGD(0.05 if standardize else 1e-9))
    whole = made.network.predict(X)
    for rows in ([0], [110], [0, 110], list(range(20, 140))):
        assert np.array_equal(made.network.predict(X[rows]), whole[rows])
        assert np.array_equal(made.network.predict(X[rows], batch_size=3), whole[rows])


def test_a_first_layer_without_biases():
    one, other = (trained(x, network(bias=False), standardize=True) for x in (LISTED, LISTED.toarray()))
    np.testing.assert_allclose(
        one.network.predict(LISTED), other.network.predict(LISTED.toarray()), atol=1e-5
    )


# --- samples at a time --------------------------------------------------------------------------

WIDE = 20_000  # features: many more than a row has values, so that no batch is ever packed


def wide():
    X = sp.random(300, WIDE, density=0.001, format="csr", dtype=np.float32, random_state=3)
    first = rw.Sparse(WIDE, 7, density=0.02, activation="relu")
    return X, rw.Sequential([first, rw.Sparse(7, 5, density=0.9)], seed=1)


def at_a_time(net, X):
    return net.batch_for(X.shape[0], None, as_source(X, WIDE))


def test_metrics_are_those_of_an_array_where_predict_takes_more_samples():
    X, net = wide()
    y = np.random.default_rng(0).normal(size=(X.shape[0], 5))
    assert at_a_time(net, X) > at_a_time(net, X.toarray())
    trainer = rw.Trainer(net, loss="mse")
    assert trainer.evaluate(X, y) == trainer.evaluate(X.toarray(), y)
    assert np.array_equal(net.predict(X), net.predict(X.toarray()))


def test_batches_that_are_packed_after_all_stay_small():
    X, net = wide()
    few = at_a_time(net, X.toarray())
    scale, mean = np.ones(WIDE), np.zeros(WIDE)
    net.standardizer = Standardizer(mean, scale)
    assert at_a_time(net, X) > few
    mean[:500] = 2.0  # these are stored in every row
    net.standardizer = Standardizer(mean, scale)
    assert at_a_time(net, X) == few
    net.standardizer = Standardizer(np.zeros(WIDE), np.full(WIDE, 1e38))  # may take values out of range
    assert at_a_time(net, X * 10) == few


# --- without the mean -------------------------------------------------------------------------


def test_scale_leaves_zeros_alone():
    X = spread(FULLER)
    X[:, 7] = 1e6  # constant
    s = Standardizer.fit(X, center=False)
    assert not s.mean.any() and s.folded("float32") == (None, None, None)
    z = s.apply(X.toarray())
    assert np.array_equal(z == 0, X.toarray() == 0) and np.abs(z).max() <= 5.0
    assert np.array_equal(s.apply(np.zeros((1, N))), np.zeros((1, N)))
    assert same(*(trained(x, standardize="scale") for x in (X, X.toarray())))
    more = trained(X, standardize="scale")
    more.fit(X[:50] * 3, Y[:50], epochs=1, verbose=0)  # another training set: the mean stays 0
    assert not more.network.standardizer.mean.any()


def test_scale_in_estimators_and_on_the_command_line(tmp_path, capsys):
    y = np.arange(M) % 3
    options = {"hidden_layer_sizes": (20,), "max_iter": 2, "random_state": 0, "standardize": "scale"}
    model = SparseMLPClassifier(**options).fit(FULLER, y)
    assert not model.network_.standardizer.mean.any()
    encoder = SparseDenoisingAutoencoder(n_components=10, max_iter=1, standardize="scale", random_state=0)
    assert not encoder.fit(FULLER.toarray()).mean_.any()
    np.savez(tmp_path / "data.npz", X=FULLER.toarray(), y=y, X_test=FULLER.toarray(), y_test=y)
    saved = tmp_path / "net.rw"
    words = ["train", "--data", str(tmp_path / "data.npz"), "--hidden", "8", "--epochs", "1", "--quiet"]
    from rewire.cli import main

    assert main([*words, "--standardize", "scale", "--save", str(saved)]) == 0
    assert not rw.Sequential.load(saved).standardizer.mean.any()
    assert main([*words, "--standardize", "no", "--save", str(saved)]) == 0
    assert rw.Sequential.load(saved).standardizer is None
    for wrong, kind in (("both", ValueError), (1, TypeError), (None, TypeError)):
        with pytest.raises(kind, match=r"standardize must be True, False or 'scale', got "):
            rw.Trainer(network(), loss="mse", standardize=wrong)


# --- which layers, which batches ---------------------------------------------------------------


def test_other_first_layers_get_tiles():
    class Own(Sparse):
        def forward(self, x, p):
            assert isinstance(x, _core.Tiles)
            return super().forward(x, p)

    class Looks(Sparse):
        def _output(self, x, p):
            assert isinstance(x, _core.Tiles)
            return super()._output(x, p)

    for kind in (Own, Looks):
        first = kind(N, 37, density=0.2, activation="relu")
        twin = rw.Sequential([first, rw.Sparse(37, 5, density=0.9)], seed=1)
        assert same(trained(LISTED, twin), trained(LISTED))
    for first in (rw.Dropout(0.1), rw.Dense(N, N)):
        layers = [first, rw.Sparse(N, 37, density=0.2, activation="relu"), rw.Sparse(37, 5, density=0.9)]
        assert np.isfinite(trained(LISTED, rw.Sequential(layers), epochs=1).network.predict(LISTED)).all()


def test_lists_or_tiles():
    assert not loaded(LISTED).packed and loaded(FULLER).packed
    assert not loaded(FULLER, part=1).packed and loaded(LISTED, part=10**9).packed
    assert loaded(LISTED).values == LISTED.nnz
    empty = loaded(sp.csr_matrix((3, N), dtype=np.float32))
    assert not empty.packed and not empty.unpack().any()
    few = loaded(LISTED)
    before = few.nbytes
    few.load(LISTED.indptr.astype(np.int64), LISTED.indices, LISTED.data, np.arange(20))
    assert few.nbytes == before and np.array_equal(few.unpack(), LISTED[:20].toarray())


def test_what_is_refused():
    few, indptr = _core.SparseInputs(4), np.array([0, 2, 3], np.int64)
    columns, values, rows = np.array([1, 3, 0], np.int32), np.ones(3, np.float32), np.arange(2)
    for wrong, kind, what in (
        ({"columns": columns + 1}, IndexError, "columns lie in"),
        ({"columns": columns[[1, 0, 2]]}, ValueError, "must ascend"),
        ({"indptr": np.array([0, 2, 4])}, IndexError, "indptr must ascend"),
        ({"rows": rows + 1}, IndexError, r"rows must be in \[0, 2\)"),
        ({"rows": rows[:0]}, ValueError, "at least one row"),
        ({"part": 0}, ValueError, "part be at least 1"),
        ({"shift": np.ones(4)}, TypeError, "shift goes with scale"),
        ({"scale": np.ones(3)}, ValueError, "scale must have 4 values"),
        ({"zero": np.ones(4)}, TypeError, "zero must be a C-contiguous float32"),
        (
            {"shift": np.ones(4), "scale": np.ones(4), "whole": np.arange(5, dtype=np.int32)},
            ValueError,
            "whole must name at most 4 features, got 5",
        ),
    ):
        given_ = {"indptr": indptr, "columns": columns, "values": values, "rows": rows, **wrong}
        with pytest.raises(kind, match=what):
            few.load(
                given_.pop("indptr"),
                given_.pop("columns"),
                given_.pop("values"),
                given_.pop("rows"),
                **given_,
            )
    assert few.batch == 0
    with pytest.raises(ValueError, match="nothing is loaded"):
        few.unpack()
    few.load(indptr, columns, values, rows)
    weight = rw.SparseParameter(5, 3, density=1.0).build(name="w", seed=0)
    y = _core.Tiles(3, 2, 2)
    with pytest.raises(ValueError, match="slots that inputs reach"):
        _core.forward(weight.core, few, None, "linear", 0.0, y, None, 1)
    with pytest.raises(TypeError):
        _core.forward(weight.core, None, None, "linear", 0.0, y, None, 1)
    with pytest.raises(ValueError, match="n must be at least 1"):
        _core.SparseInputs(0)


def test_links_that_change_are_found_again():
    """A batch that is loaded knows its slots; after an edit, or in another store, it looks again."""
    few = loaded(LISTED[:40])
    stores = [rw.SparseParameter(N, 9, density=0.3).build(name="w", seed=seed) for seed in (0, 1)]
    bias = np.zeros(16, np.float32)
    for mirror in (False, True):
        for weight in (*stores, stores[0]):
            if mirror:
                assert weight.core.build_mirror(1)
            y = _core.Tiles(9, 40, 64)
            _core.forward(weight.core, few, bias, "linear", 0.0, y, None, 1)
            dense = np.zeros((9, N), np.float32)
            rows, cols, values = weight.to_arrays()
            dense[rows, cols] = values
            np.testing.assert_allclose(y.unpack(), LISTED[:40].toarray() @ dense.T, atol=1e-5)
            weight.store.remove(rows[:3], cols[:3])


def test_a_batch_keeps_no_store_alive():
    few, weight = loaded(LISTED[:40]), rw.SparseParameter(N, 9, density=0.3).build(name="w", seed=0)
    before = sys.getrefcount(weight.core)
    _core.forward(weight.core, few, None, "linear", 0.0, _core.Tiles(9, 40, 64), None, 1)
    after = sys.getrefcount(weight.core)
    assert after == before


def test_divergence_is_named():
    with pytest.raises(DivergenceError, match="layer 0"):
        trained(LISTED, epochs=50, optimizer=rw.SGD(1e20))
