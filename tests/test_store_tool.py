"""The store as a tool of its own: products, the quick way of single edits, plans by hand, SciPy, Numba."""

import copy
import threading

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.sparse.linalg as spl
from hypothesis import given, settings
from hypothesis import strategies as st

import rewire as rw
from rewire import WeightStore, _core
from strategies import as_dict, dense, random_store

KINDS = [
    "float32",
    "float64",
    "float16",
    "int8",
    "uint8",
    "int32",
    "uint32",
    "int64",
    "bool",
    "longdouble",
    ">f4",
]


@pytest.fixture
def store():
    return random_store(np.random.default_rng(3), 23, 31, density=0.3)


# --- products -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("samples", [1, 2, 5, 64, 65])
def test_products_are_those_of_scipy(dtype, group, samples):
    rng = np.random.default_rng(group + samples)
    s = random_store(rng, 23, 31, group, dtype)
    csr, tolerance = s.to_csr(), {"rtol": 1e-5, "atol": 1e-5}
    x, g = rng.normal(size=(31, samples)).astype(dtype), rng.normal(size=(23, samples)).astype(dtype)
    for found, expected in (
        (s @ x, csr @ x),
        (s.forward(x.T), (csr @ x).T),
        (g.T @ s, g.T @ csr),
        (s.backward_input(g.T), (csr.T @ g).T),
        (s @ x[:, 0], csr @ x[:, 0]),
        (g[:, 0] @ s, csr.T @ g[:, 0]),
        (s.matvec(x[:, :1]), csr @ x[:, :1]),
        (s.rmatvec(g), csr.T @ g),
    ):
        assert found.shape == expected.shape and found.dtype == dtype
        assert np.allclose(found, expected, **tolerance)
    gradient = s.gradient(x.T, g.T)
    assert gradient.shape == (s.slots, group) and list(s.fields) == ["weight"]
    s.set_field("weight", gradient)
    assert np.allclose(dense(s), np.where(csr.toarray() != 0, g @ x.T, 0), **tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_any_real_dtype_and_layout(store, kind):
    rng = np.random.default_rng(0)
    whole = rng.integers(0, 2, (31, 6)).astype(kind)
    plain = whole.astype("float32")
    for layout in (
        lambda a: a,
        np.asfortranarray,
        lambda a: a[::-1][::-1],
        lambda a: np.repeat(a, 2, 1)[:, ::2],
    ):
        assert np.array_equal(store @ layout(whole), store @ plain)
        assert np.array_equal(store @ layout(whole)[:, 1], store @ plain[:, 1])
        assert np.array_equal(store.forward(layout(whole.T)), store.forward(plain.T))
    assert np.array_equal(store @ plain.tolist(), store @ plain)


def test_one_sample_has_the_bits_of_many(store):
    x = np.random.default_rng(1).normal(size=(70, 31)).astype("float32")
    g = np.random.default_rng(2).normal(size=(70, 23)).astype("float32")
    alone = np.stack([store @ row for row in x]), np.stack([row @ store for row in g])
    for threads in (1, 2, 3):
        assert np.array_equal(store.forward(x, threads=threads), alone[0])
        assert np.array_equal(store.backward_input(g, threads=threads), alone[1])
        assert np.array_equal(store.gradient(x, g, threads=threads), store.gradient(x, g))
    back = store.backward_input(g)
    store.column(0)  # builds the mirror
    assert np.array_equal(store.backward_input(g), back) and np.array_equal(g[0] @ store, alone[1][0])


def test_empty_batches_and_empty_stores(store):
    assert store.forward(np.empty((0, 31))).shape == (0, 23)
    assert store.backward_input(np.empty((0, 23))).shape == (0, 31)
    assert (store @ np.empty((31, 0))).shape == (23, 0)
    assert not store.gradient(np.empty((0, 31)), np.empty((0, 23))).any()
    assert store.forward(sp.csr_array((0, 31))).shape == (0, 23)
    empty = WeightStore(n_out=3, n_in=2)
    assert (empty @ [1.0, 2.0]).tolist() == [0.0] * 3 and empty.gradient([1, 2], [1, 2, 3]).shape == (0, 1)
    assert list(empty) == [] and len(empty) == 0 and empty.row(1)[0].size == empty.column(1)[0].size == 0


def test_sparse_samples(store):
    x = sp.random_array((40, 31), density=0.2, format="csr", rng=np.random.default_rng(5), dtype=np.float32)
    assert np.array_equal(store.forward(x), store.forward(x.toarray()))


def test_what_is_not_connected_is_not_looked_at():
    s = WeightStore.from_arrays([0], [1], [2.0], n_out=2, n_in=2)
    assert (s @ [np.nan, 3.0]).tolist() == [6.0, 0.0]
    assert np.isnan(s @ [0.0, np.nan])[0]


def test_a_linear_operator_for_scipy(store):
    operator = spl.aslinearoperator(store)
    assert operator.shape == store.shape and operator.dtype == np.float32
    x, g = np.ones(31), np.ones(23)
    assert np.allclose(operator @ x, store.to_csr() @ x, rtol=1e-5)
    assert np.allclose(operator.T @ g, store.to_csr().T @ g, rtol=1e-5)
    s = WeightStore.from_csr(store.to_csr(), dtype="float64")
    values = spl.svds(spl.aslinearoperator(s), k=3, return_singular_vectors=False, rng=0)
    assert np.allclose(np.sort(values), np.sort(np.linalg.svd(dense(s), compute_uv=False))[-3:])
    right = s @ np.arange(31.0)
    assert np.allclose(s @ spl.lsqr(s, right, atol=1e-12, btol=1e-12)[0], right)


def test_views_are_arrays_that_numba_takes(store):
    numba = pytest.importorskip("numba")

    @numba.njit
    def row_sums(start, length, weight, sums):
        for g in range(start.size):
            for k in range(start[g], start[g] + length[g]):
                sums[g] += weight[k]

    sums = np.zeros(23, "float32")
    with store.view() as v:
        assert all(type(a) is np.ndarray for a in (v.start, v.length, v.source, v.weight))
        row_sums(v.start, v.length, v.weight, sums)
    assert np.allclose(sums, store @ np.ones(31), rtol=1e-5, atol=1e-5)


def test_a_gradient_while_a_view_is_open(store):
    x, g = np.ones(31), np.arange(23.0)
    expected = store.gradient(x, g)
    with store.view() as v:
        weight = v.weight.tobytes()  # free slots may hold anything, NaN too
        assert np.array_equal(store.gradient(x, g), expected)
        assert v.weight.tobytes() == weight
    store.validate()
    for i in range(11):  # all that a store can have: a gradient needs none
        store.add_field(f"f{i}", "uint8")
    assert np.array_equal(store.gradient(x, g), expected)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("samples", [3, 700])
def test_a_gradient_has_the_bits_of_training(group, samples):
    """Packed outside the store or in a field of it, on any number of threads."""
    rng = np.random.default_rng(samples)
    s = random_store(rng, 61, 97, group, density=0.3)
    x = rng.normal(size=(samples, 97)).astype("float32")
    g = rng.normal(size=(samples, 61)).astype("float32")
    found = s.gradient(x, g, threads=1)
    assert np.array_equal(found, s.gradient(x, g, threads=3))
    size = _core.tile_size(samples, "float32")
    given = [_core.Tiles(a.shape[1], samples, size, "float32") for a in (x, g)]
    for tiles, a in zip(given, (x, g), strict=True):
        tiles.pack(a)
    s.add_field("grad", "float32")
    _core.backward_weights(s._core, *given, "grad", 1)
    assert np.array_equal(found, s.get_field("grad"))


def test_views_die_and_readers_read_during_a_gradient():
    s = random_store(np.random.default_rng(0), 300, 300, density=0.5)
    x = np.ones((2000, 300), "float32")
    for _ in range(3):
        with s.view() as v:
            lent = [v.weight]
        del v
        thread = threading.Thread(target=s.gradient, args=(x, x), kwargs={"threads": 1})
        thread.start()
        while thread.is_alive():
            lent.clear()
            with s.view():
                assert list(s.fields) == ["weight"]
            assert s.row(0)[0].size and s.forward(x[:2]).shape == (2, 300)
        thread.join()
        assert s._core.pins == 0
        i, j, w = next(iter(s))
        del s[i, j]
        s[i, j] = w
    s.validate()


# --- the quick way and the long one -----------------------------------------------------

ODD = st.one_of(
    st.integers(-2, 5), st.integers(-2, 5).map(np.int64), st.integers(0, 5).map(np.uint8),
    st.integers(0, 3).map(float),
    st.sampled_from([None, True, "1", 2**70, -(2**70), np.True_, 1.5, np.float32(1.0), [1], np.array(1), 1j]),
)  # fmt: skip
ODD_WEIGHTS = st.one_of(
    st.floats(), st.integers(-(10**40), 10**40), st.floats(width=32).map(np.float32),
    st.sampled_from([True, "1", None, 1j, 10**400, np.int16(3), np.array(2.0), [0.5], 3.4028236e38]),
)  # fmt: skip


def outcome(call, store):
    """What a call on a copy of the store does: the error in words, or the store afterwards."""
    mine = store.copy()
    try:
        call(mine)
    except Exception as error:
        assert as_dict(mine) == as_dict(store)
        return type(error), str(error)
    mine.validate()
    return as_dict(mine)


@settings(max_examples=150, deadline=None)
@given(i=ODD, j=ODD, w=ODD_WEIGHTS, dtype=st.sampled_from(["float32", "float64"]))
def test_both_ways_do_and_say_the_same(i, j, w, dtype):
    s = WeightStore.from_arrays([0, 1, 2], [1, 2, 0], [1.0, 2.0, 3.0], n_out=3, n_in=4, dtype=dtype)
    s.set_birth("weight", 0.25)
    long = {
        "insert": lambda s: long_insert(s, i, j, w),
        "remove": lambda s: long_remove(s, i, j),
    }
    assert outcome(lambda s: s.insert(i, j, w), s) == outcome(long["insert"], s)
    assert outcome(lambda s: s.remove(i, j), s) == outcome(long["remove"], s)
    if i is not None and j is not None:  # which an array could be asked for
        assert outcome(lambda s: s.__setitem__((i, j), w), s) == outcome(lambda s: s.set(i, j, w), s)


def long_insert(s, *args):
    plan = s.plan()
    plan.insert(*args)
    plan.commit()


def long_remove(s, *args):
    plan = s.plan()
    plan.remove(*args)
    plan.commit()


def test_a_pinned_store_refuses_single_edits(store):
    (i, j, _), *_ = store
    empty = next((r, c) for r in range(23) for c in range(31) if (r, c) not in store)
    before = as_dict(store)
    with store.view() as v:
        edits = [
            lambda: store.insert(*empty),
            lambda: store.remove(i, j),
            lambda: store.__setitem__(empty, 1.0),
            lambda: store.__delitem__((i, j)),
            lambda: store.prune(count=1),
            lambda: store.grow(1, seed=0),
        ]
        for edit in edits:
            with pytest.raises(BufferError):
                edit()
        store[i, j] = 7.0  # no structure changes, and the view sees it
        assert 7.0 in v.weight
    before[i, j] = 7.0
    assert as_dict(store) == before


def test_fields_are_born_and_follow_single_edits():
    s = WeightStore(n_out=2, n_in=9)
    s.add_field("age", "int32", per_slot=True, birth=5)
    for j in (4, 0, 8, 2, 6):
        s.insert(1, j, j)
    s.set_field("age", [[10 * j] for j in (0, 2, 4, 6, 8)])
    s[1, 3] = 3.0
    del s[1, 2]
    s[1, 0] = 0.5
    assert s.row(1)[0].tolist() == [0, 3, 4, 6, 8] and s.get_field("age").ravel().tolist() == [
        0,
        5,
        40,
        60,
        80,
    ]
    assert s.to_arrays()[2].tolist() == [0.5, 3.0, 4.0, 6.0, 8.0]


def test_threads_take_turns():
    """Readers and single edits in threads: each is whole, or says that the store is in use."""
    s = random_store(np.random.default_rng(0), 50, 50)
    problems = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(300):
            i, j = (int(k) for k in rng.integers(0, 50, 2))
            try:
                s[i, j] = float(rng.normal())
                s.column(j)
                del s[i, j]
            except KeyError:
                pass  # another thread was quicker
            except RuntimeError as error:
                if "in use" not in str(error) and "changed since" not in str(error):
                    problems.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not problems
    s.validate()


def test_set_is_whole_for_readers():
    """Inserted and changed connections come together, and none of them where another thread is in the way."""
    s = WeightStore.from_dense(np.ones((1, 400)))
    s.remove(0, np.arange(200))
    cols, odd, done = np.arange(400), [], threading.Event()

    def read():
        while not done.is_set():
            try:
                seen = s[0, cols]
            except RuntimeError:
                continue
            if seen[0] and seen[0] != seen[399]:
                odd.append(seen)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for t in threads:
        t.start()
    last = 1.0
    for k in range(2, 1000):
        try:
            s[0, cols] = float(k)
            last = float(k)
        except RuntimeError:
            assert (0, 0) not in s and s[0, 399] == last
            continue
        while (0, 0) in s:
            try:
                s.remove(0, cols[:200])
            except RuntimeError:
                pass
    done.set()
    for t in threads:
        t.join()
    assert not odd
    s.validate()


def test_set_of_a_store_that_has_changed_meanwhile(monkeypatch):
    s = WeightStore.from_dense([[1.0, 2.0, 0.0]] * 2, group=2)  # whole slots come and go in several steps
    get = _core.get_links

    def and_then(*args):
        found = get(*args)
        if (0, 0) in s:
            s.remove([0, 1], 0)  # as another thread might
        return found

    for method in (s.set, s.add):
        monkeypatch.setattr(_core, "get_links", and_then)
        with pytest.raises(RuntimeError, match="in use"):
            method([[0], [1]], [0, 2], 5.0)
        monkeypatch.undo()
        assert list(s) == [(0, 1, 2.0), (1, 1, 2.0)]
        s.insert([0, 1], 0, 1.0)


@pytest.mark.parametrize("far", [1e39, -1e300, 2.0**128])
def test_products_refuse_what_float32_cannot_hold(far):
    """Finite in, infinite out would be without a word; what is infinite or NaN itself goes through."""
    s, x = WeightStore.from_dense(np.eye(4, 3), dtype="float32"), np.ones((5, 3))
    x[2, 1] = far
    g = np.ones((5, 4))
    g[1, 0] = far
    for product in (
        lambda: s.forward(x), lambda: s.forward(x[2]), lambda: s.forward(sp.csr_array(x)),
        lambda: s @ x.T, lambda: s @ x[2], lambda: s.matvec(x[2]), lambda: g @ s, lambda: g[1] @ s,
        lambda: s.rmatvec(g.T), lambda: s.backward_input(g), lambda: s.gradient(x, g[:, :4]),
        lambda: s.gradient(np.ones((5, 3)), g),
    ):  # fmt: skip
        with np.errstate(all="raise"), pytest.raises(ValueError, match=r"^[XxG] must fit float32, got"):
            product()
    x[2, 1] = np.inf
    assert (s @ x.T)[1, 2] == (s @ x[2])[1] == np.inf
    assert WeightStore.from_dense(np.eye(3), dtype="float64") @ [far, 0, 0] @ [1, 0, 0] == far


@pytest.mark.parametrize("birth", [np.nan, np.inf, 1e300])
def test_a_birth_value_that_no_weight_can_be(birth):
    s = WeightStore(n_out=3, n_in=3)
    s.set_birth("weight", birth)
    for insert in (lambda: s.insert(0, 1), lambda: s.insert([0], [1]), lambda: s.grow(1, seed=0)):
        with pytest.raises(
            ValueError, match="must be finite|must fit float32|birth value of weights must be"
        ):
            insert()
    s.insert([], [])
    assert s.grow(0) == 0 and len(s) == 0
    s.insert(0, 1, 2.0)
    assert s.grow(1, value=1.0) == 1


# --- items ------------------------------------------------------------------------------


def test_integers_in_arrays_of_objects(store):
    (i, j, w), *_ = store
    rows, cols = np.array([i, np.int64(i)], dtype=object), np.array(j, dtype=object)
    assert store[rows, cols].tolist() == [w, w]
    assert store.row(np.array(i, dtype=object))[0].tolist() == store.row(i)[0].tolist()
    store.remove(rows[:1], j)
    store.insert(rows[:1], j, 2.0)
    assert store[i, j] == 2.0
    with pytest.raises(IndexError, match="got 23"):
        store[np.array([0, 23], dtype=object), 1]
    for odd in (True, 1.0, None, "1"):
        with pytest.raises(TypeError, match="rows must be integers, got dtype object"):
            store[np.array([0, odd], dtype=object), 1]


def test_what_is_asked_wrongly_says_so(store):
    link = next(iter(store))
    with pytest.raises(TypeError, match=r"position of a connection, `\(row, col\) in store`"):
        link in store  # noqa: B015
    dense_x, dense_g = np.ones((2, 31)), np.ones((2, 23))
    for call in (
        lambda: store.backward_input(sp.csr_array(dense_g)),
        lambda: store.gradient(sp.csr_array(dense_x), dense_g),
        lambda: store.gradient(dense_x, sp.coo_array(dense_g)),
        lambda: WeightStore.from_dense(sp.csr_matrix(dense_x)),
    ):
        with pytest.raises(TypeError, match="must be a dense array, got a sparse one"):
            call()


def test_items_of_any_integer_type(store):
    (i, j, w), *_ = store
    for kind in (int, np.int32, np.uint16, np.array):
        assert store[kind(i), kind(j)] == w and type(store[kind(i), kind(j)]) is float
        assert (kind(i), kind(j)) in store
        assert store.row(kind(i))[0].tolist() == store.row(i)[0].tolist()
        assert store.column(kind(j))[0].tolist() == store.column(j)[0].tolist()
    assert (-1, 0) not in store and (0, 31) not in store and (2**70, 0) not in store
    assert store[[i], j].tolist() == [w] and store[i, [j, j]].tolist() == [w, w]
    assert [type(k) for k in next(iter(store))] == [int, int, float]


def test_rows_and_columns_are_copies(store):
    for cols, values in (store.row(0), store.column(0)):
        before = as_dict(store)
        cols += 1
        values *= 2
        assert as_dict(store) == before


def test_a_loop_sees_the_store_as_it_was(store):
    before = as_dict(store)
    seen = {}
    for i, j, w in store:
        del store[i, j]
        seen[i, j] = w
    assert seen == before and len(store) == 0


def test_copies_are_apart(store):
    twin = store.copy()
    (i, j, w), *_ = store
    twin[i, j] = w + 1
    assert store[i, j] == w and as_dict(copy.deepcopy(twin)) == as_dict(twin)


def test_dtypes_of_new_stores():
    assert WeightStore.from_dense(np.eye(3)).dtype == "float64"
    assert WeightStore.from_dense([[1, 0], [0, 2]]).dtype == "float32"
    assert WeightStore.from_dense(np.eye(3, dtype=bool), dtype="float64").dtype == "float64"
    assert WeightStore.from_arrays(0, [1, 2], 0.5, n_out=1, n_in=3).dtype == "float32"
    filled = WeightStore.from_dense(np.eye(4), group=2, fill=True)
    assert list(filled)[:4] == [(0, 0, 1.0), (0, 1, 0.0), (1, 0, 0.0), (1, 1, 1.0)]


# --- plans by hand ----------------------------------------------------------------------


def test_a_plan_swaps_and_fills_what_it_empties():
    s = WeightStore.from_dense([[1.0, 0.0, -0.1], [0.0, 2.0, 0.0]])
    plan = s.plan()
    plan.remove([0, 1], [2, 1])
    plan.insert([1, 1, 0], [1, 0, 1], [5.0, 6.0, 7.0])
    assert repr(plan) == "EditPlan(2 slots removed, 3 inserted)" and len(s) == 3
    assert [a.tolist() for a in plan.removed()] == [[0, 1], [2, 1]]
    assert [a.tolist() for a in plan.inserted()] == [[0, 1, 1], [1, 0, 1]]
    plan.commit()
    assert list(s) == [(0, 0, 1.0), (0, 1, 7.0), (1, 0, 6.0), (1, 1, 5.0)]
    with pytest.raises(RuntimeError):
        plan.commit()


def test_a_plan_says_afterwards_where_slots_came_from():
    s, other = WeightStore.from_dense(np.eye(6)), WeightStore.from_dense(np.eye(3))
    before = s.to_arrays()[2] * np.arange(1, 7)
    plan, second, empty = s.plan(), other.plan(), other.plan()
    plan.remove([1, 4], [1, 4])
    plan.insert([0, 4, 5], [3, 4, 0], 0.5)
    expected = plan.mapping()
    second.grow(2, seed=1)
    plan.commit(second)
    assert plan.mapping().tolist() == expected.tolist() == [0, -1, 2, 3, -1, -1, 5]
    assert np.append(before, 9.0)[plan.mapping()].tolist() == [1.0, 9.0, 3.0, 4.0, 9.0, 9.0, 6.0]
    assert np.count_nonzero(second.mapping() < 0) == 2
    s[0, 0] = 2.0  # a value, not a link
    assert plan.mapping().tolist() == expected.tolist()
    del s[0, 0]
    for late in (plan, empty):
        with pytest.raises(RuntimeError, match="changed"):
            late.mapping()
    nothing = s.plan()
    nothing.commit()
    nothing.remove(0, 3)
    assert nothing.mapping().tolist() == list(range(1, len(s)))


def test_a_plan_in_the_wrong_order():
    s = WeightStore.from_dense(np.eye(4))
    plan = s.plan()
    plan.insert(0, 1, 1.0)
    for edit in (
        lambda: plan.remove(0, 0),
        lambda: plan.prune(count=1),
        lambda: plan.insert(0, 2),
        lambda: plan.grow(1),
    ):
        with pytest.raises(ValueError, match=r"in a plan, and one.*EditPlan\(0 slots removed, 1 inserted\)"):
            edit()
    with pytest.raises(ValueError, match="grow comes last in a plan, and one insert or grow"):
        plan.grow(1)
    with pytest.raises(ValueError, match=r"\(row 1, col 1\) is already there"):
        s.plan().insert(1, 1)
    with pytest.raises(KeyError, match=r"\(row 1, col 0\) is not there"):
        s.plan().remove(1, 0)
    plan.commit()
    assert len(s) == 5


def test_plans_of_several_stores_are_one():
    a, b = WeightStore.from_dense(np.eye(3)), WeightStore.from_dense(np.eye(3))
    first, second = a.plan(), b.plan()
    first.prune(count=3)
    second.grow(2, seed=1)
    b.insert(0, 1)
    with pytest.raises(RuntimeError):
        first.commit(second)
    assert len(a) == 3
    second = b.plan()
    second.grow(2, seed=1)
    first.commit(second)
    assert (len(a), len(b)) == (0, 6)
    with pytest.raises(ValueError, match="at most once"):
        a.plan().commit(a.plan())
    with pytest.raises(TypeError, match="plans of other stores, got 3"):
        a.plan().commit(3)


def test_growth_is_named_by_its_seed():
    def grown(*seeds):
        s = WeightStore(n_out=20, n_in=20)
        for seed in seeds:
            s.grow(5, seed=seed, value=1.0, threads=1)
        return as_dict(s)

    assert grown(3) == grown(3) != grown(4)
    rng = np.random.default_rng(0)
    assert len(grown(rng, rng)) == 10 and grown(np.random.default_rng(0)) == grown(np.random.default_rng(0))
    assert len(grown(None)) == 5


def test_a_few_of_many_are_the_smallest():
    """Also by the quick way, which large stores take."""
    s = random_store(np.random.default_rng(2), 200, 200, density=0.3)
    order = np.sort(np.abs(s.to_arrays()[2]))
    for count in (1, 20, 300):
        twin = s.copy()
        assert twin.prune(count=count) == count
        assert np.array_equal(np.sort(np.abs(twin.to_arrays()[2])), order[count:])
        twin.validate()
    assert s.prune(below=float(order[17])) == 17


def test_stores_of_layers_are_tools_too():
    net = rw.Sequential(
        [rw.Sparse(6, 5, density=0.5), rw.Sparse(5, 2, density=1.0, activation="softmax")], seed=0
    )
    s = net.layers[0].store
    i, j, w = next(iter(s))
    s[i, j] = 2 * w
    assert s[i, j] == 2 * w and len(s) == s.nnz == 15
    x = np.ones((3, 6), "float32")
    assert np.allclose(s.forward(x), (s @ x.T).T)
