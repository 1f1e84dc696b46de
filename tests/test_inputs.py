"""What X may be: every real dtype and layout, SciPy matrices, and what is refused; the standardiser."""

import contextlib
import threading

import numpy as np
import pytest

import rewire as rw
from rewire import _core
from rewire._inputs import as_source
from small import VALUES, deep

sparse = pytest.importorskip("scipy.sparse")


@pytest.mark.parametrize(
    "dtype",
    ["f4", "f8", "f2", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "?", ">f4", ">i2", "g", object],
)
def test_every_real_dtype(dtype):
    X = VALUES.astype(dtype)
    assert np.array_equal(deep().predict(X), deep().predict(X.astype("f8")))


def frozen(a):
    a.flags.writeable = False
    return a


LAYOUTS = {
    "fortran": np.asfortranarray,
    "read-only": lambda a: frozen(a.copy()),
    "every other row": lambda a: np.repeat(a, 2, axis=0)[::2],
    "every other column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "backwards": lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "list": lambda a: a.tolist(),
    "misaligned": lambda a: np.frombuffer(b"x" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["f4", "f8", "u1", "i8"])
def test_every_layout(layout, dtype):
    X = LAYOUTS[layout](VALUES.astype(dtype))
    assert np.array_equal(deep().predict(X), deep().predict(np.array(X, dtype="f8")))


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_array", "coo_array"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1"])
def test_scipy_sparse(kind, dtype):
    X = (VALUES * (np.random.default_rng(4).random(VALUES.shape) < 0.2)).astype(dtype)
    assert np.array_equal(deep().predict(getattr(sparse, kind)(X)), deep().predict(X))


def test_csr_with_wide_indices_and_duplicates():
    csr = sparse.csr_array(
        (np.ones(4), np.array([3, 3, 5, 0], np.int64), np.array([0, 3, 4], np.int64)), shape=(2, 17)
    )
    assert np.array_equal(deep().predict(csr), deep().predict(csr.toarray()))
    assert csr.nnz == 4  # not changed


def test_csr_is_never_made_dense():
    """A matrix that would take 40 GB dense."""
    net = rw.Sequential([rw.Sparse(100_000, 3, epsilon=1)])
    X = sparse.random_array((100_000, 100_000), density=1e-7, format="csr", rng=np.random.default_rng(0))
    got = net.predict(X[:500])
    assert got.shape == (500, 3)


NOT_X = [
    (None, TypeError, "X must be a 2-D array of real numbers, got None"),
    ("abc", TypeError, "X must hold real numbers, got dtype <U3"),
    (np.zeros(17), ValueError, r"X must be 2-D \(samples, features\), got shape \(17,\); X.reshape"),
    (np.zeros((2, 3, 17)), ValueError, r"X must be 2-D .* got shape \(2, 3, 17\)"),
    (np.zeros((3, 16)), ValueError, r"X must have 17 features, got shape \(3, 16\)"),
    (np.zeros((17, 3)), ValueError, r"X must have 17 features, got shape \(17, 3\)"),
    (np.zeros((0, 17)), ValueError, r"X must have at least one row, got shape \(0, 17\)"),
    (np.zeros((2, 17), complex), TypeError, "X must hold real numbers, got dtype complex128"),
    (np.zeros((2, 17), "M8[s]"), TypeError, "X must hold real numbers"),
    (np.full((2, 17), "a", object), TypeError, "X must hold real numbers, got dtype object"),
    ([[1.0] * 17, [1.0] * 16], TypeError, "X must be a 2-D array of real numbers"),
    (sparse.csr_array((3, 16)), ValueError, r"X must have 17 features, got shape \(3, 16\)"),
    (sparse.csr_array((2, 17), dtype=complex), TypeError, "X must hold real numbers, got dtype complex128"),
]


@pytest.mark.parametrize("case", range(len(NOT_X)))
def test_wrong_x(case):
    X, kind, words = NOT_X[case]
    with pytest.raises(kind, match=words):
        deep().predict(X)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rows", [5, 200_000])
def test_values_that_are_not_finite_are_named(bad, rows):
    net = rw.Sequential([rw.Sparse(17, 2)])
    X = np.zeros((rows, 17), "f4")
    X[rows - 2, 7] = bad
    with pytest.raises(ValueError, match=f"X must be finite, got {bad} in row {rows - 2}, column 7"):
        net.predict(X)
    with pytest.raises(ValueError, match=f"X must be finite, got {bad} in row {rows - 2}, column 7"):
        net.predict(sparse.csr_array(X))


def test_broken_csr_is_refused():
    csr = sparse.csr_array(np.eye(17))
    csr.indices[3] = 99
    with pytest.raises(ValueError, match=r"X must have columns in \[0, 17\), got 99"):
        deep().predict(csr)
    csr.indices[3] = -1
    with pytest.raises(ValueError, match=r"X must have columns in \[0, 17\), got -1"):
        deep().predict(csr)


@pytest.mark.parametrize(
    "indptr, words",
    [
        ([0, 1, 0, 2, 3], "an indptr that does not ascend from 0"),
        ([1, 1, 1, 2, 3], "an indptr that does not ascend from 0"),
        ([0, 1, 2, 3], "an indptr that does not ascend from 0"),
        ([0, 1, 2, 3, 2**31 - 1], "fewer values than indptr tells"),
    ],
)
def test_rows_of_csr_that_lie_nowhere_are_refused(indptr, words):
    """Before SciPy looks for what stands twice in a row: it would read and write beyond the arrays."""
    csr = sparse.csr_array(np.eye(4, 17))
    csr.indptr = np.array(indptr, np.int32)
    with pytest.raises(ValueError, match=f"^X must be a valid CSR matrix, got {words}$"):
        deep().predict(csr)


def test_csr_with_room_for_more():
    csr = sparse.csr_array(np.arange(51.0).reshape(3, 17))
    expected = deep().predict(csr), rw.Standardizer.fit(csr)
    csr.data, csr.indices = np.r_[csr.data, np.nan], np.r_[csr.indices, np.int32(99)]
    assert np.array_equal(deep().predict(csr), expected[0])
    assert np.array_equal(rw.Standardizer.fit(csr).mean, expected[1].mean)


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"batch_size": 0}, ValueError, "batch_size must be an integer >= 1, got 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size must be an integer >= 1, got 2.0"),
        ({"threads": 0}, ValueError, "threads must be >= 1, or negative"),
        ({"threads": "2"}, TypeError, "threads must be an integer"),
    ],
)
def test_wrong_options_of_predict(options, kind, words):
    with pytest.raises(kind, match=words):
        deep().predict(VALUES, **options)


# --- standardiser -----------------------------------------------------------------------


@pytest.mark.parametrize("make", [np.asarray, sparse.csr_array], ids=["array", "csr"])
@pytest.mark.parametrize("rows", [3, 100_000])
def test_standardizer_measures_mean_and_deviation(make, rows):
    rng = np.random.default_rng(rows)
    X = rng.integers(0, 9, (rows, 17)) * (rng.random((rows, 17)) < 0.3) + 0.0
    X[:, 4] = 0.1  # constant, and its mean is not exact
    X[:, 5] = 0
    X[:, 6] = 1e6 + rng.random(rows)
    found = rw.Standardizer.fit(as_source(make(X), 17))
    np.testing.assert_allclose(found.mean, X.mean(0), rtol=1e-9)
    assert found.scale[4] == found.scale[5] == 1
    keep = [i for i in range(17) if i not in (4, 5) and X[:, i].std() > 0]
    np.testing.assert_allclose(found.scale[keep], 1 / X.std(0)[keep], rtol=1e-7)


@pytest.mark.parametrize("kind", [np.array, sparse.csr_array], ids=["dense", "csr"])
def test_no_training_value_is_further_than_five_from_zero(kind):
    rng = np.random.default_rng(5)
    X = np.where(rng.random((3000, 4)) < [0.001, 0.02, 0.5, 1.0], rng.normal(3, 1, (3000, 4)), 0.0)
    plain = X.std(axis=0) * [1e300, 1, 1, 1]
    X[:, 0] *= 1e300
    found = rw.Standardizer.fit(kind(X))
    Z = found.apply(X)
    far = np.abs(Z).max(axis=0)
    assert np.all(far <= 5 * (1 + 1e-12))
    bound = found.scale < 0.999 / plain
    assert bound.tolist() == [True, True, False, False]
    np.testing.assert_allclose(far[bound], 5.0, rtol=1e-12)
    np.testing.assert_allclose(found.scale[~bound], 1 / plain[~bound], rtol=1e-9)


@pytest.mark.parametrize("kind", [np.array, sparse.csr_array], ids=["dense", "csr"])
@pytest.mark.parametrize("dtype", ["?", "u1", "i8", "f4", "f8"])
def test_extremes_are_those_of_rows_that_count(kind, dtype, monkeypatch):
    monkeypatch.setattr("rewire._inputs._BLOCK", 20)  # blocks of one row
    rng = np.random.default_rng(6)
    X = (rng.integers(0, 3, (40, 17)) * (rng.random((40, 17)) < 0.2)).astype(dtype)
    X[:, 3], X[:, 4] = 1, 0
    w = (rng.random(40) < 0.3).astype(float)
    for weight, rows in ((None, X), (w, X[w > 0])):
        low, high = as_source(kind(X), 17).extremes(weight)
        assert low.dtype == high.dtype == np.float64
        assert np.array_equal(low, rows.min(axis=0)) and np.array_equal(high, rows.max(axis=0))


def test_standardizer_is_applied_by_predict():
    net, plain = deep("float64"), deep("float64")
    net.standardizer = rw.Standardizer(VALUES.mean(0), 1 / VALUES.std(0))
    standard = (VALUES - VALUES.mean(0)) / VALUES.std(0)
    np.testing.assert_allclose(net.predict(VALUES), plain.predict(standard), rtol=1e-12)
    np.testing.assert_allclose(net.predict(sparse.csr_array(VALUES)), plain.predict(standard), rtol=1e-12)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4"])
def test_columns_are_summed_row_after_row(dtype, monkeypatch):
    """By the bits of NumPy's sums over rows; of a column alone those add by halves from 8 rows on."""
    monkeypatch.setattr("rewire._inputs._BLOCK", 10**9)
    X = (np.random.default_rng(3).normal(size=(37, 6)) * 1000).astype(dtype)
    for n in (2, 6):
        for layout in (np.ascontiguousarray, np.asfortranarray, lambda a: a[:, ::-1][:, ::-1]):
            x = X[:, :n].astype(float)
            found, ends = as_source(layout(X[:, :n]), n).seen()
            mean = np.add.reduce(x) / len(x)
            assert np.array_equal(found.mean, mean)
            assert np.array_equal(found.deviation, np.sqrt(np.add.reduce(np.square(x - mean)) / len(x)))
            assert np.array_equal(ends.low, x.min(axis=0)) and np.array_equal(ends.high, x.max(axis=0))
    alone = as_source(X[:, :1], 1).moments()
    assert alone.mean[0] == sum(X[:, 0].astype(float).tolist()) / len(X)
    both = as_source(X, 6).moments()
    assert alone.mean[0] == both.mean[0] and alone.deviation[0] == both.deviation[0]


def test_ends_of_all_blocks_count(monkeypatch):
    X = np.random.default_rng(5).normal(size=(40, 3))
    X[2, 0], X[17, 1], X[39, 2], X[20, 0] = 9.0, -9.0, 9.0, -9.0
    monkeypatch.setattr("rewire._inputs._BLOCK", 12)
    found, ends = as_source(X, 3).seen()
    assert np.array_equal(ends.low, X.min(axis=0)) and np.array_equal(ends.high, X.max(axis=0))
    np.testing.assert_allclose(found.deviation, X.std(axis=0), rtol=1e-14)


def summed(indptr, columns, values):
    return _core.entry_sums(columns, values, len(values), 1)


def packed(indptr, columns, values):
    tiles = _core.Tiles(1, len(values), _core.tile_size(len(values), "float64"), "float64")
    tiles.pack_csr(indptr, columns, values)
    return tiles.unpack(None, 1)


def listed(indptr, columns, values, part=2**62):
    few = _core.SparseInputs(1, "float64")
    few.load(indptr, columns, values, np.arange(len(values)), part=part)
    return few.unpack()


def listed_in_tiles(indptr, columns, values):
    return listed(indptr, columns, values, part=1)


def targets(indptr, columns, values):
    outputs = _core.Tiles(1, len(values), _core.tile_size(len(values), "float64"), "float64")
    found = _core.Targets(indptr=indptr, columns=columns, entries=values, n=1)
    return _core.loss("mse", outputs, found, np.arange(len(values)), None, None)


@pytest.mark.parametrize("use", [summed, packed, listed, listed_in_tiles, targets])
def test_columns_that_another_thread_changes_do_no_harm(use):
    """They are the user's own, and were in range when X was looked at."""
    columns, values = np.zeros(30_000, np.int32), np.ones(30_000)
    indptr = np.arange(len(values) + 1)
    want = use(indptr, columns, values)
    done = threading.Event()

    def change():
        while not done.is_set():
            columns[-1] = 2**30
            indptr[-1] = 2**40
            columns[-1] = 0
            indptr[-1] = len(values)

    other = threading.Thread(target=change)
    other.start()
    try:
        for _ in range(10):
            with contextlib.suppress(IndexError):  # else all are as they were, but for those that changed
                found = np.ravel(use(indptr, columns, values))
                assert use in (summed, targets) or np.array_equal(found[:-1], np.ravel(want)[:-1])
    finally:
        done.set()
        other.join()


def test_a_sparse_x_has_the_moments_of_a_dense_one():
    rng = np.random.default_rng(4)
    X = np.where(rng.random((40, 9)) < 0.3, rng.normal(size=(40, 9)), 0.0)
    X[:, 2], X[:, 5] = 0.0, 7.0
    (a, ends_a), (b, ends_b) = (as_source(kind(X), 9).seen() for kind in (np.array, sparse.csr_array))
    assert np.array_equal(a.mean, b.mean) and np.array_equal(a.deviation == 0, b.deviation == 0)
    np.testing.assert_allclose(a.deviation, b.deviation, rtol=1e-14)
    assert np.array_equal(ends_a.low, ends_b.low) and np.array_equal(ends_a.high, ends_b.high)
