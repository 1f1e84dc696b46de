"""A layer on arrays as users hold them, tiles in memory of somebody else, and slots that move with a plan."""

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewire import WeightStore, _core
from strategies import dtypes, groups, random_store, seeds, tiles_of

LAYOUTS = {
    "C": lambda a: np.ascontiguousarray(a),
    "Fortran": lambda a: np.asfortranarray(a),
    "gaps": lambda a: np.repeat(np.repeat(a, 3, 0), 2, 1)[::3, ::2],
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "unaligned": lambda a: unaligned(a),
}


def unaligned(a):
    """The same numbers, one byte behind where their dtype would lie."""
    out = np.empty(a.nbytes + 1, "u1")[1:].view(a.dtype).reshape(a.shape)
    out[...] = a
    return out


def through_tiles(store, x, g, bias):
    """y, dx, dw and dbias by way of tiles."""
    core, dtype = store._core, store._core.dtype
    n_out, n_in = store.shape
    tile = _core.tile_size(len(x), dtype)
    xt, gt = tiles_of(x, tile, dtype), tiles_of(g, tile, dtype)
    yt, dxt = _core.Tiles(n_out, len(x), tile, dtype), _core.Tiles(n_in, len(x), tile, dtype)
    padded = np.zeros((n_out + 7) // 8 * 8, dtype)
    padded[:n_out] = bias
    _core.forward(core, xt, padded, "linear", 0.0, yt, None, 1)
    _core.backward_input(core, gt, dxt, 1)
    db = np.empty_like(padded)
    _core.bias_gradient(gt, db, 1)
    return yt.unpack(), dxt.unpack(), _core.link_gradient(core, xt, gt, 1), db[:n_out]


@settings(max_examples=60, deadline=None)
@given(
    seeds,
    groups,
    dtypes,
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 140),
    *[st.sampled_from(sorted(LAYOUTS))] * 4,
    st.sampled_from(["same", "float64", "uint8", "bool", "int64"]),
    st.integers(1, 3),
)
def test_passes_over_arrays_are_those_over_tiles(
    seed, group, dtype, n_out, n_in, batch, of_x, of_g, of_y, of_dx, kind, threads
):
    rng = np.random.default_rng(seed)
    store = random_store(rng, n_out, n_in, group, dtype)
    kind = dtype if kind == "same" else kind
    x = rng.normal(0, 3, (batch, n_in)).astype(kind)
    g = rng.normal(size=(batch, n_out)).astype(dtype)
    bias = rng.normal(size=n_out).astype(dtype)
    want = through_tiles(store, x, g, bias)
    x, g = LAYOUTS[of_x](x), LAYOUTS[of_g](g)
    y = LAYOUTS[of_y](np.full((batch, n_out), np.nan, dtype))
    dx = LAYOUTS[of_dx](np.full((batch, n_in), np.nan, dtype))
    dw, db = np.full((store._core.slots, group), np.nan, dtype), np.full(n_out, np.nan, dtype)
    workspace = _core.Workspace()
    _core.rows_forward(store._core, x, y, bias, workspace, threads)
    _core.rows_backward(store._core, x, g, dx, dw, db, workspace, threads)
    for got, expected in zip((y, dx, dw, db), want, strict=True):
        assert np.array_equal(got, expected)


def test_each_gradient_alone_and_without_samples():
    rng = np.random.default_rng(1)
    store = random_store(rng, 7, 9, 4)
    core = store._core
    x, g = rng.normal(size=(5, 9)).astype("f4"), rng.normal(size=(5, 7)).astype("f4")
    _, dx_want, dw_want, db_want = through_tiles(store, x, g, 0)
    dx, dw, db = np.empty((5, 9), "f4"), np.empty((core.slots, 4), "f4"), np.empty(7, "f4")
    _core.rows_backward(core, None, g, dx=dx)
    _core.rows_backward(core, x, g, dw=dw)
    _core.rows_backward(core, None, g, dbias=db)
    assert np.array_equal(dx, dx_want) and np.array_equal(dw, dw_want) and np.array_equal(db, db_want)
    _core.rows_forward(core, x[:0], np.empty((0, 7), "f4"))
    _core.rows_backward(core, x[:0], g[:0], np.empty((0, 9), "f4"), dw, db)
    assert not dw.any() and not db.any()


def test_a_gradient_that_is_one_number_everywhere():
    """Sums hand a broadcast gradient back, whose strides are 0."""
    store = random_store(np.random.default_rng(2), 6, 8)
    dx, want = np.empty((70, 8), "f4"), np.empty((70, 8), "f4")
    _core.rows_backward(store._core, None, np.broadcast_to(np.float32(1.5), (70, 6)), dx=dx)
    _core.rows_backward(store._core, None, np.full((70, 6), 1.5, "f4"), dx=want)
    assert np.array_equal(dx, want) and dx.any()


def test_a_workspace_serves_layers_of_all_sizes():
    rng = np.random.default_rng(3)
    workspace = _core.Workspace()
    assert workspace.nbytes == 0
    for n_out, n_in, batch in ((5, 900, 130), (300, 4, 2), (5, 900, 130), (40, 40, 1)):
        store = random_store(rng, n_out, n_in)
        x = rng.normal(size=(batch, n_in)).astype("f4")
        y = np.empty((batch, n_out), "f4")
        _core.rows_forward(store._core, x, y, workspace=workspace)
        assert np.array_equal(y, store.forward(x))
    assert 0 < workspace.nbytes < 4 * 10**6


class Lent:
    """An array behind DLPack alone."""

    def __init__(self, array):
        self._array = array

    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_memory_comes_in_several_ways():
    store = random_store(np.random.default_rng(4), 6, 8)
    x = np.random.default_rng(5).normal(size=(3, 8)).astype("f4")
    want = store.forward(x)
    for lent in (Lent(x), memoryview(x)):
        y = np.empty((3, 6), "f4")
        _core.rows_forward(store._core, lent, memoryview(y))
        assert np.array_equal(y, want)
    y = np.zeros((6, 3), "f4")
    address = y.__array_interface__["data"][0]
    _core.rows_forward(store._core, x, _core.array_at(address, (3, 6), (4, 12), "float32", y))
    assert np.array_equal(y.T, want)
    with pytest.raises(TypeError, match="x must be an array, or have DLPack or a buffer, got list"):
        _core.rows_forward(store._core, x.tolist(), y)


def test_an_array_at_an_address_keeps_its_owner():
    owner = np.arange(6, dtype="f8")
    view = _core.array_at(
        owner.__array_interface__["data"][0], (2, 3), (24, 8), "float64", owner, writable=False
    )
    assert view.tolist() == [[0, 1, 2], [3, 4, 5]] and not view.flags.writeable
    alive = weakref.ref(owner)
    del owner
    gc.collect()
    assert alive() is not None and view[1, 2] == 5
    with pytest.raises(ValueError, match="shape and strides must be 1 to 3 numbers each"):
        _core.array_at(8, (2, 3), (8,), "float64")
    with pytest.raises(ValueError, match="address must not be 0"):
        _core.array_at(0, (2, 3), (24, 8), "float64")
    assert _core.array_at(0, (0, 3), (24, 8), "float64").size == 0


def test_what_passes_over_arrays_refuse():
    store = random_store(np.random.default_rng(6), 6, 8)
    core, x, y = store._core, np.zeros((3, 8), "f4"), np.zeros((3, 6), "f4")
    g, dw = np.zeros((3, 6), "f4"), np.zeros((core.slots, 1), "f4")
    wrong = [
        (TypeError, "x must be a 2-dimensional", lambda: _core.rows_forward(core, x[0], y)),
        (TypeError, "x must be a 2-dimensional", lambda: _core.rows_forward(core, x.astype(">f4"), y)),
        (ValueError, "x must have 8 columns, got 7", lambda: _core.rows_forward(core, x[:, :7], y)),
        (TypeError, "y must be a float32 array of shape", lambda: _core.rows_forward(core, x, y[:2])),
        (TypeError, "y must be a float32 array", lambda: _core.rows_forward(core, x, y.astype("f8"))),
        (
            ValueError,
            "y must be writable",
            lambda: _core.rows_forward(core, x, np.broadcast_to(np.float32(0), (3, 6))),
        ),
        (ValueError, "y must not overlap itself", lambda: _core.rows_forward(core, x, overlapping(3, 6))),
        (
            ValueError,
            "bias must have 6 values, got 5",
            lambda: _core.rows_forward(core, x, y, np.zeros(5, "f4")),
        ),
        (ValueError, "same number of samples", lambda: _core.rows_backward(core, x[:2], g, dw=dw)),
        (ValueError, "dw must have", lambda: _core.rows_backward(core, x, g, dw=dw[1:])),
        (ValueError, "dw must be aligned", lambda: _core.rows_backward(core, x, g, dw=unaligned(dw))),
        (TypeError, "dx must be a float32 array", lambda: _core.rows_backward(core, x, g, dx=x[:, ::2])),
        (ValueError, "threads", lambda: _core.rows_forward(core, x, y, threads=0)),
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()


def overlapping(m, n):
    return np.lib.stride_tricks.as_strided(np.zeros(m + n, "f4"), (m, n), (4, 4))


# --- tiles in memory of somebody else ---------------------------------------------------


def images(batch, channels, pixels, dtype):
    return _core.aligned_zeros((batch, channels, pixels), dtype)


@settings(max_examples=30, deadline=None)
@given(seeds, groups, dtypes, st.sampled_from([1, 4, 16, 64, 256]), st.integers(1, 5))
def test_a_pointwise_convolution_needs_no_copy(seed, group, dtype, pixels, batch):
    """Images are tiles: each channel's pixels lie beside each other."""
    rng = np.random.default_rng(seed)
    store = random_store(rng, 16, 24, group, dtype)
    x, y = images(batch, 24, pixels, dtype), images(batch, 16, pixels, dtype)
    x[...] = rng.normal(size=x.shape)
    xt = _core.Tiles(24, batch * pixels, pixels, dtype, memory=x)
    yt = _core.Tiles(16, batch * pixels, pixels, dtype, memory=y)
    assert xt.padding_is_clear and np.shares_memory(xt.array(), x)
    _core.forward(store._core, xt, None, "linear", 0.0, yt, None, 1)
    want = store.forward(np.moveaxis(x, 1, 2).reshape(-1, 24)).reshape(batch, pixels, 16)
    assert np.array_equal(np.moveaxis(y, 1, 2), want)


def test_padding_becomes_zero_and_nothing_else():
    memory = _core.aligned_zeros(16 * 2 * 8 + 5, "float32")
    memory[...] = 3
    tiles = _core.Tiles(13, 11, 8, memory=memory)
    assert tiles.padding_is_clear
    assert (tiles.unpack() == 3).all() and (memory[16 * 2 * 8 :] == 3).all()
    assert np.count_nonzero(memory[: 16 * 2 * 8]) == 13 * 11
    memory[...] = 3
    assert not tiles.padding_is_clear
    tiles.clear_padding()
    assert tiles.padding_is_clear and (tiles.unpack() == 3).all()
    with pytest.raises(ValueError, match="12 samples in tiles of 8"):
        tiles.shape_to(12, 8)
    tiles.shape_to(11, 8)
    assert (tiles.unpack() == 3).all()


def test_memory_lives_as_long_as_its_tiles():
    memory = np.zeros(8 * 64 + 16, "f4")
    start = -memory.__array_interface__["data"][0] % 64 // 4
    tiles = _core.Tiles(8, 64, 64, memory=memory[start : start + 8 * 64])
    tiles.array()[...] = 7
    alive = weakref.ref(memory)
    del memory
    gc.collect()
    assert alive() is not None and (tiles.unpack() == 7).all()
    del tiles
    gc.collect()
    assert alive() is None


def test_memory_that_tiles_refuse():
    good = _core.aligned_zeros(8 * 64, "float32")
    wrong = [
        (ValueError, "memory must have 1024 values", lambda: _core.Tiles(8, 65, 64, memory=good)),
        (
            ValueError,
            "begin at a multiple of 64 bytes, got one 4",
            lambda: _core.Tiles(8, 8, 8, memory=good[1:]),
        ),
        (
            TypeError,
            "memory must be a C-contiguous float64",
            lambda: _core.Tiles(8, 8, 8, "float64", memory=good),
        ),
        (TypeError, "memory must be a C-contiguous float32", lambda: _core.Tiles(8, 8, 8, memory=good[::2])),
        (ValueError, "a power of two", lambda: _core.Tiles(8, 49, 49, memory=good)),
        (TypeError, "memory must be an array", lambda: _core.Tiles(8, 8, 8, memory=3)),
    ]
    for error, message, call in wrong:
        with pytest.raises(error, match=message):
            call()
    fixed = good.view()
    fixed.flags.writeable = False
    with pytest.raises(ValueError, match="memory must be writable"):
        _core.Tiles(8, 8, 8, memory=fixed)


# --- where slots come from ----------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seeds, groups, st.integers(1, 30), st.integers(1, 30), st.floats(0, 1), st.data())
def test_what_moves_by_the_mapping_is_where_a_field_is(seed, group, n_out, n_in, density, data):
    """Whatever is kept for each slot elsewhere, moved by the mapping, equals the store's own field."""
    rng = np.random.default_rng(seed)
    store = random_store(rng, n_out, n_in, group, density=density)
    store.add_field("kept", "float64")
    kept = np.arange(store._core.slots * group, dtype="f8").reshape(-1, group)
    store.set_field("kept", kept)
    for _ in range(3):
        plan = store.plan()
        plan.prune(count=data.draw(st.integers(0, store._core.slots)))
        most = store.n_groups * n_in - store._core.slots + plan.n_removed
        plan.grow(data.draw(st.integers(0, min(most, 2 * plan.n_removed + 2))), seed=seed)
        mapping = plan.mapping()
        plan.commit()
        assert mapping.dtype == np.int64 and mapping.shape == (store._core.slots,)
        moved = np.zeros((mapping.size, group))
        moved[mapping >= 0] = kept[mapping[mapping >= 0]]
        kept = store.get_field("kept").reshape(-1, group)
        assert np.array_equal(moved, kept)
        assert np.array_equal(plan.mapping(), mapping)  # said afterwards, too


def test_the_mapping_of_an_empty_plan():
    store = WeightStore.from_dense([[1.0, 0.0], [0.0, 2.0]])
    assert store.plan().mapping().tolist() == [0, 1]
    assert WeightStore(n_out=3, n_in=3).plan().mapping().size == 0
