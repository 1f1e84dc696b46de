"""Growth by gradient: exactly the best of all empty positions, beside a dense matrix."""

import numpy as np
import pytest

from rewire import _core

KEY = (5, 2, 7)


def setting(n_out, n_in, batch, group, dtype, slots, values):
    """A store with some links, inputs and gradients of sums, and the dense gradient of every slot's rows."""
    rng = np.random.default_rng(n_out * 100 + n_in)
    store = _core.Store(n_out=n_out, n_in=n_in, group=group, dtype=dtype)
    plan = _core.Plan(store)
    plan.grow_random(slots, 1, 0, 0)
    _core.commit([plan])
    store.set_field("weight", rng.normal(size=(slots, group)).astype(dtype))
    tile = _core.tile_size(batch, dtype)
    arrays, tiles = [], []
    for n in (n_in, n_out):
        a = values(rng, (batch, n)).astype(dtype)
        t = _core.Tiles(n, batch, tile, dtype)
        t.pack(a)
        arrays.append(a.astype(float))
        tiles.append(t)
    dense = np.zeros((store.n_groups * group, n_in))
    dense[:n_out] = arrays[1].T @ arrays[0]
    return store, tiles, np.abs(dense.reshape(store.n_groups, group, n_in)).sum(axis=1)


def whole(rng, shape):
    """Small whole numbers: sums are exact in any order, and many are equal."""
    return rng.integers(-2, 3, shape) * rng.integers(0, 2, shape[1])


def tie(group, source):
    return _core.philox(KEY[:2], (source, group, KEY[2], 4))[0]


def best(score, among, count):
    """The first ``count`` positions by score, then by hash."""
    order = sorted((-score[g, j], -tie(g, j), g, j) for g, j in np.argwhere(among).tolist())
    return sorted((g, j) for _, _, g, j in order[:count])


def empty_after(store, plan, refill):
    among = np.ones((store.n_groups, store.n_in), bool)
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    among[groups, store.sources()] = False
    if refill:
        among[plan.removed()] = True
    return among


def positions(plan):
    return list(zip(*(a.tolist() for a in plan.inserted()), strict=True))


@pytest.mark.in_turn(4)
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("refill", [True, False])
@pytest.mark.parametrize("group", [1, 2, 4, 8])
@pytest.mark.parametrize(
    ("n_out", "n_in", "batch", "dtype"),
    [(20, 30, 16, "float64"), (13, 700, 5, "float32"), (3, 1200, 1, "float32"), (90, 70, 130, "float32")],
)
def test_the_best_of_all_empty_places_come(n_out, n_in, batch, dtype, group, refill, threads):
    store, tiles, score = setting(n_out, n_in, batch, group, dtype, 25 + n_in // 8, whole)
    for count in (0, 1, 7, store.n_groups * n_in // 3, store.n_groups * n_in - store.slots):
        plan = _core.Plan(store)
        plan.prune_smallest(10, *KEY)
        among = empty_after(store, plan, refill)
        plan.grow_gradient(count, *tiles, refill, *KEY, threads)
        assert positions(plan) == best(score, among, count)


@pytest.mark.parametrize("group", [1, 4])
def test_each_group_may_have_its_own_number(group):
    store, tiles, score = setting(30, 40, 8, group, "float64", 60, whole)
    each = (np.arange(store.n_groups) * 5 % 9).astype(np.int32)
    plan = _core.Plan(store)
    plan.prune_smallest(12, *KEY)
    among = empty_after(store, plan, True)
    plan.grow_gradient(each, *tiles, True, *KEY, 2)
    expected = []
    for g, n in enumerate(each):
        mine = np.zeros_like(among)
        mine[g] = among[g]
        expected += best(score, mine, n)
    assert positions(plan) == expected


@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("threads", [1, 2])
def test_many_equal_gradients(threads, value):
    """Nothing but zeros, or one value: the hash alone decides, however many candidates there are."""
    store, tiles, score = setting(60, 80, 4, 1, "float32", 100, lambda rng, shape: np.full(shape, value))
    plan = _core.Plan(store)
    among = empty_after(store, plan, False)
    plan.grow_gradient(900, *tiles, False, *KEY, threads)
    assert positions(plan) == best(score, among, 900)


def test_what_is_no_number_counts_as_zero():
    store, tiles, score = setting(6, 9, 3, 1, "float32", 10, whole)
    x, dz = tiles
    inputs = x.unpack()
    inputs[:, 4] = [np.nan, np.inf, 1e38]
    x.pack(inputs)
    score[:, 4] = 0
    plan = _core.Plan(store)
    among = empty_after(store, plan, False)
    plan.grow_gradient(30, x, dz, False, *KEY, 1)
    assert positions(plan) == best(score, among, 30)


def test_rows_that_are_too_long_to_go_together():
    """From some 260,000 sources on gradients are made for one group at a time."""
    store, tiles, score = setting(5, 300_000, 2, 2, "float32", 5000, whole)
    plan = _core.Plan(store)
    plan.prune_smallest(100, *KEY)
    among = empty_after(store, plan, True)
    plan.grow_gradient(2000, *tiles, True, *KEY, 2)
    high = np.sort(score[among])[-3000]
    assert positions(plan) == best(score, among & (score >= high), 2000)
