"""Networks of bfloat16: products of rounded operands, sums of float32, everything kept in float32."""

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

import rewire as rw
from rewire import _core
from rewire._precision import bf16_rounded
from strategies import groups, random_store, seeds, tiles_of

ROUNDING = 2.0**-8  # the largest relative error of one rounding


def rounded(x):
    """float32 rounded to bfloat16, to nearest even, as float32: the definition, for normal numbers."""
    bits = np.ascontiguousarray(x, "f4").view("u4")
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype("u4").view("f4").reshape(np.shape(x))


def chain(dtype, *, group=4, seed=3, hidden=37, activation="relu"):
    layers = [
        rw.Sparse(23, hidden, density=0.3, group=group, activation=activation),
        rw.Dropout(0.25),
        rw.Sparse(hidden, 5, density=0.5, group=1),
    ]
    return rw.Sequential(layers, seed=seed, dtype=dtype)


def data(n=150, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 23)).astype("f4"), rng.integers(0, 5, n)


def fitted(dtype="bfloat16", *, threads=1, epochs=2, rewiring="set", **options):
    net, (X, y) = chain(dtype, **options), data()
    optimizer = rw.SGD(0.05, momentum=0.9)
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=optimizer, rewiring=rewiring, threads=threads)
    trainer.fit(X, y, epochs=epochs, batch_size=64, verbose=0)
    return trainer


def values_of(net):
    return np.concatenate([p.read() for p in net.parameters().values()])


# --- the products ---------------------------------------------------------------------


def products(store, x, dy, bias, bf16):
    tx, tdy, ty, tdx = (tiles_of(a) for a in (x, dy, dy, x))
    store.add_field("gradient", "float32")
    _core.forward(store._core, tx, bias, "relu", 0.0, ty, None, 1, bf16)
    _core.backward_input(store._core, tdy, tdx, 1, bf16)
    _core.backward_weights(store._core, tx, tdy, "gradient", 1, bf16=bf16)
    packed = _core.link_gradient(store._core, tx, tdy, 1, bf16)
    return ty.unpack(), tdx.unpack(), store.get_field("gradient"), packed


@pytest.mark.parametrize("isa", _core.isa_available())
@given(group=groups, batch=st.integers(1, 200), seed=seeds)
def test_products_are_those_of_rounded_operands(isa, group, batch, seed):
    """To the bit, on every instruction set."""
    before = _core.force_isa(isa)
    try:
        rng = np.random.default_rng(seed)
        n_in, n_out = (int(n) for n in rng.integers(1, 80, 2))
        store = random_store(rng, n_out, n_in, group, density=float(rng.random()))
        twin = store.copy()
        twin._core.set_field("weight", rounded(store.get_field("weight")))
        x, dy = (rng.normal(size=(batch, n)).astype("f4") for n in (n_in, n_out))
        bias = np.zeros(-(-n_out // 8) * 8, "f4")
        bias[:n_out] = rng.normal(size=n_out)
        found = products(store, x, dy, bias, True)
        for one, other in zip(found, products(twin, rounded(x), rounded(dy), bias, False), strict=True):
            assert one.tobytes() == other.tobytes()
    finally:
        _core.force_isa(before)


def test_numbers_at_the_edges_are_rounded_as_the_instructions_do():
    """Infinities and NaN stay, subnormal numbers become zeros, what lies beyond the largest overflows."""
    given = np.array([np.inf, -np.inf, np.nan, 1e-39, -1e-39, 3.3961775e38, 3.3961e38, 1 + 2.0**-8], "f4")
    given = np.append(given, np.array([0x7F800001], "u4").view("f4"))  # a NaN whose payload is dropped
    store = rw.WeightStore(n_out=len(given), n_in=len(given))
    store._core.load(
        np.arange(len(given) + 1), np.arange(len(given), dtype="i4"), np.ones((len(given), 1), "f4")
    )
    for batch in (1, 40):
        x = tiles_of(np.tile(given, (batch, 1)))
        y = tiles_of(np.zeros((batch, len(given)), "f4"))
        _core.forward(store._core, x, None, "linear", 0.0, y, None, 1, True)
        largest = (2 - 2.0**-7) * 2.0**127
        # A number beside an infinity is in a sum of its own: 0 * inf comes nowhere.
        expected = np.array([np.inf, -np.inf, np.nan, 0, 0, np.inf, largest, 1, np.nan], "f4")
        np.testing.assert_array_equal(y.unpack(), np.tile(expected, (batch, 1)))


@pytest.mark.parametrize("what", ["few", "float64"])
def test_what_cannot_be_rounded_is_refused(what):
    dtype = "float64" if what == "float64" else "float32"
    store = rw.WeightStore(n_out=3, n_in=4, dtype=dtype)
    x, y = (tiles_of(np.zeros((2, n), dtype)) for n in (4, 3))
    if what == "few":
        x = _core.SparseInputs(4, dtype)
    with pytest.raises(TypeError, match="bfloat16"):
        _core.forward(store._core, x, None, "linear", 0.0, y, None, 1, True)


def test_numpy_rounds_as_the_core_does():
    """All upper halves, with lower halves around those where rounding turns."""
    upper = np.arange(1 << 16, dtype="u4")[:, None] << 16
    given = (upper | np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], "u4")).view("f4").ravel()
    store = rw.WeightStore(n_out=1, n_in=1)
    store._core.load(np.array([0, 1]), np.array([0], "i4"), np.ones((1, 1), "f4"))
    x, y = tiles_of(given[:, None]), tiles_of(np.zeros((given.size, 1), "f4"))
    _core.forward(store._core, x, None, "linear", 0.0, y, None, 1, True)
    np.testing.assert_array_equal(bf16_rounded(given), y.unpack().ravel())


# --- networks --------------------------------------------------------------------------


def test_a_network_says_what_it_is():
    net = chain("bfloat16")
    assert (net.dtype, net.variable_dtype) == ("bfloat16", "float32")
    assert {p.dtype for p in net.parameters().values()} == {"float32"}
    assert {p.compute_dtype for p in net.parameters().values()} == {"bfloat16"}
    assert (net.layers[0].dtype, net.layers[0].compute_dtype) == ("float32", "bfloat16")
    assert "dtype='bfloat16'" in repr(net)
    assert net.layers[0].store.dtype == np.float32
    assert net.predict(data()[0]).dtype == np.float32
    other = chain("float32")
    assert values_of(net).tobytes() == values_of(other).tobytes()  # the same draws
    assert (net.nbytes, net.nnz) == (other.nbytes, other.nnz)


def test_a_step_is_that_of_a_twin_in_numpy():
    """Two layers, cross entropy, one step of SGD, all sums in float64."""
    layers = [
        rw.Sparse(23, 37, density=0.3, group=2, activation="relu", bias=False),
        rw.Sparse(37, 5, density=0.5, bias=False, activation="softmax"),
    ]
    net, (X, y) = rw.Sequential(layers, seed=3, dtype="bfloat16"), data(70)
    first, second = (dense_of(net.layers[i]) for i in (0, 1))
    before = net.predict(X)
    hidden = np.maximum(rounded(X).astype("f8") @ rounded(first).astype("f8").T, 0)
    logits = rounded(hidden).astype("f8") @ rounded(second).astype("f8").T
    np.testing.assert_allclose(before, softmax(logits), rtol=0, atol=2e-3)  # where rounding falls to a side
    rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(1.0)).fit(X, y, epochs=1, batch_size=70, verbose=0)
    dz = (softmax(logits) - np.eye(5)[y]) / len(X)
    dw2 = rounded(dz).astype("f8").T @ rounded(hidden)
    dh = rounded(dz).astype("f8") @ rounded(second) * (hidden > 0)
    dw1 = rounded(dh).astype("f8").T @ rounded(X)
    for layer, weights, dw in ((net.layers[0], first, dw1), (net.layers[1], second, dw2)):
        there, now = weights != 0, dense_of(layer)
        exact = (weights - dw)[there]
        # Operands that differ in a last bit of bfloat16 here and there; without rounding it is 20 times this.
        assert np.abs(now[there] - exact).max() < 2e-4, layer


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def dense_of(layer):
    rows, cols, values = layer.store.to_arrays()
    found = np.zeros((layer.n_out, layer.n_in), "f4")
    found[rows, cols] = values
    return found


def test_rounding_changes_a_network_a_little():
    X, _ = data()
    narrow, wide = chain("bfloat16").predict(X), chain("float32").predict(X)
    assert 0 < np.abs(narrow - wide).max() < 10 * ROUNDING * np.abs(wide).max()


@pytest.mark.parametrize("rewiring", ["static", "set", {"name": "rigl", "every": {"steps": 2}}], ids=str)
def test_bits_do_not_depend_on_threads(rewiring):
    nets = [fitted(threads=threads, rewiring=rewiring, hidden=300).network for threads in (1, 2, 4, 8)]
    assert len({values_of(net).tobytes() for net in nets}) == 1
    X, _ = data()
    assert len({nets[0].predict(X, threads=threads).tobytes() for threads in (1, 2, 4, 8)}) == 1


def test_gradients_of_two_calls_add_up():
    X, y = data(100)
    found = []
    for times in (1, 2):
        net = rw.Sequential([rw.Sparse(23, 37, density=0.3, group=2), rw.Sparse(37, 5)], dtype="bfloat16")
        trainer = rw.Trainer(net, loss="cross_entropy")
        for _ in range(times):
            trainer.gradients(X, y)
        found.append([p.read("gradient") for p in net.parameters().values()])
    for one, twice in zip(*found, strict=True):
        np.testing.assert_array_equal(2 * one, twice)
        assert one.any()


def test_a_sample_does_not_see_its_batch():
    net, (X, _) = chain("bfloat16"), data(190)
    whole = net.predict(X)
    for size in (1, 7, 32, 64):
        assert net.predict(X, batch_size=size).tobytes() == whole.tobytes()


def test_copies_and_files_bring_the_dtype_back(tmp_path):
    trainer = fitted()
    net, (X, _) = trainer.network, data()
    net.save(tmp_path / "net.safetensors")
    copies = (
        rw.Sequential.load(tmp_path / "net.safetensors"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))
    )  # fmt: skip
    for twin in copies:
        assert twin.dtype == "bfloat16"
        assert twin.predict(X).tobytes() == net.predict(X).tobytes()


def test_training_goes_on_from_a_file_bit_for_bit(tmp_path):
    X, y = data()
    whole, parts = fitted(epochs=4), fitted(epochs=2)
    parts.save(tmp_path / "trainer.safetensors")
    resumed = rw.Trainer.resume(tmp_path / "trainer.safetensors")
    assert resumed.network.dtype == "bfloat16"
    resumed.fit(X, y, epochs=2, batch_size=64, verbose=0)
    assert values_of(resumed.network).tobytes() == values_of(whole.network).tobytes()


def test_a_file_of_another_dtype_is_no_checkpoint_of_it(tmp_path):
    assert not chain("bfloat16").resembles(chain("float32").config())
    config = chain("bfloat16").config() | {"dtype": "float16"}
    with pytest.raises(
        ValueError, match="dtype must be one of 'float32', 'float64', 'bfloat16', got 'float16'"
    ):
        rw.Sequential.from_config(config, chain("bfloat16").arrays())


def doubled(store):
    with store.view() as view:
        view.weight *= 2.0


def fewer(store):
    rows, cols, _ = store.to_arrays()
    whole = np.isin(cols + 1000 * (rows // 4), (cols + 1000 * (rows // 4))[:3])  # slots of four rows
    store.remove(rows[whole], cols[whole])


def test_nothing_is_computed_with_weights_of_before():
    """Rounded copies last for one product: edits and writes through views are seen at once."""
    net, (X, _) = chain("bfloat16"), data(64)
    store = net.layers[0].store
    before = net.predict(X)
    for change in (doubled, fewer):
        change(store)
        after = net.predict(X)
        again = rw.Sequential.from_config(net.config(), net.arrays())
        assert after.tobytes() == again.predict(X).tobytes() != before.tobytes()
        before = after


def test_sparse_inputs_give_the_bits_of_dense_ones():
    net, (X, y) = chain("bfloat16"), data()
    X[np.random.default_rng(1).random(X.shape) < 0.9] = 0
    csr = scipy.sparse.csr_matrix(X)
    assert net.predict(csr).tobytes() == net.predict(X).tobytes()
    trained = []
    for inputs in (X, csr):
        twin = chain("bfloat16")
        trainer = rw.Trainer(twin, loss="cross_entropy", rewiring="set")
        trainer.fit(inputs, y, epochs=1, batch_size=32, verbose=0)
        trained.append(values_of(twin).tobytes())
    assert trained[0] == trained[1]


def test_a_predictor_has_the_bits_of_predict():
    net, (X, _) = fitted().network, data()
    served = net.compile()
    assert served.dtype == "float32"
    assert served.predict(X).tobytes() == net.predict(X).tobytes()
    assert served.predict(X[0]).tobytes() == net.predict(X[:1])[0].tobytes()


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [rw.Sparse(23, 16, density=0.5), rw.Dense(16, 5)],
        lambda: [rw.Sparse(23, 16, density=0.5), rw.LayerNorm(), rw.Sparse(16, 5, density=0.5)],
        lambda: [rw.SwitchNet4(23, width=32, depth=2), rw.Sparse(32, 5, density=0.5)],
        lambda: [rw.TwoSided(23), rw.Sparse(46, 16, density=0.5), rw.Sparse(16, 5, density=0.5)],
        lambda: [rw.layers.Residual([rw.Sparse(23, 23, density=0.5)]), rw.Sparse(23, 5, density=0.5)],
    ],
    ids=["dense", "norm", "switches", "two sides", "residual"],
)
def test_layers_of_every_kind_train(layers):
    X, y = data()
    found = []
    for dtype in ("bfloat16", "float32"):
        net = rw.Sequential(layers(), seed=1, dtype=dtype)
        trainer = rw.Trainer(net, loss="cross_entropy", optimizer="adam", rewiring="set")
        trainer.fit(X, y, epochs=2, batch_size=64, verbose=0)
        net.validate()
        found.append(net.predict(X))
    assert 0 < np.abs(found[0] - found[1]).max() < 0.2


def test_a_parameter_may_keep_a_dtype_of_its_own():
    weight = rw.SparseParameter(4, 3, density=1.0, dtype="float32").build(name="w", seed=0, dtype="bfloat16")
    assert (weight.dtype, weight.compute_dtype) == ("float32", "float32")
    with pytest.raises(ValueError, match="dtype must be one of"):
        rw.SparseParameter(4, 3, density=1.0, dtype="bfloat16")


def test_the_range_is_that_of_bfloat16():
    net = chain("bfloat16")
    X = data(3)[0].astype("f8")
    words = r"X must lie within {}e\+38, the range of bfloat16, got {} in row 1, .* a network of {}"
    for value, limit, shown, kind in (
        (3.395e38, "3.38953", r"3.395e\+38", "float32"), (1e39, "3.4", r"1e\+39", "float64"),
    ):  # fmt: skip
        X[1, 4] = value
        with pytest.raises(ValueError, match=words.format(limit, shown, kind)):
            net.predict(X)


def test_outputs_overflow_the_float32_that_they_are_of():
    net = rw.Sequential([rw.Sparse(2, 1, density=1.0, init=2.0)], dtype="bfloat16")
    with pytest.raises(ValueError, match="X makes outputs overflow float32 in row 1"):
        net.predict(np.array([[1.0, 1.0], [3e38, 3e38]]))


def test_what_was_pickled_before_computes_in_its_dtype():
    net = rw.Sequential([rw.Sparse(4, 3, density=1.0), rw.Dense(3, 2)], dtype="float64")
    for made in (*net.parameters().values(), rw.SparseParameter(4, 3, density=1.0)):
        state = {name: value for name, value in made.__getstate__().items() if name != "compute_dtype"}
        twin = type(made).__new__(type(made))
        twin.__setstate__(pickle.loads(pickle.dumps(state)))
        assert twin.compute_dtype == twin.dtype
    layer = rw.Sequential([rw.Sparse(4, 3, density=1.0)]).layers[0]
    del layer.compute_dtype
    assert pickle.loads(pickle.dumps(layer)).compute_dtype == "float32"


# --- neurons that are removed ---------------------------------------------------------------


def with_silent_neurons(seed=0, dtype="bfloat16"):
    """A network in which neurons of the first layer have lost their links: what they give is a constant."""
    layers = [
        rw.Sparse(23, 30, density=0.3, activation="sigmoid"),
        rw.Sparse(30, 20, density=0.4, activation="relu"),
        rw.Sparse(20, 3, density=0.5),
    ]
    net, rng = rw.Sequential(layers, seed=seed, dtype=dtype), np.random.default_rng(seed)
    for layer in net.layers:
        layer.bias[...] = rng.normal(size=layer.n_out)
    store = net.layers[0].store
    rows, cols, _ = store.to_arrays()
    store.remove(rows[rows < 8], cols[rows < 8])
    return net


@pytest.mark.parametrize("seed", range(4))
def test_constants_are_folded_as_products_round_them(seed):
    """The biases behind are those sums, in float64: nearer than bfloat16 is."""
    net, (X, _) = with_silent_neurons(seed), data()
    layer, before = net.layers[1], net.predict(X)
    dense, bias = dense_of(layer), layer.bias.copy()
    constants = 1 / (1 + np.exp(-net.layers[0].bias[:8].astype("f8")))
    found = rw.remove_neurons(net)
    assert not set(range(8)) & set(found.kept[0].tolist())
    folded = bias + rounded(dense[:, :8]).astype("f8") @ rounded(constants.astype("f4"))
    np.testing.assert_allclose(layer.bias, folded[found.kept[1]], rtol=1e-6, atol=1e-6)
    # Sums that differ in a last bit of float32 are rounded to either side here and there.
    np.testing.assert_allclose(net.predict(X), before, rtol=0, atol=8 * ROUNDING)


def test_the_affine_map_of_a_layer_has_the_weights_that_are_multiplied():
    layer = chain("bfloat16").layers[0]
    rows, cols, weights = layer.affine_at(data()[0][0].astype("f8"), final=True)[:3]
    dense = rounded(dense_of(layer))
    np.testing.assert_array_equal(weights, dense[rows, cols])


def test_pruning_by_importance_removes_neurons():
    X, y = data(300)
    net = rw.Sequential(
        [
            rw.Sparse(23, 90, density=0.2, activation="relu"),
            rw.Sparse(90, 60, density=0.1, activation="relu"),
            rw.Sparse(60, 5, density=0.3, activation="softmax"),
        ],
        dtype="bfloat16",
    )
    rule = rw.ImportancePruning(0.2, begin=0.4, every=rw.Epochs(1), rule="set")
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.05, momentum=0.9), rewiring=rule)
    trainer.fit(X, y, epochs=4, batch_size=64, verbose=0)
    assert net.layers[0].n_out < 90 and net.layers[1].n_out < 60
    net.validate()


# --- rounded once, or in every product -------------------------------------------------------


class Doubled(rw.layers.Elementwise):
    """A layer that changes the tiles it gets, and hands them on."""

    def forward(self, x, p):
        x.array()[...] *= 2
        return x

    def backward(self, dy, x, p, need_dx):
        dy.array()[...] *= 2
        return dy


class DoubledSparse(rw.Sparse):
    """One that changes its outputs when a product has rounded them, it may be."""

    def forward(self, x, p):
        y = super().forward(x, p)
        y.array()[...] *= 2
        return y

    def backward(self, dy, x, p, need_dx):
        dy.array()[...] *= 2
        return super().backward(dy, x, p, need_dx)


class Around(rw.Layer):
    """One that runs another, and changes what goes in and what comes out."""

    def __init__(self, n_in, n_out):
        self.n_in, self.n_out = n_in, n_out
        self.child = rw.Sparse(n_in, n_out, density=0.5)

    def connect(self, n_in):
        self.child.connect(n_in)

    def forward(self, x, p):
        x.array()[...] *= 2
        y = self.child.forward(x, p)
        y.array()[...] *= 0.5
        return y

    def backward(self, dy, x, p, need_dx):
        dy.array()[...] *= 0.5
        dx = self.child.backward(dy, x, p, need_dx)
        if dx is not None:
            dx.array()[...] *= 2
        return dx


class Clipped(rw.Sparse):
    """One whose gradient is that of inputs that it clips when they come back."""

    def backward(self, dy, x, p, need_dx):
        x.array()[...] = np.clip(x.array(), -0.5, 0.5)
        return super().backward(dy, x, p, need_dx)


class ByHand(rw.Layer):
    """One that multiplies and learns by what a pass offers."""

    def __init__(self, n_in, n_out):
        self.n_in, self.n_out = n_in, n_out
        self.weight = rw.SparseParameter(n_in, n_out, density=0.5, group=4)

    def forward(self, x, p):
        return p.product((self.index, "y"), self.weight, x)

    def backward(self, dy, x, p, need_dx):
        dx = p.product_back((self.index, "dx"), self.weight, dy) if need_dx else None
        p.learn_links(self.weight, x, dy)
        return dx


def sparse(n_in, n_out, kind=rw.Sparse, **options):
    return kind(n_in, n_out, density=0.4, **options)


CHAINS = {
    "in a row": lambda: [
        sparse(23, 40, group=8, activation="relu"), sparse(40, 36, group=4, activation="gelu"), sparse(36, 5)
    ],
    "dropout": lambda: [sparse(23, 40, group=4), rw.Dropout(0.3), sparse(40, 40, group=2), sparse(40, 5)],
    "inner row": lambda: [
        rw.layers.Row([sparse(23, 40, group=4), sparse(40, 23)]),
        rw.layers.Residual([sparse(23, 30, group=2), sparse(30, 23)]), sparse(23, 5),
    ],
    "changed between": lambda: [sparse(23, 40), Doubled(), sparse(40, 40, group=4), sparse(40, 5)],
    "changed after": lambda: [sparse(23, 40, DoubledSparse, group=4), sparse(40, 5, group=1)],
    "changed around": lambda: [sparse(23, 40), Around(40, 30), sparse(30, 5)],
    "changed beside": lambda: [
        sparse(23, 8), rw.layers.Concat([sparse(8, 5), rw.layers.Row([Doubled(), sparse(8, 5)])]),
        sparse(10, 5),
    ],
    "changed on the way back": lambda: [sparse(23, 40), sparse(40, 36, Clipped), sparse(36, 5)],
}  # fmt: skip


@pytest.mark.skipif("avx512bf16" not in _core.isa_available(), reason="needs products of bfloat16")
@pytest.mark.parametrize("chained", CHAINS)
@pytest.mark.parametrize("learning", ["fused", "clipped"])
def test_instructions_for_it_train_the_same_network(chained, learning):
    """AVX-512 rounds in every product; with instructions of its own a pass rounds once."""
    X, y = data(230)
    found = []
    for isa in ("avx512bf16", "avx512"):
        before = _core.force_isa(isa)
        try:
            net = rw.Sequential(CHAINS[chained](), seed=2, dtype="bfloat16")
            optimizer = rw.SGD(0.02, momentum=0.9, clip_norm=1.0 if learning == "clipped" else None)
            trainer = rw.Trainer(net, loss="cross_entropy", optimizer=optimizer, rewiring="set")
            trainer.fit(X, y, epochs=2, batch_size=100, verbose=0)
            found.append(values_of(net).tobytes() + net.predict(X).tobytes())
        finally:
            _core.force_isa(before)
    assert found[0] == found[1]


@pytest.mark.parametrize("chained", CHAINS)
def test_a_pass_rounds_once_among_layers_of_the_package_alone(chained):
    net = rw.Sequential(CHAINS[chained](), dtype="bfloat16")
    assert net.passing(net.workspace(), training=True).rounds_once == ("changed" not in chained)


@pytest.mark.parametrize("last", [ByHand, sparse])
def test_a_step_that_was_interrupted_leaves_nothing_behind(last, monkeypatch):
    """In the second layer's dX, when its operands are rounded and its gradient is not handed over yet."""
    X, y = data(64)
    made = []
    for _ in range(2):
        net = rw.Sequential([sparse(23, 36, group=4), sparse(36, 36), last(36, 5)], dtype="bfloat16")
        made.append(rw.Trainer(net, loss="cross_entropy"))
        made[-1].gradients(X, y)
        made[-1].apply()
    trainer = made[0]
    product = rw.SparseParameter.backward_input

    def interrupted(parameter, *args):
        if parameter is trainer.network.layers[1].weight:
            raise KeyboardInterrupt
        return product(parameter, *args)

    with monkeypatch.context() as patched:
        patched.setattr(rw.SparseParameter, "backward_input", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.gradients(2 * X, y)
    found = [each.gradients(X, y) for each in made]
    assert found[0] == found[1]
    for one, another in zip(*(each.network.parameters().values() for each in made), strict=True):
        assert one.read("gradient").tobytes() == another.read("gradient").tobytes()


def test_rounded_tiles_are_of_those_alone():
    x, other = (tiles_of(np.ones((64, 8), "f4")) for _ in range(2))
    y = tiles_of(np.zeros((64, 3), "f4"))
    store = rw.WeightStore(n_out=3, n_in=8)
    rounded = _core.Rounded()
    assert rounded.nbytes == 0
    rounded.load(x, 1)
    assert (rounded.nbytes > 0) == (_core.isa() == "avx512bf16")
    _core.forward(store._core, x, None, "linear", 0.0, y, None, 1, True, rounded=rounded)
    if rounded.nbytes:
        with pytest.raises(ValueError, match="not those that were rounded"):
            _core.forward(store._core, other, None, "linear", 0.0, y, None, 1, True, rounded=rounded)
