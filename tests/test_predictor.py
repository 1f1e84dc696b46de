"""`Sequential.compile`: frozen copies of networks, beside `predict` bit for bit."""

import copy
import pickle
import sys
import threading
import time

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.lib.stride_tricks import as_strided

import rewire as rw
from rewire import _core
from rewire.layers import ArrayLayer, Concat, Residual, Row
from small import X as SMALL_X
from small import Y as SMALL_Y
from small import deep, normal, trainer
from strategies import ISAS

BATCHES = [1, 2, 3, 8, 31, 64, 65, 200, 1024]


def zeroed(X, fraction=0.5):
    """Some values zero: sources that a predictor leaves out."""
    return np.where(np.random.default_rng(5).random(X.shape) < fraction, 0, X)


def chain(group=1, dtype="float32", activation="relu", final="softmax", density=0.2):
    net = rw.Sequential(
        [
            rw.Sparse(33, 50, density=0.7, activation=activation, group=group),
            rw.Dropout(0.3),
            rw.Sparse(50, 61, density=density, activation=activation, group=group),
            rw.Sparse(61, 5, density=0.9, activation=final, group=group),
        ],
        seed=3,
        dtype=dtype,
    )
    for layer in net.weight_layers:
        layer.bias[...] = normal(layer.n_out)
    return net


# --- the values of predict ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("group", [1, 2, 4, 8])
def test_outputs_are_those_of_predict(group, dtype):
    for activation in ("relu", rw.ThresholdedReLU(0.3), "all-relu", "tanh", "gelu", "linear"):
        for final in ("softmax", "linear", "sigmoid"):
            net = chain(group, dtype, activation, final)
            predictor = net.compile()
            X = zeroed(normal(70, 33))
            expected = net.predict(X)
            found = predictor(X)
            assert found.dtype == dtype and found.shape == (70, 5)
            assert np.array_equal(found, expected)
            for i in (0, 1, 69):  # alone, in a row of its own, and as a vector
                assert np.array_equal(predictor(X[i : i + 1]), expected[i : i + 1])
                assert np.array_equal(predictor(X[i]), expected[i]) and predictor(X[i]).shape == (5,)


@pytest.mark.parametrize("batch", BATCHES)
def test_any_number_of_samples(batch):
    net = chain(4)
    predictor, X = net.compile(), zeroed(normal(batch, 33), 0.7)
    for threads in (None, 1, 2, 3):
        assert np.array_equal(predictor.predict(X, threads=threads), net.predict(X))


def test_sparse_layers_of_every_density_go_every_way():
    ways = set()
    for density in (0.01, 0.08, 0.3, 1.0):
        net = rw.Sequential(
            [rw.Sparse(150, 140, density=density, activation="relu"), rw.Sparse(140, 3, density=density)]
        )
        predictor, X = net.compile(), zeroed(normal(40, 150))
        ways |= set(predictor._core.ways)
        assert np.array_equal(predictor(X), net.predict(X))
        assert all(np.array_equal(predictor(x), net.predict(x[None])[0]) for x in X)
    assert ways == {"rows", "source", "matrix"}


@pytest.mark.parametrize("isa", ISAS)
def test_every_instruction_set_agrees_with_its_own_predict(isa):
    before = _core.force_isa(isa)
    try:
        for dtype in ("float32", "float64"):
            for group in (1, 2, 4, 8):
                net = chain(group, dtype)
                predictor, X = net.compile(), zeroed(normal(9, 33))
                assert np.array_equal(predictor(X), net.predict(X))
                assert all(np.array_equal(predictor(x), net.predict(x[None])[0]) for x in X)
    finally:
        _core.force_isa(before)


@pytest.mark.parametrize("standardize", [True, "scale"])
def test_it_standardises(standardize):
    found = trainer(standardize=standardize)
    X = SMALL_X * 50 + 7
    found.fit(X, SMALL_Y, epochs=1, verbose=0)
    predictor = found.network.compile()
    assert np.array_equal(predictor(X), found.network.predict(X))
    assert np.array_equal(predictor(X[4]), found.network.predict(X[4:5])[0])


def test_dense_layers_agree_within_rounding():
    net = rw.Sequential(
        [
            rw.Dense(33, 70, activation="relu"),
            rw.Sparse(70, 40, density=0.3, activation="relu"),
            rw.Dense(40, 4),
        ]
    )
    predictor, X = net.compile(), normal(30, 33)
    assert np.array_equal(predictor(X), net.predict(X))  # a batch: by BLAS
    for x in X:
        np.testing.assert_allclose(predictor(x), net.predict(x[None])[0], rtol=1e-5, atol=1e-5)


class Doubled(ArrayLayer):
    """A layer of somebody's, which no file holds."""

    def outputs(self, x, p):
        return 2 * x

    def gradients(self, dy, p):
        return 2 * dy, {}


def others():
    """Networks that the core does not take as a whole."""
    sparse = {"density": 0.3, "activation": "relu"}
    yield [rw.Sparse(33, 64, **sparse), rw.SwitchNet4(64), rw.Sparse(64, 5, density=0.5)]
    yield [rw.Sparse(33, 40, density=0.3), rw.TwoSided(), rw.Sparse(80, 5, density=0.5)]
    yield [rw.Sparse(33, 40, density=0.3), rw.KWinners(0.2), rw.Sparse(40, 5, density=0.5)]
    yield [rw.Sparse(33, 40, density=0.3), rw.BatchNorm(), rw.PReLU(), rw.Sparse(40, 5, density=0.5)]
    yield [
        rw.Sparse(33, 40, **sparse),
        Residual([rw.Sparse(40, 40, **sparse)]),
        rw.Sparse(40, 5, density=0.5),
    ]
    yield [
        Concat([Row([rw.Sparse(33, 9, **sparse)]), Row([rw.Sparse(33, 8, **sparse)])], n_in=33),
        rw.Sparse(17, 5, density=0.5, activation="softmax"),
    ]
    yield [rw.Sparse(33, 40, **sparse), Doubled(), rw.Sparse(40, 5, density=0.5)]


@pytest.mark.parametrize("layers", list(others()), ids=lambda layers: type(layers[-2]).__name__)
def test_other_networks_predict_as_they_do(layers):
    net = rw.Sequential(layers)
    predictor, X = net.compile(), normal(20, 33)
    assert predictor._core is None and "layer by layer" in repr(predictor)
    expected = net.predict(X)
    assert np.array_equal(predictor(X), expected)
    assert np.array_equal(predictor(X[3]), expected[3])
    net.set_vector(np.zeros(net.n_params))
    assert np.array_equal(predictor(X), expected)


def test_a_few_samples_of_dense_layers_go_one_after_the_other():
    net = rw.Sequential([rw.Dense(300, 300, activation="relu"), rw.Dense(300, 5)])
    predictor, X = net.compile(), normal(40, 300)
    one_by_one = np.array([predictor(x) for x in X])
    for n in (2, 3, 5):
        assert np.array_equal(predictor(X[:n]), one_by_one[:n])
    assert np.array_equal(predictor(X), net.predict(X))  # many: by BLAS
    np.testing.assert_allclose(predictor(X), one_by_one, rtol=1e-5, atol=1e-4)


def test_wide_dense_layers_are_left_to_blas():
    for side, taken in ((500, True), (600, False)):
        net = rw.Sequential([rw.Dense(side, side, activation="relu"), rw.Sparse(side, 5, density=0.1)])
        predictor, X = net.compile(), normal(3, side).astype("f4")
        assert (predictor._core is not None) == taken
        assert np.array_equal(predictor(X), net.predict(X))
        if not taken:
            assert np.array_equal(predictor(X[0]), net.predict(X[:1])[0])


# --- what comes in, and goes out -----------------------------------------------------------


def test_inputs_of_every_kind():
    net = chain()
    predictor = net.compile()
    X = np.random.default_rng(1).integers(0, 100, (6, 33))
    expected = net.predict(X)
    kinds = [
        X.astype(dtype)
        for dtype in ("u1", "i1", "u2", "i2", "i4", "i8", "u4", "f2", "f4", "f8", ">f4", "O", "longdouble")
    ]
    kinds += [
        X.tolist(),
        np.asfortranarray(X, "f4"),
        np.repeat(X, 2, axis=1)[:, ::2].astype("f4"),
        X[::-1][::-1],
    ]
    kinds += [sp.csr_matrix(X), sp.csr_array(X), sp.coo_array(X)]
    for each in kinds:
        assert np.array_equal(predictor(each), expected)
        if not isinstance(each, sp.coo_array):
            assert np.array_equal(predictor(each[2:3]), expected[2:3])
        if not hasattr(each, "tocsr"):
            assert np.array_equal(predictor(each[2]), expected[2])
    for each in (sp.csr_array(X)[2], sp.coo_array(X[2])):  # one sample of a sparse array: a vector
        assert each.ndim == 1 and predictor(each).shape == (5,)
        assert np.array_equal(predictor(each), expected[2])
    assert np.array_equal(predictor(X.astype("f4").T.copy()[:, 1]), expected[1])  # a column: strided
    assert np.array_equal(predictor(X > 50), net.predict(X > 50))
    out = np.empty((6, 5), "f4")
    assert predictor.predict((X[i : i + 4] for i in (0, 4)), out=out) is out  # read in pieces
    assert np.array_equal(out, expected)
    wide = X.astype("f4")
    wide.flags.writeable = False
    assert np.array_equal(predictor(wide), expected)


def test_refusals_are_those_of_predict():
    net = chain()
    predictor = net.compile()
    good = normal(3, 33).astype("f4")
    bad = good.copy()
    bad[1, 7] = np.nan
    far = good.astype("f8")
    far[2, 3] = 1e300
    huge = np.full((2, 33), 3e38, "f4")
    for X in (
        None, "abc", good[:, :5], np.empty((0, 33), "f4"), good[None], np.float32(3), bad, bad[1:2], far,
        huge, huge[:1], good.astype(complex), good.astype("U9"), [[1, 2], [3]], [{}], {"a": 1},
        sp.csr_matrix(bad),
        (row for row in good),
    ):  # fmt: skip
        with pytest.raises((TypeError, ValueError)) as theirs:
            net.predict(X)
        with pytest.raises(theirs.type) as ours:
            predictor(X)
        if not hasattr(X, "send"):  # a generator is used up
            assert str(ours.value) == str(theirs.value)
    with pytest.raises(ValueError, match=r"X must have 33 features, got shape \(32,\)"):
        predictor(good[0, :32])
    with pytest.raises(ValueError, match=r"X must have 33 features, got shape \(32,\)"):
        predictor(sp.coo_array(good[0, :32]))
    with pytest.raises(ValueError, match="X must be finite, got nan in row 0, column 7"):
        predictor(bad[1])
    with pytest.raises(ValueError, match="range of float32.* row 0, column 3"):
        predictor(far[2])
    with pytest.raises(ValueError, match="makes outputs overflow float32 in row 0"):
        predictor(huge[0])
    assert np.array_equal(predictor(good[0]), net.predict(good[:1])[0])  # and it goes on


def test_numbers_at_the_edge_of_a_standardiser_take_the_careful_way():
    net = chain(dtype="float64")
    net.standardizer = rw.Standardizer(np.zeros(33), np.full(33, 1e308))
    predictor = net.compile()
    X = np.full((3, 33), 1e-308)
    assert np.array_equal(predictor(X), net.predict(X))
    assert np.array_equal(predictor(X[0]), net.predict(X)[0])


def test_out():
    net = chain()
    predictor, X = net.compile(), normal(9, 33).astype("f4")
    expected = net.predict(X)
    for out in (np.empty((9, 5), "f4"), np.empty((5, 9), "f4").T, np.empty((18, 10), "f4")[::2, ::2]):
        assert predictor.predict(X, out=out) is out and np.array_equal(out, expected)
    one = np.empty(5, "f4")
    assert predictor.predict(X[4], out=one) is one and np.array_equal(one, expected[4])
    assert predictor.predict(X[4:5], out=one[None]).base is one
    assert np.array_equal(predictor.predict(sp.csr_matrix(X), out=np.empty((9, 5), "f4")), expected)
    wide = np.full(12, 3, "f4")  # one sample goes the quick way, whatever the strides
    for x, to in ((X[4], wide[1:11:2]), (X[4], wide[10:0:-2]), (X[4:5], wide[None, 1:11:2])):
        for threads in (None, 1, 2):
            wide[:] = 3
            assert predictor.predict(x, out=to, threads=threads) is to
            assert np.array_equal(to.reshape(-1), expected[4]) and (wide[::2] == 3).sum() >= 1
    assert predictor._core.one(X[4], wide[1:11:2]) is not None
    for to in (wide, wide.astype("f8")[:5], np.broadcast_to(wide[:1], (5,)), wide[:5].tolist()):
        assert predictor._core.one(X[4], to) is None  # the long way finds the words
    with pytest.raises(ValueError, match="finite"):
        predictor.predict(np.full(33, np.nan, "f4"), out=wide[:5])
    kept = np.full((9, 5), 7, "f4")
    with pytest.raises(ValueError, match="finite"):
        predictor.predict(np.where(np.arange(9)[:, None] == 8, np.inf, X), out=kept)
    assert (kept == 7).all()
    shared = np.concatenate([X, X], axis=1)
    assert np.array_equal(predictor.predict(shared[:, :33], out=shared[:, 30:35]), expected)
    frozen = np.empty((9, 5), "f4")
    frozen.flags.writeable = False
    for out, words in [
        (np.empty((9, 5)), "out must be a float32 array"),
        ([[0.0]], "out must be a float32 array"),
        (np.ma.masked_array(np.empty((9, 5), "f4"), True), "out must be a float32 array, got"),
        (np.empty((9, 4), "f4"), r"out must have shape \(9, 5\), got \(9, 4\)"),
        (np.empty(5, "f4"), r"out must have shape \(9, 5\)"),
        (frozen, "out must be writable"),
        (as_strided(np.empty(5, "f4"), (9, 5), (0, 4)), r"out must not overlap itself, got strides \(0, 4\)"),
    ]:
        with pytest.raises((TypeError, ValueError), match=words):
            predictor.predict(X, out=out)
    with pytest.raises(ValueError, match=r"out must have shape \(5,\), got \(1, 5\)"):
        predictor.predict(X[0], out=np.empty((1, 5), "f4"))
    with pytest.raises(ValueError, match="out must not overlap itself"):
        predictor.predict(X[0], out=as_strided(np.empty(1, "f4"), (5,), (0,)))


def test_lists_are_read_once(monkeypatch):
    net = chain()
    predictor, X = net.compile(), np.arange(66).reshape(2, 33)
    seen, real = [], np.asarray
    monkeypatch.setattr(
        np, "asarray", lambda a, *rest, **options: seen.append(type(a)) or real(a, *rest, **options)
    )
    monkeypatch.setattr(np, "ndim", lambda a: seen.append(type(a)) or a.ndim)
    assert np.array_equal(predictor(X.tolist()), net.predict(X))
    assert seen.count(list) == 1


# --- frozen ----------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 4])
def test_training_and_rewiring_leave_it_as_it_was(group):
    def made():
        options = {"loss": "cross_entropy", "optimizer": rw.Adam(0.01), "rewiring": rw.SET(0.3)}
        return rw.Trainer(deep(group=group), **options)

    X = np.random.default_rng(3).integers(0, 100, (60, 17)) / 100
    y = np.random.default_rng(4).integers(0, 4, 60)
    one, two = made(), made()
    one.fit(X, y, epochs=2, batch_size=16, verbose=0)
    two.fit(X, y, epochs=2, batch_size=16, verbose=0)
    predictor, expected = one.network.compile(), one.network.predict(X)
    one.fit(X, y, epochs=2, batch_size=16, verbose=0)
    two.fit(X, y, epochs=2, batch_size=16, verbose=0)
    assert not np.array_equal(one.network.predict(X), expected)
    assert np.array_equal(predictor(X), expected)
    assert np.array_equal(np.array([predictor(x) for x in X]), expected)
    assert np.array_equal(one.network.predict(X), two.network.predict(X))  # nor does it change training


def test_it_outlives_its_network_and_holds_no_optimizer_state():
    net = rw.Sequential([rw.Sparse(900, 800, density=0.1, activation="relu"), rw.Sparse(800, 9)])
    X, y = normal(32, 900), np.arange(32) % 9
    rw.Trainer(net, loss="cross_entropy", optimizer=rw.Adam(0.001)).fit(X, y, epochs=1, verbose=0)
    predictor, expected = net.compile(), net.predict(X)
    weights = net.nnz * 8  # and their sources
    assert weights < predictor.nbytes < 2.2 * weights + 100_000  # by rows, and by source
    del net
    assert np.array_equal(predictor(X), expected)


def test_networks_that_no_file_holds_leave_optimizer_state_behind():
    net = rw.Sequential([rw.Sparse(300, 200, density=0.1), rw.Dense(200, 20), Doubled(), rw.Sparse(20, 9)])
    fresh = net.compile().nbytes
    trainer = rw.Trainer(net, loss="cross_entropy", optimizer=rw.Adam(0.001))
    trainer.fit(normal(32, 300), np.arange(32) % 9, epochs=1, verbose=0)
    kept = net.nbytes
    assert net.compile().nbytes <= fresh < kept
    assert net.nbytes == kept and trainer.owns_state()


def test_it_is_a_copy_however_it_was_made():
    net = chain()
    predictor, X = rw.Predictor(net), normal(4, 33)
    expected = net.predict(X)
    net.set_vector(np.zeros(net.n_params))
    assert np.array_equal(predictor(X), expected) and np.array_equal(predictor(X[0]), expected[0])
    for wrong in ("x", None, predictor, net.layers[0], rw.Sequential):
        with pytest.raises(TypeError, match=r"network must be a rewire\.Sequential, got"):
            rw.Predictor(wrong)


def test_what_the_core_reads_nobody_can_edit():
    """Even who reaches for the copy within: the core reads it without asking."""
    net = chain()
    predictor, X = net.compile(), normal(4, 33)
    expected = predictor(X)
    for layer in predictor._network.weight_layers:
        for edit in (layer.store.compact, lambda at=layer: at.store.add_field("more", "float32")):
            with pytest.raises(RuntimeError, match="the store is frozen: a predictor reads it"):
                edit()
        layer.store.validate()  # who reads is welcome
    assert np.array_equal(predictor(X), expected)
    copy.deepcopy(predictor._network).weight_layers[0].store.compact()  # a copy is free again
    net.weight_layers[0].store.compact()  # and the network was never bound


def test_memory_of_calls_is_kept_for_the_next_one():
    """Small and large blocks apart: a thread that mixes calls takes no new memory."""
    net = rw.Sequential([rw.Sparse(500, 500, density=0.05, activation="relu"), rw.Sparse(500, 5)])
    predictor, X = net.compile(), normal(1000, 500).astype("f4")
    for rows in (1, 1000, 7):
        predictor.predict(X[:rows], threads=2)
    kept = predictor._core.kept
    assert len(kept) == 2 and min(kept) <= 1 << 20 < max(kept)
    for rows in (1, 1000, 7, 900, 1):
        predictor.predict(X[:rows], threads=2)
        assert predictor._core.kept == kept


def test_one_thread_works_in_little_memory():
    net = rw.Sequential([rw.Sparse(500, 500, density=0.05, activation="relu"), rw.Sparse(500, 5)])
    predictor, X = net.compile(), normal(1000, 500).astype("f4")
    assert np.array_equal(predictor.predict(X, threads=1), net.predict(X))
    assert len(predictor._core.kept) == 1 and predictor._core.kept[0] <= 1.1 * 2**20


def test_a_layer_that_cannot_be_copied_is_named():
    layer = Doubled()
    net = rw.Sequential([rw.Sparse(33, 5, density=0.5), layer, rw.Sparse(5, 5)])
    layer.lock = threading.Lock()
    with pytest.raises(TypeError, match=r"layers\[1\] \(Doubled\) cannot be copied: .*lock.*register"):
        net.compile()


def test_weights_that_are_not_finite_are_refused():
    net = chain()
    net.layers[0].bias[3] = np.inf
    with pytest.raises(ValueError, match=r"layer 0 \(Sparse 33 -> 50\) has weights that are not finite"):
        net.compile()


def test_a_network_in_training_is_not_compiled():
    net = chain()
    with net.gate.changing("fit"):
        refused = []

        def ask():
            try:
                net.compile()
            except RuntimeError as error:
                refused.append(str(error))

        thread = threading.Thread(target=ask)
        thread.start()
        thread.join()
    assert len(refused) == 1 and "compile" in refused[0]


def test_copies_and_pickles():
    net = chain(4)
    predictor, X = net.compile(), normal(5, 33)
    assert copy.copy(predictor) is predictor and copy.deepcopy(predictor) is predictor
    again = pickle.loads(pickle.dumps(predictor))
    assert np.array_equal(again(X), predictor(X)) and np.array_equal(again(X[0]), predictor(X[0]))
    assert (again.n_in, again.n_out, again.dtype) == (33, 5, "float32")
    assert repr(predictor) == f"Predictor(33 -> 5, {net.nnz:,} connections, float32, in one call)"
    assert isinstance(predictor, rw.Predictor)


def test_a_subclass_that_computes_in_its_own_way_is_asked():
    class Negative(rw.Sequential):
        def forward(self, x, p):
            flow = super().forward(x, p)
            values = flow[-1].array()
            values *= -1
            return flow

    net = Negative([rw.Sparse(33, 5, density=0.5)])
    X = normal(4, 33)
    assert np.array_equal(net.compile()(X), net.predict(X))
    assert np.array_equal(net.compile()(X[0]), net.predict(X)[0])


def test_a_subclass_that_predicts_in_its_own_way_is_asked():
    class Hundred(rw.Sequential):
        def predict(self, X, **options):
            return super().predict(X, **options) * 100

    class Label(rw.Sequential):
        def predict(self, X):
            return super().predict(X).argmax(axis=1)

    X = normal(4, 33)
    for kind in (Hundred, Label):
        net = kind([rw.Sparse(33, 5, density=0.5)])
        predictor, expected = net.compile(), net.predict(X)
        assert np.array_equal(predictor(X), expected) and np.array_equal(predictor(X[1]), expected[1])
        out = np.empty_like(expected)
        assert predictor.predict(X, out=out) is out and np.array_equal(out, expected)
    with pytest.raises(TypeError, match="out must be a int64 array"):
        predictor.predict(X, out=np.empty((4, 5), "f4"))
    net = rw.Sequential([rw.Sparse(33, 5, density=0.5)])
    net.predict = lambda X: np.full((len(X), 5), 7.0)  # of this network alone
    assert (net.compile()(X[0]) == 7).all()


class Scaled(rw.Sequential):
    """Keeps things that a network knows nothing of, two of them parts of it."""

    def __init__(self, layers, factor):
        super().__init__(layers)
        self.factor, self.first, self.lock = factor, self.layers[0], threading.Lock()

    def forward(self, x, p):
        flow = super().forward(x, p)
        values = flow[-1].array()
        values *= self.factor[0] + 0 * self.first.bias[0]
        return flow


@pytest.mark.parametrize("last", [rw.Sparse, lambda n_in, n_out: Doubled()], ids=["file", "no file"])
def test_what_a_subclass_keeps_goes_with_it(last):
    net, X = Scaled([rw.Sparse(33, 5, density=0.5), last(5, 5), rw.Sparse(5, 5)], [3.0]), normal(4, 33)
    expected = net.predict(X)
    predictor, twin = net.compile(), copy.deepcopy(net)
    for found in (predictor._network, twin):
        assert found.first is found.layers[0] and found.first is not net.first and found.lock is net.lock
    net.factor[0] = 5.0
    assert np.array_equal(predictor(X), expected) and np.array_equal(twin.predict(X), expected)
    del net.lock
    if last is rw.Sparse:
        again = pickle.loads(pickle.dumps(net.compile()))
        assert np.array_equal(again(X), net.predict(X)) and again._network.factor == [5.0]


def test_networks_set_nothing_else():
    """What is not known as a network's own would be taken for something of its user."""
    found = trainer()
    found.fit(SMALL_X, SMALL_Y, epochs=1, verbose=0)
    found.network.predict(SMALL_X)
    assert found.network.extras == {} and copy.deepcopy(found.network).extras == {}


# --- threads ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make", [chain, lambda: rw.Sequential(next(others()))], ids=["one call", "by layers"]
)
def test_threads_use_one_predictor(make):
    net = make()
    predictor, X = net.compile(), zeroed(normal(300, 33).astype("f4"))
    expected = net.predict(X)
    wrong, start = [], threading.Barrier(4)

    def hammer(number):
        rng = np.random.default_rng(number)
        start.wait()
        for _ in range(150):
            n = int(rng.choice([1, 1, 2, 7, 70]))
            at = int(rng.integers(0, 300 - n))
            found = predictor(X[at]) if n == 1 else predictor(X[at : at + n])
            if not np.array_equal(found, expected[at] if n == 1 else expected[at : at + n]):
                wrong.append((number, at, n))

    threads = [threading.Thread(target=hammer, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.fixture
def ticks_during():
    """How often another thread gets Python's lock during a call: only if whoever calls lets go of it.

    A thread that asks for the lock waits for ever here, whatever the time that others need.
    """
    ticks, done, before = [0], threading.Event(), sys.getswitchinterval()

    def tick():
        while not done.is_set():
            ticks[0] += 1
            time.sleep(0)

    def during(call):
        then = ticks[0]
        call()
        return ticks[0] - then

    thread = threading.Thread(target=tick)
    sys.setswitchinterval(1000)
    try:
        thread.start()
        yield during
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)


def test_the_lock_of_python_is_released(ticks_during):
    """Another thread moves on while one is within the core, in calls and while weights are copied."""
    net = rw.Sequential([rw.Sparse(2000, 2000, density=0.1, activation="relu"), rw.Sparse(2000, 5)])
    predictor, X = net.compile(), np.ones((64, 2000), "f4")
    assert ticks_during(lambda: sum(range(200_000))) == 0  # this thread does not let go of itself
    store, weights = net.copy_to_predict().layers[0].core, np.ones((1000, 1000), "f4")
    for call in (
        lambda: predictor.predict(X, threads=1),
        lambda: predictor(X[0]),
        lambda: _core.Frozen(2000, "float32").add_store(store, None, "relu", 0.0, True),
        lambda: _core.Frozen(1000, "float32").add_matrix(weights, None, "relu", 0.0),
    ):
        # A busy machine may leave the other thread no time in a call, but not in all of them.
        assert any(ticks_during(call) > 0 for _ in range(200))


# --- estimators ------------------------------------------------------------------------------


def test_the_network_of_an_estimator():
    pytest.importorskip("sklearn")
    names = np.array(["left", "middle", "right"])[SMALL_Y]
    clf = rw.SparseMLPClassifier((20,), max_iter=2, random_state=0).fit(SMALL_X, names)
    predictor = clf.network_.compile()
    assert np.array_equal(predictor(SMALL_X), clf.predict_proba(SMALL_X))
    assert np.array_equal(clf.classes_[predictor(SMALL_X).argmax(axis=1)], clf.predict(SMALL_X))
    assert clf.classes_[predictor(SMALL_X[0]).argmax()] == clf.predict(SMALL_X[:1])[0]
    reg = rw.SparseMLPRegressor((20,), max_iter=2, random_state=0).fit(SMALL_X, SMALL_X @ np.arange(8.0))
    outputs = reg.network_.compile()(SMALL_X).astype("f8")  # in deviations of y
    assert np.array_equal((outputs * reg.target_scale_ + reg.target_mean_)[:, 0], reg.predict(SMALL_X))
