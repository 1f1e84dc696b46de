"""Stores merged, values carried over, structures as bytes and as a number: as people use them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import rewire as rw
from rewire import _core
from strategies import dense


def random_store(rng, shape=(40, 30), group=1, dtype="float32", momentum=True):
    indptr, sources = [0], []
    for _ in range(-(-shape[0] // group)):
        here = np.flatnonzero(rng.random(shape[1]) < rng.uniform(0.0, 0.5))
        sources.append(here)
        indptr.append(indptr[-1] + len(here))
    store = rw.WeightStore(n_out=shape[0], n_in=shape[1], group=group, dtype=dtype)
    count = indptr[-1]
    store._core.load(
        np.array(indptr), np.concatenate(sources).astype(np.int32),
        np.ascontiguousarray(rng.normal(size=(count, group)).astype(dtype)),
    )  # fmt: skip
    if momentum:
        store.add_field("momentum", "float32")
        store.set_field("momentum", rng.normal(size=(count, group)).astype(np.float32))
    return store


def table(store, field="weight"):
    """Values by slot, and which slots there are."""
    rows = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    values = np.zeros((store.n_groups, store.n_in, store.fields[field][1]))
    there = np.zeros((store.n_groups, store.n_in), bool)
    values[rows, store.sources()] = store.get_field(field)
    there[rows, store.sources()] = True
    return values, there


@given(
    seed=st.integers(0, 2**32 - 1), count=st.integers(1, 5), group=st.sampled_from([1, 2, 8]),
    how=st.sampled_from(["mean", "sum", "holders"]), threads=st.integers(1, 3), part=st.floats(0, 1),
)  # fmt: skip
def test_a_merge_is_what_its_table_says(seed, count, group, how, threads, part):
    rng = np.random.default_rng(seed)
    stores = [random_store(rng, group=group, dtype=("float32", "float64")[seed % 2]) for _ in range(count)]
    tables = [table(store) for store in stores]
    total, holders = sum(v for v, _ in tables), sum(t.astype(int) for _, t in tables)
    if how == "mean":
        total = total / count
    if how == "holders":
        total = total / np.maximum(holders, 1)[..., None]
    union = holders > 0
    slots = int(part * union.sum())
    merged = rw.merge(stores, how, links=slots * group, fields={"momentum": "mean"}, threads=threads)
    merged.validate()
    values, there = table(merged)
    assert merged.slots == slots and not (there & ~union).any()
    exact = total.astype(stores[0].dtype)
    np.testing.assert_allclose(values[there], exact[there], rtol=1e-6, atol=1e-7)
    score = np.abs(exact).sum(-1, dtype=float)
    if slots and slots < union.sum():
        assert score[there].min() >= score[union & ~there].max() * (1 - 1e-6)
    momentum = sum(table(store, "momentum")[0] for store in stores) / count
    np.testing.assert_allclose(table(merged, "momentum")[0][there], momentum[there], rtol=1e-5, atol=1e-6)


def test_one_store_merges_to_itself():
    store = random_store(np.random.default_rng(3), group=4, shape=(21, 17))
    merged = rw.merge([store], fields={"momentum": "mean"})
    assert merged.structure_digest() == store.structure_digest()
    for field in ("weight", "momentum"):
        np.testing.assert_array_equal(merged.get_field(field), store.get_field(field))


def test_ties_keep_the_first():
    store = rw.WeightStore.from_dense(np.ones((30, 40)))
    kept = rw.merge([store, store], links=450).to_arrays()
    assert kept[0].max() == 11 and len(kept[0]) == 450 and (kept[1][-10:] == np.arange(10)).all()


@pytest.mark.parametrize("threads", [2, 4])
def test_bits_of_a_merge_do_not_depend_on_threads(threads):
    rng = np.random.default_rng(5)
    stores = [random_store(rng, shape=(700, 300)) for _ in range(3)]
    one = rw.merge(stores, links=20_000, fields={"momentum": "holders"}, threads=1)
    other = rw.merge(stores, links=20_000, fields={"momentum": "holders"}, threads=threads)
    assert one.structure_digest() == other.structure_digest()
    for field in ("weight", "momentum"):
        assert one.get_field(field).tobytes() == other.get_field(field).tobytes()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"how": "median"}, ValueError, "how must be one of"),
        ({"links": -1}, ValueError, "links must be"),
        ({"links": 3}, ValueError, "multiple of group, 2, got 3"),
        ({"links": 10**9}, ValueError, "at most what all stores have together"),
        ({"fields": {"age": "mean"}}, KeyError, "no field 'age'"),
        ({"fields": {"momentum": "best"}}, ValueError, "momentum"),
        ({"fields": {"weight": "mean"}}, ValueError, "others than"),
    ],
)
def test_merges_refuse(options, error, words):
    stores = [random_store(np.random.default_rng(1), group=2) for _ in range(2)]
    with pytest.raises(error, match=words):
        rw.merge(stores, **options)


def test_merges_refuse_what_does_not_fit():
    one = rw.WeightStore(n_out=3, n_in=4)
    with pytest.raises(ValueError, match="one shape"):
        rw.merge([one, rw.WeightStore(n_out=4, n_in=4)])
    with pytest.raises(ValueError, match="one dtype"):
        rw.merge([one, rw.WeightStore(n_out=3, n_in=4, dtype="float64")])
    with pytest.raises(TypeError, match=r"stores\[1\] must be a WeightStore"):
        rw.merge([one, 3])
    with pytest.raises(TypeError, match="at least one"):
        rw.merge([])
    one.add_field("age", "int32")
    with pytest.raises(ValueError, match="int32 cannot be merged by 'mean'"):
        rw.merge([one, one.copy()], fields={"age": "mean"})
    twice = rw.WeightStore.from_dense([[1.0, 2.0]])
    with pytest.raises(ValueError, match="those of the union"):
        rw.merge([twice, twice.copy()], links=3)


def test_merges_take_what_is_gone_through_and_refuse_what_overflows():
    big = rw.WeightStore.from_dense(np.full((2, 2), 3e38, np.float32))
    assert rw.merge(store for store in (big, big)).nnz == 4
    with pytest.raises(ValueError, match="stores must be at most 4096, got 5000"):
        rw.merge([big] * 5000)
    with pytest.raises(ValueError, match="sums of 'weight' that are finite as float32"):
        rw.merge([big, big], "sum")


@given(seed=st.integers(0, 2**32 - 1), group=st.sampled_from([1, 4]), threads=st.integers(1, 3))
def test_values_are_carried_over(seed, group, threads):
    rng = np.random.default_rng(seed)
    one, other = random_store(rng, group=group), random_store(rng, group=group)
    for field, new in (("weight", None), ("momentum", 7.0)):
        one.carry(other, field, new=new, threads=threads)
        one.validate()
        values, there = table(one, field)
        its, both = table(other, field)
        np.testing.assert_array_equal(values[there & both], its[there & both])
        assert (values[there & ~both] == (0.0 if new is None else new)).all()


def test_carrying_refuses():
    store = random_store(np.random.default_rng(2))
    before = store.get_field("weight")
    with pytest.raises(ValueError, match="other must have shape"):
        store.carry(rw.WeightStore(n_out=40, n_in=31))
    with pytest.raises(KeyError, match="no field 'age'"):
        store.carry(store.copy(), "age")
    with pytest.raises(KeyError, match="no field 'momentum'"):
        store.carry(rw.WeightStore(n_out=40, n_in=30), "momentum")
    with pytest.raises(ValueError, match="one dtype"):
        store.carry(rw.WeightStore(n_out=40, n_in=30, dtype="float64"))
    with pytest.raises(ValueError, match="new must be a number"):
        store.carry(store.copy(), new=1e300)
    store.add_field("age", "uint8")
    with pytest.raises(ValueError, match=r"new must be an integer in \[0, 255\] .* uint8, got 2.5"):
        store.carry(store.copy(), "age", new=2.5)
    with pytest.raises(ValueError, match="weight must be a number"):
        rw.WeightStore.from_structure(store.structure_bytes(), weight=1e300)
    store.carry(store)
    np.testing.assert_array_equal(store.get_field("weight"), before)


# --- a structure as bytes, and as a number


@given(
    seed=st.integers(0, 2**32 - 1),
    group=st.sampled_from([1, 2, 4, 8]),
    width=st.sampled_from([3, 300, 10**5]),
)
def test_structures_go_round(seed, group, width):
    store = random_store(np.random.default_rng(seed), shape=(21, min(width, 300)), group=group)
    store = rw.WeightStore.from_structure(store.structure_bytes(), weight=2.0)
    wide = rw.WeightStore(n_out=21, n_in=width, group=group)
    wide._core.load(store.indptr(), store.sources() * (width // min(width, 300)), store.get_field("weight"))
    found = rw.WeightStore.from_structure(bytearray(wide.structure_bytes()), dtype="float64", weight=0.5)
    found.validate()
    assert found.shape == wide.shape and found.group == group and found.dtype == "float64"
    np.testing.assert_array_equal(found.indptr(), wide.indptr())
    np.testing.assert_array_equal(found.sources(), wide.sources())
    assert (found.to_arrays()[2] == 0.5).all() and found.fields["weight"][2] == 0.0
    assert found.structure_digest() == wide.structure_digest()


def test_damaged_structures_are_refused():
    data = random_store(np.random.default_rng(4)).structure_bytes()
    for broken in (b"", data[:20], data[:-1], data + b"0", data[:60] + b"9" + data[61:]):
        with pytest.raises(ValueError, match="structure"):
            rw.WeightStore.from_structure(broken)
    with pytest.raises(TypeError, match="data must be bytes"):
        rw.WeightStore.from_structure("structure")


def test_damaged_bytes_leave_a_store_empty():
    """Steps are checked while they are written: a step too far, a digest of other links."""
    whole = random_store(np.random.default_rng(4))
    data = bytearray(whole.structure_bytes())
    for at, change in ((-1, 255), (-1, 1), (-40, 3)):
        broken = bytearray(data)
        broken[at] = (broken[at] + change) % 256
        core = _core.Store(n_out=whole.n_out, n_in=whole.n_in, group=whole.group, dtype=whole.dtype.name)
        with pytest.raises(ValueError, match="structure"):
            _core.structure_load(core, broken)
        assert core.slots == 0 and _core.structure_digest(core) == _core.structure_digest_counted(core)
        core.check()
        _core.structure_load(core, data)
        assert _core.structure_digest(core) == whole.structure_digest()


@pytest.mark.parametrize("how", ["sum", "mean", "holders"])
@pytest.mark.parametrize("common", [0.0, 0.6])
@pytest.mark.parametrize("stores", [1, 3, 5])
def test_the_best_of_many_rows(how, common, stores):
    """So many rows that a sample of them says early what cannot be among the best."""
    rng = np.random.default_rng(stores)
    shape = (400, 300)
    shared = rng.random(shape) < 0.03 * common
    each = []
    for _ in range(stores):
        links = shared | (rng.random(shape) < 0.03 * (1 - common))
        each.append(np.where(links, rng.normal(size=shape).astype("f4"), 0))
    holders = np.maximum(np.sum([w != 0 for w in each], axis=0), 1)
    whole = np.sum(each, axis=0, dtype=np.float64) / {"sum": 1, "mean": stores, "holders": holders}[how]
    whole = whole.astype("f4")
    links = int((whole != 0).sum()) // (stores + 1)
    least = np.sort(np.abs(whole).ravel())[-links]
    merged = rw.merge([rw.WeightStore.from_dense(w) for w in each], how, links=links)
    np.testing.assert_array_equal(dense(merged), np.where(np.abs(whole) >= least, whole, 0))
    assert merged.structure_digest() == _core.structure_digest_counted(merged._core)


def test_the_digest_follows_edits():
    store = rw.WeightStore(n_out=50, n_in=60)
    empty = store.structure_digest()
    store.insert([3, 4, 5], [7, 8, 9], [1.0, 2.0, 3.0])
    three = store.structure_digest()
    store[3, 7] = 5.0
    assert store.structure_digest() == three != empty
    store[6, 1] = 1.0
    assert store.structure_digest() != three
    del store[6, 1]
    assert store.structure_digest() == three == store.copy().structure_digest()
    assert three == _core.structure_digest_counted(store._core)
    store.remove([3, 4, 5], [7, 8, 9])
    assert store.structure_digest() == empty != rw.WeightStore(n_out=60, n_in=50).structure_digest()


@pytest.mark.parametrize("how", ["mean", "sum", "holders", "min", "max"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(how, value):
    """No number would be the best link of all."""
    good, bad = (rw.WeightStore.from_dense([[0.5, 1.0, 2.0]]) for _ in range(2))
    bad._core.set_field("weight", np.array([0.5, value, 2.0], "f4"))
    for stores, number in (([good, bad], 1), ([bad], 0)):
        with pytest.raises(ValueError, match=rf"stores\[{number}\] must have weights that are finite"):
            rw.merge(stores, how, links=1)
