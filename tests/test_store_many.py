"""The store as a tool: many connections in one call, named as NumPy names elements; its dtypes."""

import numpy as np
import pytest
import scipy.sparse as sp

from rewire import WeightStore
from strategies import as_dict, random_store


@pytest.fixture
def store():
    return random_store(np.random.default_rng(3), 23, 31, density=0.3)


VECTORS = {  # of index vectors; the last three go the long way
    "list": list,
    "int64": np.array,
    "int32": lambda x: np.array(x, "i4"),
    "uint8": lambda x: np.array(x, "u1"),
    "every second": lambda x: np.repeat(np.array(x, int), 2)[::2],
    "backwards": lambda x: np.array(x[::-1])[::-1],
    "uint64": lambda x: np.array(x, "u8"),
    "object": lambda x: np.array(x, object),
    "big-endian": lambda x: np.array(x, ">i8"),
}


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("group", [1, 2])
def test_one_call_is_a_loop_over_its_links(kind, dtype, group):
    rng = np.random.default_rng(3)
    dense = np.repeat(rng.random((3, 40)) * (rng.random((3, 40)) < 0.4), 2, axis=0)
    one = WeightStore.from_dense(dense, group=group, dtype=dtype)
    many, of = one.copy(), VECTORS[kind]
    for k in range(12):
        row, cols = int(rng.integers(6)), rng.choice(40, 9, replace=False)
        if k % 2:
            cols = np.sort(cols)
        assert many[row, of(cols)].tolist() == [one[row, int(j)] for j in cols]
        assert many.contains(row, of(cols)).tolist() == [(row, int(j)) in one for j in cols]
        rows, there = rng.integers(0, 6, 9), cols[many.contains(row, cols)]
        assert many[of(rows), of(cols)].tolist() == [
            one[int(i), int(j)] for i, j in zip(rows, cols, strict=True)
        ]
        names = there if group > 1 else cols  # with groups only weights that are there
        for values in (rng.random(len(names)), rng.random(len(names)).astype("f4"), [0.25] * len(names), 3):
            many.set(row, of(names), values)
            many.add(row, of(names), values)
            for j, v in zip(names, np.broadcast_to(values, names.shape), strict=True):
                one.set(row, int(j), float(v))
                one.add(row, int(j), float(v))
        if group == 1:
            many.remove(row, of(cols[:4]))
            many.insert(row, of(cols[:2]), values=[1.0, 2.0])
            many.insert(row, of(cols[2:3]))
            for j in cols[:4]:
                one.remove(row, int(j))
            one.insert([row] * 3, cols[:3], [1.0, 2.0, 0.0])
        assert as_dict(many) == as_dict(one)
        many.validate()


def test_a_call_that_fails_changes_nothing(store):
    (i, j, _), (k, m, _), *_ = store
    free = next(c for c in range(31) if (i, c) not in store)
    before = as_dict(store)
    for call in (
        lambda: store.set(i, [free, 31], 1.0),
        lambda: store.set(i, [free, j], [1.0, np.nan]),
        lambda: store.set(i, [free, j, free], 1.0),
        lambda: store.set([[i], [i]], [j, free], 1.0),
        lambda: store.add([i, i], [free, j], [1.0, np.inf]),
        lambda: store.insert([i, i], [free, j], 1.0),
        lambda: store.insert(i, [free], [1e300]),
        lambda: store.remove([i, k, i], [j, m, free]),
        lambda: store.remove(np.array([i, k, i]), np.array([j, m, j])),
        lambda: store.set(i, [free, j], [1.0, 2.0, 3.0]),
    ):
        with pytest.raises((ValueError, IndexError, KeyError)):
            call()
        assert as_dict(store) == before
    with store.view() as v, pytest.raises(BufferError):
        store.set(i, [free, j], 1.0)
    del v
    with store.view():
        store.set(i, [j], 7.0)
    assert store[i, j] == 7.0 and len(store) == len(before)


def test_indices_broadcast_as_in_numpy(store):
    dense = store.to_dense()
    assert dense.shape == store.shape and dense.dtype == store.dtype
    rows, cols = np.array([5, 0, 9]), np.array([[1], [30], [2], [1]])
    for key in (
        (rows, cols), np.ix_(rows, cols[:, 0]), (0, cols), (rows[:1], cols[:, 0]), ([[0]], [[1]]),
        (rows[:, None, None], cols), (np.array(3), np.array(4)), (np.empty((0, 2), int), 3),
        np.nonzero(dense),
    ):  # fmt: skip
        found, there = store[key], store.contains(*key)
        assert np.shape(found) == np.shape(there) == np.shape(dense[key])
        assert np.array_equal(found, dense[key]) and np.array_equal(there, dense[key] != 0)
    assert isinstance(store.contains(0, 1), np.bool_) and store.contains(0, 1) == ((0, 1) in store)
    block = np.ix_([3, 1], [4, 0, 2])
    values = np.arange(6.0).reshape(2, 3)
    store[block] = values
    assert np.array_equal(store[block], values)
    store[block] = values[:1]
    store.add(*block, 1.0)
    assert np.array_equal(store[block], [values[0] + 1] * 2)
    del store[block]
    assert not store.contains(*block).any()
    with pytest.raises(TypeError, match=r"store\[np.nonzero\(mask\)\]"):
        store[dense != 0]
    with pytest.raises(TypeError, match=r"got dtype bool; np.nonzero\(rows\)"):
        store[np.ones(23, bool), 0]
    with pytest.raises(AttributeError, match="store.to_dense"):
        store.toarray()


def test_a_column_of_far_more_inputs_than_links():
    wide = WeightStore(n_out=7, n_in=2**31 - 100)
    wide.insert([6, 2, 4], [2**31 - 101, 9, 9], [1.0, 2.0, 3.0])
    size = wide.nbytes
    assert [a.tolist() for a in wide.column(9)] == [[2, 4], [2.0, 3.0]]
    assert [a.tolist() for a in wide.column(2**31 - 101)] == [[6], [1.0]]
    assert wide.column(10)[0].size == 0 and not wide._core.build_mirror() and wide.nbytes == size < 10_000
    few = WeightStore(n_out=7, n_in=50_000, group=4)  # a mirror of as many inputs is small
    few.insert([4, 5, 6], 49_999, 2.0)
    assert [a.tolist() for a in few.column(49_999)] == [[4, 5, 6], [2.0] * 3] and few._core.has_mirror
    grown = WeightStore(n_out=2, n_in=70_000)
    assert grown.column(3)[0].size == 0 and not grown._core.has_mirror
    grown.grow(1000, seed=1)
    rows = grown.column(3)[0].tolist()
    assert grown._core.has_mirror and rows == [i for i in range(2) if (i, 3) in grown]


def test_dtypes_as_numpy_names_them():
    for kind in ("float64", float, np.float64, np.dtype(float), np.dtype(">f8")):
        s = WeightStore(n_out=2, n_in=2, dtype=kind)
        assert s.dtype == "float64" and s.dtype.itemsize == 8 and "dtype='float64'" in repr(s)
        s.add_field("f", kind)
        assert s.fields["f"][0] == "float64"
        assert WeightStore.from_dense(np.eye(2), dtype=kind).dtype == np.float64
        assert WeightStore.from_structure(s.structure_bytes(), dtype=kind).dtype == np.float64
    with pytest.raises(ValueError, match="the store has a field 'f' already"):
        s.add_field("f", "int32")


@pytest.mark.parametrize("kind", ["bool", "int8", "uint16", "int64", "uint64", "float16"])
def test_matrices_of_other_numbers(kind):
    dense = np.array([[1, 0, 1], [0, 1, 0]], kind)
    for made in (WeightStore.from_dense(dense), WeightStore.from_csr(sp.csr_array(dense)) if kind != "float16"
                 else WeightStore.from_dense(dense.tolist())):  # fmt: skip
        assert made.dtype == "float32" and np.array_equal(made.to_dense(), dense)


@pytest.mark.parametrize("odd", [2**24 + 1, -(2**24) - 1, 2**63 - 1, 2**53 + 1])
def test_integers_that_the_dtype_would_round(odd):
    dense = np.array([[0, odd], [1, 0]])
    for make in (WeightStore.from_dense, lambda a, **k: WeightStore.from_csr(sp.csr_array(a), **k)):
        with pytest.raises(ValueError, match=rf"exactly, got {odd} for \(row 0, col 1\)"):
            make(dense)
        assert make(dense, dtype="float64")[0, 1] == float(odd)
    assert WeightStore.from_dense(np.array([[2**24, -(2**30)]])).to_dense().tolist() == [
        [2.0**24, -(2.0**30)]
    ]
