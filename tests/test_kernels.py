"""Forward, dX, dW and the optimizer step at the slots: error bounds for every instruction set, and
equal bits whatever must not matter: threads, tiles, neighbours in the batch, mirror, groups, history.

The bounds are those of ``sparse_core/kernels/kernels.h``.
"""

import itertools
import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewire import WeightStore, _core
from strategies import ISAS, dtypes, groups, random_store, seeds, tiles_of

# Around the lane counts (4, 8, 16), twice and four times that, and tiles of 32 and 64.
lengths = st.sampled_from([1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 129, 200])
tile_sizes = st.sampled_from([1, 2, 4, 8, 16, 32, 64])


@contextmanager
def instruction_set(name):
    before = _core.force_isa(name)
    try:
        yield
    finally:
        _core.force_isa(before)


@dataclass
class Problem:
    """A layer and a batch."""

    store: WeightStore
    x: Any  # (batch, n_in)
    dy: Any  # (batch, n_out)
    bias: Any  # (n_out padded,) or None

    @property
    def eps(self):
        return np.finfo(self.store.dtype).eps


@st.composite
def problems(draw, group=groups):
    n_out, n_in, batch = draw(lengths), draw(lengths), draw(lengths)
    dtype = draw(dtypes)
    rng = np.random.default_rng(draw(seeds))
    density = draw(st.sampled_from([0.0, 0.05, 0.3, 0.9, 1.0]))
    store = random_store(rng, n_out, n_in, draw(group), dtype, density)
    bias = None
    if draw(st.booleans()):
        bias = np.zeros((n_out + 7) // 8 * 8, dtype)
        bias[:n_out] = rng.normal(size=n_out)
    x, dy = (rng.normal(size=(batch, n)).astype(dtype) for n in (n_in, n_out))
    x[rng.random(x.shape) < 0.2] = 0
    return Problem(store, x, dy, bias)


def empty(n, like):
    """Tiles for n features, filled with rubbish where that is allowed: an output overwrites it."""
    tiles = _core.Tiles(n, like.batch, like.tile, like.dtype)
    tiles.pack(np.full((like.batch, n), 1e30, like.dtype))
    return tiles


def forward(p, tile=None, threads=1, store=None):
    store = store or p.store
    x = tiles_of(p.x, tile)
    y = empty(store.n_out, x)
    _core.forward(store._core, x, p.bias, "linear", 0.0, y, None, threads)
    return y.unpack()


def backward_input(p, tile=None, threads=1, store=None):
    store = store or p.store
    dy = tiles_of(p.dy, tile)
    dx = empty(store.n_in, dy)
    _core.backward_input(store._core, dy, dx, threads)
    return dx.unpack()


def gradient(p, tile=None, threads=1, store=None):
    """dW by connection: {(row, col): value}, as a matrix with NaN where there is none."""
    store = (store or p.store).copy()
    store.add_field("gradient", store.dtype, birth=1e30)
    _core.backward_weights(store._core, tiles_of(p.x, tile), tiles_of(p.dy, tile), "gradient", threads)
    values = store.get_field("gradient")
    slot_group = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    rows = slot_group[:, None] * store.group + np.arange(store.group)
    cols = np.broadcast_to(store.sources()[:, None], rows.shape)
    matrix = np.full((store.n_groups * store.group, store.n_in), np.nan, store.dtype)
    matrix[rows, cols] = values
    return matrix[: store.n_out]


def exact(store):
    """The weights in extended precision, and where there are connections."""
    rows, cols, values = store.to_arrays()
    w = np.zeros(store.shape, np.longdouble)
    there = np.zeros(store.shape, bool)
    w[rows, cols], there[rows, cols] = values, True
    return w, there


def same_bits(a, b):
    """Equal bit for bit; NaN where there is NaN."""
    kind = f"u{a.itemsize}"
    np.testing.assert_array_equal(np.ascontiguousarray(a).view(kind), np.ascontiguousarray(b).view(kind))


# --- bounds -----------------------------------------------------------------------------


@pytest.mark.parametrize("isa", ISAS)
@given(p=problems(), tile=tile_sizes)
def test_forward_bound(isa, p, tile):
    w, there = exact(p.store)
    bias = np.zeros(p.store.n_out) if p.bias is None else p.bias[: p.store.n_out]
    x = p.x.astype(np.longdouble)
    bound = (there.sum(axis=1) + 2) * p.eps * (abs(bias) + abs(x) @ abs(w).T)
    with instruction_set(isa):
        assert (abs(forward(p, tile) - (bias + x @ w.T)) <= bound).all()


@pytest.mark.parametrize("isa", ISAS)
@given(p=problems(), tile=tile_sizes, mirror=st.booleans())
def test_backward_input_bound(isa, p, tile, mirror):
    if mirror:
        p.store._core.build_mirror()
    w, there = exact(p.store)
    dy = p.dy.astype(np.longdouble)
    bound = (there.sum(axis=0) + 2) * p.eps * (abs(dy) @ abs(w))
    with instruction_set(isa):
        assert (abs(backward_input(p, tile) - dy @ w) <= bound).all()


@pytest.mark.parametrize("isa", ISAS)
@given(p=problems(), tile=tile_sizes)
def test_backward_weights_bound(isa, p, tile):
    _, there = exact(p.store)
    x, dy = p.x.astype(np.longdouble), p.dy.astype(np.longdouble)
    bound = (p.x.shape[0] + 2) * p.eps * (abs(dy).T @ abs(x))
    with instruction_set(isa):
        got = gradient(p, tile)
    assert np.array_equal(~np.isnan(got), there)
    assert (abs(got - dy.T @ x)[there] <= bound[there]).all()


# --- bits -------------------------------------------------------------------------------


def told_otherwise(store, seed):
    """The same connections, told link by link and with detours, in windows that lie elsewhere."""
    rng = np.random.default_rng(seed)
    other = WeightStore(n_out=store.n_out, n_in=store.n_in, group=store.group, dtype=store.dtype)
    rows, cols, values = store.to_arrays()
    slots = rows // store.group * store.n_in + cols
    parts = rng.integers(0, 4, store.n_out * store.n_in + store.n_in * store.group)[slots]
    for part in rng.permutation(4):
        now = parts == part
        other.insert(rows[now], cols[now], values[now])
        other.remove(rows[now], cols[now])
        other.insert(rows[now], cols[now], values[now])
    return other


@pytest.mark.parametrize("isa", ISAS)
@given(p=problems(), seed=seeds, tile=tile_sizes)
def test_bits_do_not_depend_on_threads_groups_mirror_or_history(isa, p, seed, tile):
    with instruction_set(isa):
        results = forward(p, tile), backward_input(p, tile), gradient(p, tile)
        single = WeightStore.from_csr(p.store.to_csr())
        mirrored = p.store.copy()
        mirrored._core.build_mirror()
        single_mirrored = single.copy()
        single_mirrored._core.build_mirror()
        stores = [p.store, single, mirrored, single_mirrored, told_otherwise(p.store, seed)]
        for store, threads in itertools.product(stores, [1, 2, 5]):
            for operation, expected in zip((forward, backward_input, gradient), results, strict=True):
                same_bits(operation(p, tile, threads, store), expected)


@pytest.mark.parametrize("isa", ISAS)
@given(p=problems(), data=st.data())
def test_a_sample_does_not_depend_on_its_neighbours(isa, p, data):
    """Forward and dX of any part of a batch, in any tiles, are those of the whole."""
    batch = p.x.shape[0]
    rows = data.draw(st.lists(st.integers(0, batch - 1), min_size=1, max_size=9))
    part = Problem(p.store, np.ascontiguousarray(p.x[rows]), np.ascontiguousarray(p.dy[rows]), p.bias)
    with instruction_set(isa):
        for operation in (forward, backward_input):
            whole = operation(p, data.draw(tile_sizes))
            same_bits(operation(part, data.draw(tile_sizes)), whole[rows])
            same_bits(operation(p, data.draw(tile_sizes), threads=2), whole)


def test_enough_work_for_threads():
    """Large enough that threads are really woken: still the same bits."""
    rng = np.random.default_rng(0)
    for group, dtype in itertools.product([1, 4, 8], ["float32", "float64"]):
        store = random_store(rng, 303, 401, group, dtype, 0.3)
        x, dy = (rng.normal(size=(130, n)).astype(dtype) for n in (401, 303))
        p = Problem(store, x, dy, None)
        for mirror in (False, True):
            if mirror:
                store._core.build_mirror()
            for operation in (forward, backward_input, gradient):
                expected = operation(p)
                for threads in (2, 3, 8):
                    same_bits(operation(p, threads=threads), expected)


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("group", [4, 8])
def test_rows_that_do_not_exist_cannot_be_seen(group, samples):
    """The padding of the last group has weight zero; an infinite input makes NaN of it, no further."""
    store = WeightStore(n_out=group + 1, n_in=3, group=group)
    store.insert(range(group), 0, 1.0)
    store.insert(group, 1, 2.0)
    x = np.array([[1, np.inf, 1], [np.inf, 1, 1], [1, 2, 3]], "f4")[:samples]
    p = Problem(store, x, np.ones((samples, group + 1), "f4"), None)
    expected = [[1] * group + [np.inf], [np.inf] * group + [2], [1] * group + [4]]
    assert forward(p).tolist() == expected[:samples]
    grad = gradient(p)
    assert np.isinf(grad[:group, 0]).all() == (samples > 1) and np.isinf(grad[group, 1])
    store.add_field("momentum", "float32")
    update = _core.Update("sgd", momentum=0.9, state=["momentum"])
    update.lr = 0.1
    _core.backward_update(store._core, tiles_of(p.x), tiles_of(p.dy), update, _core.Scratch(), 1)
    store.validate()  # I10: rows beyond n_out have no weights after a step either


# --- the optimizer step -----------------------------------------------------------------


def optimizers():
    for decay in ("l2", "decoupled", "per_step"):
        yield "sgd", {"decay_kind": decay}
        yield "sgd", {"decay_kind": decay, "momentum": 0.9}
        yield "sgd", {"decay_kind": decay, "momentum": 0.9, "nesterov": True}
        yield "adam", {"decay_kind": decay, "beta1": 0.8, "beta2": 0.99, "eps": 1e-6}


OPTIMIZERS = list(optimizers())


def names_of(kind, options):
    """The fields that the optimizer keeps here."""
    if kind == "adam":
        return {"state": ["adam_m", "adam_v"], "age": "born"}
    return {"state": ["momentum"] if options.get("momentum") else []}


def with_state(store, kind, options, rng):
    """A copy with the fields that the optimizer wants, filled."""
    store = store.copy()
    for name in [*names_of(kind, options)["state"], "gradient"]:
        store.add_field(name, store.dtype)
        values = rng.normal(size=store.get_field(name).shape)
        store.set_field(name, abs(values).astype(store.dtype))
    if kind == "adam":
        store.add_field("born", "int32", per_slot=True, birth=1)
        store.set_field("born", rng.integers(1, 8, (store.slots, 1)).astype(np.int32))
    return store


def make_update(kind, options, lr=0.125, decay=0.01, step=7):
    update = _core.Update(kind, **{**names_of(kind, options), **options})
    update.lr, update.decay, update.step = lr, decay, step
    return update


def step_exactly(store, kind, options, u):
    """One step in extended precision from the gradients in the field: (weights, size of the terms)."""
    w, g = (store.get_field(n).astype(np.longdouble) for n in ("weight", "gradient"))
    lr, decay = u.lr, u.decay
    shrunk = w
    if options["decay_kind"] == "l2":
        g = g + decay * w
    else:
        shrunk = w - (lr * decay if options["decay_kind"] == "decoupled" else decay) * w
    if kind == "sgd":
        momentum = options.get("momentum", 0.0)
        m = momentum * store.get_field("momentum").astype(np.longdouble) + g if momentum else g
        step = lr * (g + momentum * m if options.get("nesterov") else m)
        size = lr * (abs(g) + abs(m))
    else:
        b1, b2 = options["beta1"], options["beta2"]
        t = u.step - store.get_field("born").astype(np.longdouble) + 1
        m = b1 * store.get_field("adam_m").astype(np.longdouble) + (1 - b1) * g
        v = b2 * store.get_field("adam_v").astype(np.longdouble) + (1 - b2) * g * g
        mean = abs(b1 * store.get_field("adam_m")) + abs((1 - b1) * g)
        scale = lr / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + options["eps"])
        step, size = scale * m, scale * mean
    return shrunk - step, abs(w) + size


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=str)
@settings(max_examples=max(1, settings.default.max_examples // 4))  # of each kind on each instruction set
@given(p=problems(), seed=seeds)
def test_update(isa, kind, options, p, seed):
    """Fused and unfused steps have equal bits, on any number of threads, and stay within 16 roundings."""
    rng = np.random.default_rng(seed)
    base = with_state(p.store, kind, options, rng)
    x, dy = tiles_of(p.x), tiles_of(p.dy)
    with instruction_set(isa):
        u = make_update(kind, options)
        _core.backward_weights(base._core, x, dy, "gradient", 1)
        unfused = base.copy()
        _core.update_from(unfused._core, "gradient", u, 1)
        unfused.validate()
        for threads in (1, 2, 5):
            fused = base.copy()
            _core.backward_update(fused._core, x, dy, u, _core.Scratch(), threads)
            other = base.copy()
            _core.update_from(other._core, "gradient", u, threads)
            for name in unfused.fields:
                same_bits(fused.get_field(name), unfused.get_field(name))
                same_bits(other.get_field(name), unfused.get_field(name))
        fused.validate()
    expected, size = step_exactly(base, kind, options, u)
    live = np.ones(expected.shape, bool)
    last = base.indptr()[-2]
    live[last:, base.n_out - (base.n_groups - 1) * base.group :] = False
    got = unfused.get_field("weight")
    assert (abs(got - expected)[live] <= (16 * p.eps * size)[live]).all()


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_update_array_is_the_same_step(isa, kind, options, dtype):
    """Biases and dense layers take the very step that slots take."""
    rng = np.random.default_rng(1)
    for n in (1, 7, 8, 17, 64, 101):
        store = WeightStore(n_out=1, n_in=n, dtype=dtype)
        store.insert(0, np.arange(n), rng.normal(size=n).astype(dtype))
        store = with_state(store, kind, options, rng)
        if kind == "adam":
            store.set_field("born", np.ones((n, 1), np.int32))
        fields = {name: store.get_field(name).ravel() for name in store.fields}
        state = {"m": fields.get("momentum", fields.get("adam_m")), "v": fields.get("adam_v")}
        with instruction_set(isa):
            u = make_update(kind, options)
            _core.update_array(fields["weight"], fields["gradient"], u, **state)
            _core.update_from(store._core, "gradient", u, 1)
        same_bits(store.get_field("weight").ravel(), fields["weight"])


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=str)
@pytest.mark.parametrize("batch", [1, 30])
def test_fields_have_the_names_that_the_update_says(kind, options, batch):
    """State, birth steps and what is changed: any fields, and the weights stay if they are not the target."""
    rng = np.random.default_rng(2)
    base = with_state(random_store(rng, 20, 30), kind, options, rng)
    other = base.copy()
    renamed = {"momentum": "p", "adam_m": "q", "adam_v": "r", "born": "s", "weight": "theta"}
    for name, (dtype, width, _) in base.fields.items():
        if name in renamed:
            other.add_field(renamed[name], dtype, per_slot=width == 1)
            other.set_field(renamed[name], base.get_field(name))
    state = [renamed[name] for name in ("momentum", "adam_m", "adam_v") if name in base.fields]
    named = {**options, "state": state, "age": "s" if kind == "adam" else None, "target": "theta"}
    x, dy = (tiles_of(rng.normal(size=(batch, n)).astype("f4")) for n in (30, 20))
    before = other.copy()
    _core.backward_update(base._core, x, dy, make_update(kind, options), _core.Scratch(), 1)
    _core.backward_update(other._core, x, dy, make_update(kind, named), _core.Scratch(), 2)
    for name, new in renamed.items():
        if name in base.fields:
            same_bits(other.get_field(new), base.get_field(name))
            same_bits(other.get_field(name), before.get_field(name))
    update = make_update(kind, named)
    assert update.target == "theta"
    update.target = None
    assert update.target is None
    with pytest.raises(ValueError, match=f"state must name {len(state)} fields"):
        _core.Update(kind, **{**named, "state": [*state, "more"]})
    for name in ("nobody", state[0] if state else "nobody"):
        update.target = name
        with pytest.raises((KeyError, ValueError)):
            _core.backward_update(other._core, x, dy, update, _core.Scratch(), 1)


@pytest.mark.parametrize("isa", ISAS)
@settings(max_examples=max(1, settings.default.max_examples // 2))
@given(p=problems(), seed=seeds, scratch=st.sampled_from([None, _core.Scratch()]))
def test_gradients_add_up(isa, p, seed, scratch):
    rng = np.random.default_rng(seed)
    store, x, dy = p.store, tiles_of(p.x), tiles_of(p.dy)
    for name in ("new", "sum"):
        store.add_field(name, store.dtype)
    old = rng.normal(size=(store.slots, store.group)).astype(store.dtype)
    n_out = store.n_out
    bias = [np.zeros((n_out + 7) // 8 * 8, store.dtype) for _ in range(2)]
    bias[1][:n_out] = before = rng.normal(size=n_out).astype(store.dtype)
    with instruction_set(isa):
        _core.backward_weights(store._core, x, dy, "new", 1)
        _core.bias_gradient(dy, bias[0], 1)
        _core.bias_gradient(dy, bias[1], 1, add=True)
        same_bits(bias[1][:n_out], before + bias[0][:n_out])
        for threads in (1, 3):
            store.set_field("sum", old)
            _core.backward_weights(store._core, x, dy, "sum", threads, add=True, scratch=scratch)
            links = [np.empty(store._core.nnz, store.dtype) for _ in range(3)]
            for name, out in zip(("new", "sum", "old"), links, strict=True):
                if name == "old":
                    store.set_field("sum", old)
                _core.read_links(store._core, "sum" if name == "old" else name, out)
            same_bits(links[1], links[2] + links[0])


@pytest.mark.parametrize("group", [1, 4])
def test_links_are_read_and_written_in_the_order_of_to_arrays(group):
    rng = np.random.default_rng(3)
    store = random_store(rng, 21, 30, group)
    values = store.to_arrays()[2]
    flat = np.full(values.size + 4, np.nan, "f4")  # a slice of a longer vector
    _core.read_links(store._core, "weight", flat[2:-2])
    same_bits(flat[2:-2], values)
    assert np.isnan(flat[[0, 1, -2, -1]]).all()
    _core.write_links(store._core, "weight", -flat[2:-2])
    same_bits(store.to_arrays()[2], -values)
    store.validate()
    store.add_field("slots", "uint8", per_slot=True)
    for call in (_core.read_links, _core.write_links):
        for field, array, error in (
            ("weight", flat, ValueError),
            ("weight", flat[::2], TypeError),
            ("weight", values.astype("f8"), TypeError),
            ("nobody", values, KeyError),
        ):
            with pytest.raises(error):
                call(store._core, field, array)
        slots = np.ones(values.size, "u1")
        if group == 1:  # a slot is a link
            call(store._core, "slots", slots)
        else:
            with pytest.raises(ValueError, match="one value a slot"):
                call(store._core, "slots", slots)


@pytest.mark.parametrize("isa", ISAS)
def test_a_derivative_and_its_sums_in_one_pass(isa):
    rng = np.random.default_rng(2)
    for batch, dtype in ((1, "f4"), (70, "f8"), (200, "f4")):
        y, dy = (rng.normal(size=(batch, 75)).astype(dtype) for _ in range(2))
        outputs, apart, once = tiles_of(y), tiles_of(dy), tiles_of(dy)
        sums = [np.ones(80, dtype) for _ in range(2)]
        with instruction_set(isa):
            for add in (False, True):
                _core.activate_back("leaky", 0.5, outputs, apart, 1)
                _core.bias_gradient(apart, sums[0], 1, add)
                _core.activate_back_sums("leaky", 0.5, outputs, once, sums[1], 2, add)
                same_bits(once.unpack(), apart.unpack())
                same_bits(sums[0], sums[1])
                drop = 0.3, 7, 3, 5, 64  # and with dropout before it
                _core.dropout(apart, apart, *drop[:4], 1, drop[4])
                _core.activate_back("leaky", 0.5, outputs, apart, 1)
                _core.bias_gradient(apart, sums[0], 1, add)
                _core.activate_back_sums("leaky", 0.5, outputs, once, sums[1], 2, add, drop)
                same_bits(once.unpack(), apart.unpack())
                same_bits(sums[0], sums[1])
            with pytest.raises(ValueError, match="activate_back_sums"):
                _core.activate_back_sums("leaky", 0.5, tiles_of(y[:, 1:]), once, sums[1], 1)
            with pytest.raises(ValueError, match="p must be"):
                _core.activate_back_sums("leaky", 0.5, outputs, once, sums[1], 1, False, (1.0, 7, 3, 5, 0))


def test_dropout_of_a_batch_in_parts_has_the_masks_of_the_whole():
    x = np.ones((100, 7), "f4")
    key = (1, _core.stream(3, worker=2), 5)
    whole = tiles_of(x)
    _core.dropout(whole, whole, 0.3, *key, 1)
    parts = []
    for first, end in ((0, 1), (1, 34), (34, 100)):
        part = tiles_of(x[first:end])
        _core.dropout(part, part, 0.3, *key, 1, first_sample=first)
        parts.append(part.unpack())
    same_bits(np.concatenate(parts), whole.unpack())
    assert _core.stream(3) == 3 and _core.stream(3, 2) == 2 << 32 | 3
    with pytest.raises(ValueError, match="first_sample must be at least 0"):
        _core.dropout(whole, whole, 0.3, *key, 1, first_sample=-1)


# --- refusals ---------------------------------------------------------------------------


def test_shapes_must_fit():
    store = random_store(np.random.default_rng(0), 5, 7)
    store.add_field("gradient", "float32")
    store.add_field("thin", "float32", per_slot=True)
    store.add_field("double", "float64")
    x, y = _core.Tiles(7, 3, 4), _core.Tiles(5, 3, 4)
    wide, long, coarse = _core.Tiles(8, 3, 4), _core.Tiles(5, 4, 4), _core.Tiles(5, 3, 8)
    double = _core.Tiles(7, 3, 4, "float64")
    update = make_update("sgd", {"momentum": 0.9})
    scratch = _core.Scratch()
    s, other = store._core, random_store(np.random.default_rng(0), 5, 7, 4)
    for call in (
        *(lambda t=t: _core.forward(s, x, None, "linear", 0.0, t, None, 1) for t in (wide, long, coarse)),
        lambda: _core.forward(s, wide, None, "linear", 0.0, y, None, 1),
        lambda: _core.forward(s, double, None, "linear", 0.0, y, None, 1),
        lambda: _core.forward(s, x, None, "linear", 0.0, y, wide, 1),
        lambda: _core.forward(s, x, np.zeros(5, "f4"), "linear", 0.0, y, None, 1),
        lambda: _core.forward(s, x, None, "soft", 0.0, y, None, 1),
        lambda: _core.forward(s, x, None, "linear", 0.0, y, None, 0),
        lambda: _core.backward_input(s, long, x, 1),
        lambda: _core.backward_weights(s, x, coarse, "gradient", 1),
        lambda: _core.backward_weights(s, x, y, "double", 1),
        lambda: _core.backward_weights(other._core, x, y, "thin", 1),
        lambda: _core.backward_update(s, x, y, update, scratch, 1),  # no field "momentum"
        lambda: _core.update_from(s, "nobody", update, 1),
    ):
        before = str(store.__getstate__())
        with pytest.raises((ValueError, KeyError)):
            call()
        assert str(store.__getstate__()) == before
    with pytest.raises(TypeError):
        _core.forward(store._core, x, np.zeros(8), "linear", 0.0, y, None, 1)  # float64
    with pytest.raises(ValueError, match="instruction set"):
        _core.force_isa("sse9")


def test_arguments_that_memory_would_pay_for():
    store = random_store(np.random.default_rng(0), 5, 7)
    tiles, update = _core.Tiles(4, 2, 2), _core.Update("sgd")

    def csr(*arrays):
        tiles.pack_csr(*(np.array(a, t) for a, t in zip(arrays, ("i8", "i4", "f4"), strict=True)))

    for call, error, says in (
        (lambda: store.set_field("weight", None), TypeError, "values"),
        (lambda: store.copy()._core.load(store.indptr(), None, None), TypeError, "sources"),
        (lambda: _core.Plan(store._core).pairs(None, None, None, None, None), TypeError, "del_group"),
        (lambda: _core.update_array(None, None, update), TypeError, "w must"),
        (lambda: _core.bias_gradient(tiles, None, 1), TypeError, "out"),
        (lambda: csr([0, 1, 2], [0, 4], [1, 1]), IndexError, "columns"),
        (lambda: csr([0, 1, 2], [0, -1], [1, 1]), IndexError, "columns"),
        (lambda: csr([0, 1, 3], [0, 1], [1, 1]), IndexError, "indptr"),
        (lambda: csr([-1, 1, 2], [0, 1], [1, 1]), IndexError, "indptr"),
        (lambda: _core.Tiles(16, 1, 2**28), ValueError, "power of two"),
        (lambda: _core.Tiles(16, 1, 3), ValueError, "power of two"),
        (lambda: _core.aligned_zeros((1,) * 9, "float32"), ValueError, "shape"),
        (lambda: _core.aligned_zeros((), "float32"), ValueError, "shape"),
        (lambda: _core.aligned_zeros((-2, -3), "float32"), ValueError, "shape"),
        (lambda: tiles.unpack(threads=30000), ValueError, "threads"),
    ):
        with pytest.raises(error, match=says):
            call()
    csr([0, 1, 2], [0, 3], [1, 1])
    swapped = np.full(store.slots, 1.5, np.dtype("f4").newbyteorder())
    store.set_field("weight", swapped)  # what lies in another order of bytes is converted
    assert (store.get_field("weight") == 1.5).all()


def test_strides_are_longer_than_an_int32():
    try:
        tiles = _core.Tiles(2**25, 128, 64)  # 16 GiB that nobody touches
    except MemoryError:
        pytest.skip("the machine does not promise that much")
    assert tiles.array().strides == (2**33, 256, 4) and tiles.array()[1, 0, 0] == 0


# --- one at a time ------------------------------------------------------------------------


def raised_within(work, look):
    """What ``look`` raises when it gets its turn while ``work`` asks for signals."""
    raised = []

    def handler(*_):
        try:
            look()
        except Exception as error:  # noqa: BLE001
            raised.append(error)

    before = signal.signal(signal.SIGALRM, handler)
    try:
        for _ in range(100):
            signal.setitimer(signal.ITIMER_REAL, 0.002)
            work()
            if raised:
                return raised[0]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return None


def test_what_is_being_written_cannot_be_read():
    store, other = (_core.Store(n_out=1000, n_in=1000) for _ in range(2))
    for s in (store, other):
        start = _core.Plan(s)
        start.grow_random(200_000, 1, 0, 0)
        _core.commit([start])
    x, dy = _core.Tiles(1000, 1024, 64), _core.Tiles(1000, 1024, 64)
    scratch, update = _core.Scratch(), _core.Update("sgd")
    plan, pair = _core.Plan(store), [np.zeros(n, np.int32) for n in (1, 1, 0, 0)]
    for look in (
        store.indptr,
        store.sources,
        lambda: store.get_field("weight"),
        lambda: _core.field_sumsq(store, "weight"),
        lambda: _core.field_scale(store, "weight", 1.0),
        lambda: _core.field_rescale(store, "weight"),
        lambda: _core.weight_times(store, np.zeros(1000)),
        lambda: _core.field_finite(store, "weight"),
        lambda: plan.pairs(*pair, None),
        lambda: plan.draw_weights("constant", 1.0, False, 0, 0, 0),
        lambda: _core.backward_update(other, x, dy, update, scratch, 1),
    ):
        error = raised_within(lambda: _core.backward_update(store, x, dy, update, scratch, 1), look)
        assert isinstance(error, RuntimeError) and "in use" in str(error)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_layer_in_other_units(group, dtype):
    """What NumPy makes of the same factors; what does not fit is refused and changes nothing."""
    store = _core.Store(n_out=10, n_in=7, group=group, dtype=dtype)
    plan = _core.Plan(store)
    plan.grow_random(store.n_groups * 7 // 2, 1, 0, 0)
    plan.draw_weights("normal", 1.0, False, 1, 2, 3)
    _core.commit([plan])
    rng = np.random.default_rng(0)
    rows, cols = rng.normal(size=10), rng.normal(size=7)
    store.add_field("count", "int32", per_slot=True)
    before, sources = store.get_field("weight"), store.sources()
    groups = np.repeat(np.arange(store.n_groups), np.diff(store.indptr()))
    every = np.zeros(store.n_groups * group)
    every[:10] = rows
    sums = np.zeros(store.n_groups * group)
    np.add.at(sums.reshape(-1, group), groups, before * cols[sources, None])
    assert np.array_equal(_core.weight_times(store, cols), sums[:10])
    for wrong in ({"rows": cols}, {"cols": rows}, {"rows": rows.astype("f4")}, {"cols": list(cols)}):
        with pytest.raises((ValueError, TypeError)):
            _core.field_rescale(store, "weight", **wrong)
    for call in (lambda: _core.weight_times(store, rows), lambda: _core.field_rescale(store, "count", rows)):
        with pytest.raises(ValueError):
            call()
    assert np.array_equal(store.get_field("weight"), before)
    _core.field_rescale(store, "weight", rows, cols)
    expected = before * every.astype(dtype).reshape(-1, group)[groups] * cols.astype(dtype)[sources, None]
    assert np.array_equal(store.get_field("weight"), expected)
    _core.field_rescale(store, "weight")
    assert np.array_equal(store.get_field("weight"), expected)


def test_a_plan_in_the_making_is_left_alone():
    store = _core.Store(n_out=1000, n_in=2000)
    plans = [_core.Plan(store)]

    def work():
        plans.append(_core.Plan(store))
        plans[-1].grow_random(900_000, 1, 0, 0)

    for look in ("inserted", "removed"):
        error = raised_within(work, lambda look=look: getattr(plans[-1], look)())
        assert isinstance(error, RuntimeError) and "in use" in str(error)


# --- the machine's limits ---------------------------------------------------------------------


@pytest.mark.parametrize("isa", ISAS)
def test_limits_are_what_they_say(isa):
    before = _core.force_isa(isa)
    try:
        assert _core.measure_fma(640, 2) == 20 * _core.measure_fma(64, 1) > 0
        words = np.arange(1, 1001, dtype=np.uint64)
        for n in (0, 1, 63, 64, 1000):
            expected = int(np.bitwise_xor.reduce(words[:n]))
            assert [_core.measure_read(words[:n], threads) for threads in (1, 3)] == [expected] * 2
    finally:
        _core.force_isa(before)
    with pytest.raises(ValueError, match="at least 64"):
        _core.measure_fma(1, 1)
    with pytest.raises(ValueError, match="aligned"):
        _core.measure_read(words.view(np.uint8)[1:], 1)
