"""What comes out of a WeightStore and goes back in: SciPy matrices, views, fields, copies."""

import copy
import gc
import pickle
import sys
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewire import WeightStore, _core
from strategies import as_dict, dense, random_store


@pytest.fixture
def store():
    """Rows 0 to 2 of 3, four inputs: 0 <- 1, 3; 2 <- 0."""
    s = WeightStore(n_out=3, n_in=4)
    s.insert([2, 0, 0], [0, 3, 1], [2.0, -0.5, 0.25])
    return s


# --- SciPy ---------------------------------------------------------------------------------


@pytest.fixture
def sparse():
    return pytest.importorskip("scipy.sparse")


def test_to_csr(sparse, store):
    csr = store.to_csr()
    assert isinstance(csr, sparse.csr_array) and csr.shape == (3, 4) and csr.dtype == np.float32
    assert csr.has_canonical_format
    np.testing.assert_array_equal(csr.toarray(), dense(store))
    csr.data[:] = 7  # a copy
    assert as_dict(store)[0, 1] == 0.25


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("family", ["array", "matrix"])
def test_from_every_format(sparse, kind, family):
    rng = np.random.default_rng(3)
    m = np.where(rng.random((7, 5)) < 0.4, rng.normal(size=(7, 5)), 0)
    s = WeightStore.from_csr(getattr(sparse, f"{kind}_{family}")(m))
    assert s.dtype == "float64"
    np.testing.assert_array_equal(dense(s), m)
    assert WeightStore.from_csr(getattr(sparse, f"{kind}_{family}")(m), dtype="float32").dtype == "float32"


@pytest.mark.parametrize("index", [np.int32, np.int64])
def test_from_csr_unsorted(sparse, index):
    m = sparse.csr_array((2, 5), dtype="f4")
    m.indptr, m.indices = np.array([0, 3, 4], index), np.array([4, 0, 2, 1], index)
    m.data = np.array([1, 2, 0, 4], "f4")
    assert as_dict(WeightStore.from_csr(m)) == {(0, 0): 2, (0, 2): 0, (0, 4): 1, (1, 1): 4}
    assert m.indices.tolist() == [4, 0, 2, 1]  # left alone


def test_from_csr_in_groups(sparse):
    m = np.zeros((6, 3), "f4")
    m[0:4, 1], m[4:6, 2] = [1, 2, 3, 4], [5, 6]
    s = WeightStore.from_csr(sparse.csr_array(m), group=4)
    assert s.slots == 2 and s.nnz == 6
    np.testing.assert_array_equal(dense(s), m)
    m[2, 1] = 0
    with pytest.raises(ValueError, match=r"\(row 0, col 1\).*without \(2, 1\).*fill=True"):
        WeightStore.from_csr(sparse.csr_array(m), group=4)
    s = WeightStore.from_csr(sparse.csr_array(m), group=4, fill=True)
    assert s.nnz == 6 and as_dict(s)[2, 1] == 0
    s.validate()


def test_from_csr_refuses(sparse):
    good = sparse.csr_array(np.eye(3, dtype="f4"))

    def broken(**parts):
        m = good.copy()
        for name, value in parts.items():
            setattr(m, name, np.array(value, getattr(m, name).dtype))
        return m

    cases = [
        (np.eye(3), TypeError, "SciPy sparse matrix, got an array"),
        (None, TypeError, "SciPy sparse matrix"),
        (good.astype(int) * (2**24 + 1), ValueError, "exactly, got 16777217"),
        (good.astype(complex), TypeError, "complex"),
        (broken(indices=[0, 0, 0], indptr=[0, 2, 2, 3]), ValueError, r"\(row 0, col 0\).*twice.*sum_dup"),
        (sparse.coo_array(([1.0, 2.0], ([0, 0], [1, 1])), shape=(2, 2)), ValueError, "named twice.*sum_dup"),
        (broken(data=[1, np.nan, 1]), ValueError, r"nan for \(row 1, col 1\)"),
        (broken(data=[1, 1, -np.inf]), ValueError, r"finite, got -inf for \(row 2, col 2\)"),
        (broken(indices=[0, 3, 1]), IndexError, r"\(row 1, col 3\)"),
        (broken(indices=[0, -1, 1]), IndexError, r"\(row 1, col -1\)"),
        (broken(indptr=[0, 2, 1, 3]), ValueError, "indptr"),
        (broken(indptr=[0, 1, 2, 9]), ValueError, "indptr"),
        (broken(indptr=[1, 1, 2, 3]), ValueError, "indptr"),
        (sparse.coo_array(np.ones(3)), ValueError, "two dimensions"),
        (sparse.csr_array((0, 3)), ValueError, "n_out"),
    ]
    for m, error, says in cases:
        with pytest.raises(error, match=says):
            WeightStore.from_csr(m)
    for arguments, error, says in [
        ({"group": 5}, ValueError, "group"),
        ({"fill": 1}, TypeError, "fill"),
        ({"dtype": "float16"}, ValueError, "dtype"),
        ({"dtype": np.float16}, ValueError, "dtype"),
    ]:
        with pytest.raises(error, match=says):
            WeightStore.from_csr(good, **arguments)
    assert WeightStore.from_csr(good.astype(int), dtype="float32").nnz == 3
    with pytest.raises(ValueError, match="fit float32, got 1e.300 for"):
        WeightStore.from_csr(sparse.csr_array(np.array([[1e300]])), dtype="float32")


@given(seed=st.integers(0, 2**32 - 1), group=st.sampled_from([1, 2, 4, 8]))
def test_csr_round_trip(seed, group):
    sparse = pytest.importorskip("scipy.sparse")
    rng = np.random.default_rng(seed)
    shape = rng.integers(1, 40, 2)
    m = sparse.random_array(tuple(shape), density=rng.random(), rng=rng, format="csr")
    filled = WeightStore.from_csr(m, group=group, fill=True)
    filled.validate()
    np.testing.assert_array_equal(dense(filled), m.toarray())
    again = WeightStore.from_csr(filled.to_csr(), group=group)
    assert as_dict(again) == as_dict(filled)
    if group == 1:
        assert filled.nnz == m.nnz


def test_without_scipy_the_error_names_the_extra(store, monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.sparse", None)
    with pytest.raises(ImportError, match=r"SciPy.*pip install"):
        store.to_csr()


# --- views ---------------------------------------------------------------------------------


def test_a_view_is_live(store):
    with store.view() as v:
        assert v.start.shape == v.length.shape == (3,) and v.length.tolist() == [2, 0, 1]
        first = v.start[0]
        assert v.source[first : first + 2].tolist() == [1, 3]
        v.weight[first] = 8.0
        for structure in (v.start, v.length, v.source):
            with pytest.raises(ValueError, match="read-only"):
                structure[:] = 10**6
    assert as_dict(store)[0, 1] == 8.0


@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize("packed", [True, False])
def test_what_no_slot_holds_is_zero_in_a_view(group, packed):
    """Whole arrays can be computed with: neither old values nor those of other memory stand between slots."""
    rng = np.random.default_rng(group)
    store = random_store(rng, 23, 40, group, scale=3e38 / 8)
    store.add_field("momentum", "float64", birth=1e300)
    rows, cols, _ = store.to_arrays()
    for part in range(0, 0 if packed else rows.size, 7):  # free windows of all sizes
        whole = np.isin(cols + 40 * (rows // group), (cols + 40 * (rows // group))[part : part + 1])
        store.remove(rows[whole], cols[whole])
        rows, cols, _ = store.to_arrays()
    before = store.to_arrays()[2]
    with np.errstate(all="raise"), store.view() as v:
        live = np.zeros(v.weight.shape[0], bool)
        for start, length in zip(v.start, v.length, strict=True):
            live[start : start + length] = True
        assert live.sum() == store.slots < live.size
        assert not v.weight[~live].any() and not v["momentum"][~live].any()
        assert v["momentum"][live].all()
        v.weight *= 2.0
        v["momentum"] *= 2.0
        v.weight += 1e30  # forgotten where no slot is
    assert np.array_equal(store.to_arrays()[2], before * np.float32(2) + np.float32(1e30))
    store._core.check()


def test_a_view_pins_the_structure(store):
    before = as_dict(store)
    with store.view():
        for edit in (
            lambda: store.insert(1, 1, 1.0),
            lambda: store.remove(0, 1),
            store.compact,
            lambda: store.add_field("momentum", "float32"),
            lambda: WeightStore.__setstate__(store, store.__getstate__()),
        ):
            with pytest.raises((BufferError, ValueError)):
                edit()
        with pytest.raises(BufferError, match="view"):
            store.insert(1, 1, 1.0)
        assert as_dict(store) == before
        assert as_dict(store.copy()) == before
    store.insert(1, 1, 1.0)


def test_arrays_that_outlive_their_view_keep_the_pin(store):
    with store.view() as v:
        part = v["weight"][1:]
    assert store._core.pins == 1
    with pytest.raises(BufferError):
        store.compact()
    with pytest.raises(RuntimeError, match="closed"):
        v.weight  # noqa: B018
    del part
    gc.collect()
    assert store._core.pins == 0
    store.compact()


def test_a_view_in_a_garbage_cycle_is_unpinned(store):
    box = [store.view().__enter__().weight.base]
    while not isinstance(box[0], memoryview):
        box[0] = box[0].base
    box[0] = box[0].obj  # something that the collector sees and may clear first
    box.append(box)
    assert store._core.pins > 0
    del box
    gc.collect()
    assert store._core.pins == 0


def test_a_plan_in_a_garbage_cycle_is_freed_before_its_store():
    s = WeightStore(n_out=30, n_in=30)
    box = [_core.Plan(s._core)]
    box[0].grow_random(300, 1, 0, 0)
    box[0].draw_weights("normal", 1.0, False, 1, 0, 0)
    box.append(box)
    gone = weakref.ref(s)
    del s, box
    gc.collect()
    assert gone() is None


def test_a_plan_does_not_name_what_has_changed(store):
    plan = _core.Plan(store._core)
    plan.prune_smallest(2, 1, 0, 0)
    assert [a.tolist() for a in plan.removed()] == [[0, 0], [1, 3]]
    store.insert(1, 1, 1.0)
    with pytest.raises(RuntimeError, match="changed"):
        plan.removed()


def test_arrays_keep_a_dead_store_s_memory(store):
    with store.view() as v:
        weight = v.weight
    alive = weakref.ref(store)
    expected = weight.tolist()
    del store, v
    gc.collect()
    assert weight.tolist() == expected and alive() is not None
    del weight
    gc.collect()


def test_view_of_groups_and_fields():
    s = random_store(np.random.default_rng(0), 10, 7, group=4)
    s.add_field("momentum", "float32", birth=0.5)
    s.add_field("age", "int32", per_slot=True, birth=3)
    with s.view() as v:
        assert v.weight.shape == v["momentum"].shape == (s._core.arena, 4)
        assert v["age"].shape == (s._core.arena,) and v["age"].dtype == np.int32
        for g in range(s.n_groups):
            assert (v["momentum"][v.start[g] : v.start[g] + v.length[g]] == 0.5).all()
        with pytest.raises(KeyError, match="nobody"):
            v["nobody"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("group", [1, 4])
def test_every_field_can_be_changed_in_place(group, dtype):
    s = random_store(np.random.default_rng(0), 10, 7, group=group, dtype=dtype)
    s.add_field("momentum", dtype, birth=8.0)
    s.add_field("age", "int32", per_slot=True, birth=3)
    before = {name: s.get_field(name) for name in s.fields}
    with s.view() as v:
        v.weight *= 0.5
        v.weight += 1
        v["momentum"] /= 4
        v["age"] += 2
        v["age"][:] *= 2
    after = {name: s.get_field(name) for name in s.fields}
    wanted = before["weight"] * np.array(0.5, dtype) + 1
    if group == 4:  # 10 rows: two of the last group do not exist
        wanted[s.indptr()[-2] :, 2:] = 0
    assert np.array_equal(after["weight"], wanted)
    assert (after["momentum"] == 2).all() and (after["age"] == 10).all()
    s.validate()


@pytest.mark.parametrize(
    ("name", "values", "wanted"),
    [
        ("weight", lambda a: a.astype("f8") * 2, lambda a: a * 2),
        ("weight", lambda a: (a * 2).tolist(), lambda a: a * 2),
        ("weight", lambda a: 0.1, lambda a: np.full_like(a, 0.1)),
        ("weight", lambda a: np.int8(3), lambda a: np.full_like(a, 3)),
        ("weight", lambda a: np.arange(a.size, dtype=object), lambda a: np.arange(a.size)),
        ("weight", lambda a: np.full(a.shape, np.nan), lambda a: np.full_like(a, np.nan)),
        ("age", lambda a: a + 1.0, lambda a: a + 1),
        ("age", lambda a: 2**31 - 1, lambda a: np.full_like(a, 2**31 - 1)),
    ],
)
def test_another_array_is_copied_into_a_view(store, name, values, wanted):
    store.add_field("age", "int32", birth=3)
    with store.view() as v:
        v.weight[:] = 1.0  # also between the groups, where it is undefined
        array, before = v[name], v[name].copy()
        given = values(before)
        v[name] = given
        assert np.array_equal(array, wanted(before), equal_nan=True) and v[name] is array
        assert v.weight is not given
    store.validate()


@pytest.mark.parametrize(
    ("name", "values", "error", "says"),
    [
        (
            "weight",
            lambda a: a[:-1],
            ValueError,
            r"weight must have shape \(\d+,\) or be one number, got shape",
        ),
        ("weight", lambda a: a[:, None], ValueError, "or be one number"),
        (
            "weight",
            lambda a: np.where(np.arange(a.size) == 2, 1e39, 0.0),
            ValueError,
            "got 1e.39 at position 2",
        ),
        ("weight", lambda a: -1e39, ValueError, r"weight must fit float32, got -1e\+39$"),
        ("weight", lambda a: "a", TypeError, "weight must be real numbers"),
        ("weight", lambda a: None, TypeError, "weight must be real numbers"),
        ("weight", lambda a: [[1.0], [2.0, 3.0]], TypeError, "weight must be numbers"),
        ("weight", lambda a: a * 1j, TypeError, "weight must be real numbers, got dtype complex"),
        ("age", lambda a: a + 0.5, ValueError, "age must fit int32, got 3.5 at position 0"),
        ("age", lambda a: 2**31, ValueError, "age must fit int32, got 2147483648"),
        ("age", lambda a: 2.0**31, ValueError, "age must fit int32"),
        ("age", lambda a: np.nan, ValueError, "age must fit int32, got nan"),
        ("nobody", lambda a: a, KeyError, "the store has no field 'nobody'"),
    ],
)
def test_a_view_refuses_what_does_not_fit(store, name, values, error, says):
    store.add_field("age", "int32", birth=3)
    with store.view() as v:
        v.weight[:] = 1.0
        before = v.weight.copy(), v["age"].copy()
        with pytest.raises(error, match=says):
            v[name] = values(v["age"] if name == "age" else v.weight)
        assert np.array_equal(before[0], v.weight) and np.array_equal(before[1], v["age"])
    with pytest.raises(RuntimeError, match="closed"):
        v.weight = 1.0


@pytest.mark.parametrize(
    "edit",
    [
        lambda s: s.insert(1, 1, 1.0),
        lambda s: s.remove(0, 1),
        lambda s: s.compact(),
        lambda s: s.add_field("age", "int32"),
        lambda s: s.drop_field("momentum"),
    ],
)
def test_a_pinned_store_says_what_pins_it(store, edit):
    store.add_field("momentum", "float32")
    with store.view() as v:
        with pytest.raises(BufferError, match="the `with` block of a view is not over: this belongs"):
            edit(store)
        weight, momentum = v.weight, v["momentum"][1:]
    with pytest.raises(BufferError, match="2 arrays of a view are still referenced: `del` the names"):
        edit(store)
    with store.view(), pytest.raises(
        BufferError, match="2 arrays of a view are still referenced, and the `with` block of another view"
    ):  # fmt: skip
        edit(store)
    del weight
    with pytest.raises(BufferError, match="1 array of a view is still referenced: `del` the names"):
        edit(store)
    del momentum
    edit(store)


def test_a_block_that_fails_or_is_entered_twice_is_over_all_the_same(store):
    view = store.view()
    with pytest.raises(RuntimeError, match="already open"), view, view:
        pass
    with pytest.raises(ZeroDivisionError), view:
        raise ZeroDivisionError
    store.remove(0, 1)


# --- fields --------------------------------------------------------------------------------


def test_fields_follow_their_slots(store):
    store.add_field("momentum", "float32", birth=0.5)
    assert store.fields == {"weight": ("float32", 1, 0.0), "momentum": ("float32", 1, 0.5)}
    store.set_field("momentum", np.array([[1], [2], [3]], "f4"))
    store.insert([0, 1], [2, 0], 9.0)
    assert store.get_field("momentum").ravel().tolist() == [1, 0.5, 2, 0.5, 3]
    store.drop_field("momentum")
    assert list(store.fields) == ["weight"]


@pytest.mark.parametrize(
    ("call", "error", "says"),
    [
        (lambda s: s.add_field("weight", "float32"), ValueError, "weight"),
        (lambda s: s.add_field("", "float32"), ValueError, "add_field"),
        (lambda s: s.add_field("x" * 40, "float32"), ValueError, "add_field"),
        (lambda s: s.add_field("source", "float32"), ValueError, "source"),
        (lambda s: s.add_field("a\0b", "float32"), ValueError, "name"),
        (lambda s: s.add_field(3, "float32"), TypeError, "name|str"),
        (lambda s: s.add_field("x", "float16"), ValueError, "dtype"),
        (lambda s: s.add_field("x", "int32", birth=0.5), ValueError, "birth"),
        (lambda s: s.add_field("x", "int32", birth=np.nan), ValueError, "birth"),
        (lambda s: s.add_field("x", "uint8", birth=-1), ValueError, "birth"),
        (lambda s: s.drop_field("weight"), ValueError, "drop_field"),
        (lambda s: s.drop_field("nobody"), KeyError, "nobody"),
        (lambda s: s.get_field("nobody"), KeyError, "nobody"),
        (lambda s: s.set_birth("nobody", 1.0), KeyError, "nobody"),
        (lambda s: s.set_field("weight", np.zeros(2, "f4")), ValueError, "values"),
        (
            lambda s: s.set_field("weight", [0.0, 1e39, 0.0]),
            ValueError,
            r"fit float32, got 1e\+39 at position 1",
        ),
        (lambda s: s.set_field("weight", ["a"] * 3), TypeError, "values must be real numbers"),
        (lambda s: s.set_field("nobody", [0.0] * 3), KeyError, "nobody"),
        (lambda s: s._core.load(s.indptr(), s.sources(), s.get_field("weight")), ValueError, "load"),
    ],
)
def test_fields_refuse(store, call, error, says):
    before = store.__getstate__()
    with pytest.raises(error, match=says):
        call(store)
    assert str(store.__getstate__()) == str(before)


def test_loading_checks_everything():
    def load(indptr, sources, weights):
        s = WeightStore(n_out=2, n_in=3)
        s._core.load(np.array(indptr, np.int64), np.array(sources, np.int32), np.array(weights, np.float32))
        return s

    assert as_dict(load([0, 1, 3], [2, 0, 1], [1, 2, 3])) == {(0, 2): 1, (1, 0): 2, (1, 1): 3}
    for indptr, sources, weights, error in [
        ([0, 1], [2], [1], ValueError),
        ([0, 1, 3], [2, 0], [1, 2], ValueError),
        ([0, 1, 2], [2, 0], [1], ValueError),
        ([1, 1, 2], [2, 0], [1, 2], ValueError),
        ([0, 2, 1], [2], [1], ValueError),
        ([0, 1, -1], [2, 0], [1, 2], ValueError),
        ([0, 0, 2**62], [2, 0], [1, 2], ValueError),
        ([0, 1, 2], [3, 0], [1, 2], IndexError),
        ([0, 1, 2], [-1, 0], [1, 2], IndexError),
        ([0, 2, 2], [1, 1], [1, 2], ValueError),
        ([0, 2, 2], [2, 1], [1, 2], ValueError),
    ]:
        with pytest.raises(error):
            load(indptr, sources, weights)


# --- copies ----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["clone", "copy", "deepcopy", *range(2, pickle.HIGHEST_PROTOCOL + 1)])
@pytest.mark.parametrize("group", [1, 4])
def test_copies_are_equal_and_apart(how, group):
    s = random_store(np.random.default_rng(1), 11, 13, group=group, dtype="float64")
    s.add_field("momentum", "float64", birth=0.25)
    s.add_field("born", "int32", per_slot=True, birth=7)
    s.set_field("born", np.arange(s.slots, dtype=np.int32))
    if how == "clone":
        t = s.copy()
    elif isinstance(how, str):
        t = getattr(copy, how)(s)
    else:
        t = pickle.loads(pickle.dumps(s, how))
    assert type(t) is WeightStore and t is not s
    assert t.fields == s.fields and as_dict(t) == as_dict(s)
    for name in s.fields:
        np.testing.assert_array_equal(t.get_field(name), s.get_field(name))
    t.set_field("weight", t.get_field("weight") * 0)
    assert as_dict(t) != as_dict(s)


def test_subclasses_stay_subclasses(store):
    class Mine(WeightStore):
        pass

    mine = Mine(n_out=3, n_in=4)
    assert type(mine.copy()) is Mine and type(copy.copy(mine)) is Mine
    assert type(Mine.from_csr(store.to_csr())) is Mine


class Named(WeightStore):
    """A store with an attribute and a constructor of its own."""

    def __init__(self, words):
        super().__init__(n_out=3, n_in=4)
        self.words, self.me = words, self


def test_copies_keep_what_a_subclass_adds():
    mine = Named(["a", "b"])
    mine.insert([1], [2], [0.5])
    for twin in (mine.copy(), copy.copy(mine)):
        assert type(twin) is Named and twin.words is mine.words and as_dict(twin) == as_dict(mine)
    for twin in (copy.deepcopy(mine), pickle.loads(pickle.dumps(mine))):
        assert type(twin) is Named and twin.words == ["a", "b"] and twin.words is not mine.words
        assert twin.me is twin and as_dict(twin) == as_dict(mine)


def test_the_documented_dtypes_of_fields_are_those_there_are(store):
    known = ("float32", "float64", "int32", "int64", "uint8")
    for dtype in known:
        store.add_field(dtype, dtype)
        assert store.get_field(dtype).dtype == dtype
    for dtype in ("int8", "float16", "bool"):
        with pytest.raises(ValueError, match=dtype):
            store.add_field("other", dtype)
    listed = ", ".join(f'"{dtype}"' for dtype in known)
    assert f"dtype : {{{listed}}}" in WeightStore.add_field.__doc__


def test_a_mutated_pickle_is_refused(store):
    store.add_field("momentum", "float32")
    state = store.__getstate__()

    def load(**changes):
        s = WeightStore(n_out=3, n_in=4)
        s.__setstate__({**state, **changes})
        return s

    assert as_dict(load()) == as_dict(store)
    weight, momentum = state["fields"]["weight"], state["fields"]["momentum"]
    for changes, error in [
        ({"version": 2}, ValueError),
        ({"indptr": state["indptr"][::-1].copy()}, ValueError),
        ({"indptr": state["indptr"].astype(np.int32)}, TypeError),
        ({"sources": np.array([3, 1, 0], np.int32)}, ValueError),
        ({"sources": state["sources"] + 9}, IndexError),
        ({"sources": state["sources"][:-1]}, ValueError),
        ({"fields": {"momentum": momentum}}, KeyError),
        ({"fields": {"weight": (*weight[:3], weight[3][:-1])}}, ValueError),
        ({"fields": {"weight": weight, "momentum": (*momentum[:3], momentum[3].astype("f8"))}}, TypeError),
        ({"fields": {"weight": weight, "momentum": ("what", *momentum[1:])}}, ValueError),
    ]:
        with pytest.raises(error):
            load(**changes)
